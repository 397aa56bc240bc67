"""A repository in memory, and a system that hands out one token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.application.git_token import GitToken
from services.gateway.application.ports import Report, Snapshot
from services.gateway.application.repository_config import RepositoryConfig
from services.gateway.domain.config import AuditLogger, GatewayConfig, Pack
from services.gateway.domain.git_location import parse_git_location
from services.gateway.domain.references import (
    Purpose,
    Reason,
    Reference,
    ReferenceKind,
    Resolution,
    Resolved,
    Unresolved,
)

TOKEN = Reference(ReferenceKind.GIT_TOKEN, "REPO")
LOCATION = parse_git_location("git+https://git.example.com/config.git#c.yaml@main")
ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40


def commit(tip: str, content: bytes = b"good", problem: str = "") -> Snapshot:
    return Snapshot(tip, tip, content, problem)


@dataclass
class World:
    """Clock, key source, repository and reporter in one."""

    current: Snapshot = field(default_factory=lambda: commit(ONE))
    accepted: str = "token-1"
    stored: Resolution = field(default_factory=lambda: Resolved(TOKEN, Secret(b"token-1"), 1, 1))
    system_down: bool = False
    failure: KtError | None = None
    asked: list[Purpose] = field(default_factory=list)
    shown: list[str | None] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    time: datetime = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def rotate(self, value: str, version: int) -> None:
        self.stored = Resolved(TOKEN, Secret(value.encode()), version, version)

    def lose(self, reason: Reason, sequence: int = 9) -> None:
        self.stored = Unresolved(TOKEN, reason, sequence)

    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        assert list(references) == [TOKEN]
        self.asked.append(purpose)
        if self.system_down:
            raise KtError("unreachable", "The system can't be reached.")
        return [self.stored]

    async def tip(self, token: Secret | None) -> str:
        return self._answer(token).tip

    async def snapshot(self, token: Secret | None) -> Snapshot:
        return self._answer(token)

    def _answer(self, token: Secret | None) -> Snapshot:
        self.shown.append(token.reveal().decode() if token else None)
        if self.failure is not None:
            raise self.failure
        if token is not None and token.reveal().decode() != self.accepted:
            raise KtError("forbidden", "The Git server does not accept the token.")
        return self.current

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def told(self) -> list[tuple[str, str, str]]:
        return [(str(r.kind), r.commit.id[:1] if r.commit else "", r.reason) for r in self.reports]

    def token(self) -> GitToken:
        return GitToken(TOKEN, self, self)

    def source(self, token: GitToken | None = None) -> RepositoryConfig:
        return RepositoryConfig(LOCATION, self, token, parse, reporter=self, clock=self)


def parse(raw: bytes) -> GatewayConfig:
    if raw.startswith(b"bad"):
        raise KtError("invalid_config", "The gateway configuration has 1 problem.")
    return replace(EMPTY, digest=raw.decode())


EMPTY = GatewayConfig(Pack("p", "1"), (), AuditLogger(), "")
