"""What the resolver needs of the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from libs.common.protocol.keys import OpenReply
from services.resolver.domain.entitlement import Entitled
from services.resolver.domain.variable import Known


class CurrentState(Protocol):
    """State as of the end of the stream at the time of the call: an acknowledged write is always seen."""

    async def variables(self, org: str, names: Sequence[str]) -> Mapping[str, Known]: ...

    async def of_gateway(
        self, org: str, gateway: str, names: Sequence[str]
    ) -> tuple[tuple[str, ...] | None, Mapping[str, Known]]:
        """The globs a gateway was enrolled with, None when it is not enrolled, and variables: of the same moment."""


class KeyService(Protocol):
    async def open(
        self, org: str, requester: str, recipient_key: bytes, entitled: Sequence[Entitled]
    ) -> OpenReply: ...


class AccessRecorder(Protocol):
    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Returns when the records are durable. Raises: KtError."""
