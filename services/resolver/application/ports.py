"""What the resolver needs of the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from libs.common.protocol.keys import LegacyRowsReply, OpenReply
from libs.common.subjects import GatewayIdentity
from services.resolver.domain.entitlement import Entitled
from services.resolver.domain.secret import Known


class CurrentState(Protocol):
    """State as of the end of the stream at the time of the call: an acknowledged write is always seen."""

    async def secrets(self, org: str, references: Sequence[str]) -> Mapping[str, Known]:
        """By reference (libs.common.references)."""

    async def of_gateway(
        self, gateway: GatewayIdentity, references: Sequence[str]
    ) -> tuple[tuple[str, ...] | None, Mapping[str, Known]]:
        """The globs a gateway was enrolled with by its token, None when it was not or the token is revoked, and
        secrets: of the same moment."""


class KeyService(Protocol):
    async def open(
        self,
        org: str,
        requester: str,
        recipient_key: bytes,
        entitled: Sequence[Entitled],
        legacy: Sequence[str] = (),
        *,
        reveal: bool = False,
    ) -> OpenReply:
        """``legacy`` are names that may be those of older plaintext rows; ``reveal``: only rows that may be shown."""


class LegacyRows(Protocol):
    """Older plaintext rows, without their values."""

    async def named(self, org: str, names: Sequence[str]) -> LegacyRowsReply: ...

    async def page(self, org: str, prefix: str, after: str, limit: int) -> LegacyRowsReply: ...


class AccessRecorder(Protocol):
    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Returns when the records are durable. Raises: KtError."""
