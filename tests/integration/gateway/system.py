"""A system in memory: secrets by reference, their feed, client keys, and the reports a gateway sends."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.errors import KtError
from libs.common.references import GIT_TOKEN, split_reference
from libs.common.secret import Secret
from services.gateway.application.access_log import Batch
from services.gateway.application.ports import ChangeListener, Report
from services.gateway.domain.access import Record
from services.gateway.domain.client_auth import ClientTokens
from services.gateway.domain.references import (
    Purpose,
    Reason,
    Reference,
    ReferenceKind,
    Resolution,
    Resolved,
    Unresolved,
)


def reference_of(name: str) -> Reference:
    kind, plain = split_reference(name)
    return Reference(ReferenceKind.GIT_TOKEN if kind == GIT_TOKEN else ReferenceKind.STORE, plain)


@dataclass
class Variable:
    value: str | None
    version: int
    sequence: int


@dataclass
class System:
    """Stands in for the bus. ``unreachable`` makes every question fail as it does when nobody answers."""

    variables: dict[str, Variable] = field(default_factory=dict)
    watched: set[str] = field(default_factory=set)
    reports: list[Report] = field(default_factory=list)
    policies: list[Report] = field(default_factory=list)
    access: dict[str, list[Record]] = field(default_factory=dict)
    asked: list[tuple[list[str], Purpose]] = field(default_factory=list)
    failures: dict[str, Reason] = field(default_factory=dict)
    unreachable: bool = False
    listener: ChangeListener | None = None
    signing_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    revoked: list[str] = field(default_factory=list)
    revocation: asyncio.Event = field(default_factory=asyncio.Event)
    _sequence: int = 0

    def link(self, listener: ChangeListener) -> System:
        self.listener = listener
        return self

    def put(self, name: str, value: str, *, quietly: bool = False) -> None:
        """Create or rotate. Quietly: the feed does not tell."""
        version = self.variables[name].version if name in self.variables else 0
        self._sequence += 1
        self.variables[name] = Variable(value, version + 1, self._sequence)
        if not quietly:
            self.tell(name)

    def delete(self, name: str) -> None:
        self._sequence += 1
        self.variables[name] = Variable(None, self.variables[name].version, self._sequence)
        self.tell(name)

    def tell(self, name: str) -> None:
        if self.listener is not None and name in self.watched:
            self.listener.changed(reference_of(name))

    def reconnect(self) -> None:
        assert self.listener is not None
        self.listener.missed()

    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        self.asked.append(([reference.in_system for reference in references], purpose))
        self._check()
        return [self._resolve(reference) for reference in references]

    def _resolve(self, reference: Reference) -> Resolution:
        variable = self.variables.get(reference.in_system)
        if reason := self.failures.get(reference.in_system):
            return Unresolved(reference, reason)
        if variable is None:
            return Unresolved(reference, Reason.NOT_FOUND)
        if variable.value is None:
            return Unresolved(reference, Reason.DELETED)
        return Resolved(reference, Secret.from_text(variable.value), variable.version, variable.sequence)

    async def watch(self, references: Sequence[Reference]) -> None:
        self._check()
        self.watched = {reference.in_system for reference in references}

    def report(self, report: Report) -> None:
        (self.reports if report.policy is None else self.policies).append(report)

    async def record_access(self, batch: Batch) -> int:
        """Each epoch's records in their order, each once, as the resolver keeps them."""
        self._check()
        recorded = self.access.setdefault(batch.epoch, [])
        assert batch.first <= len(recorded) + 1
        recorded.extend(batch.records[len(recorded) + 1 - batch.first :])
        return len(recorded)

    async def client_tokens(self) -> ClientTokens:
        self._check()
        return ClientTokens("default", json.dumps({"keys": [self._jwk()]}), tuple(self.revoked))

    async def token_revoked(self) -> None:
        await self.revocation.wait()
        self.revocation.clear()

    def revoke(self, token_id: str) -> None:
        self.revoked.append(token_id)
        self.revocation.set()

    def _jwk(self) -> dict[str, str]:
        public = base64.urlsafe_b64encode(self.signing_key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "test", "use": "sig", "x": public}

    def client_token(self, *, key: Ed25519PrivateKey | None = None, **claims: Any) -> str:
        body = {
            "iss": "keeptrusts",
            "aud": "keeptrusts-gateway",
            "org": "default",
            "sub": "app",
            "exp": int(time.time()) + 600,
            **claims,
        }
        present = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(present, key or self.signing_key, algorithm="EdDSA", headers={"kid": "test"})

    async def run(self) -> None:
        """Nothing to do in the background."""

    async def close(self) -> None:
        """Nothing is open."""

    def _check(self) -> None:
        if self.unreachable:
            raise KtError("unreachable", "The system can't be reached.")
