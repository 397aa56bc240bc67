"""What the command service needs of the outside."""

from __future__ import annotations

from typing import Protocol

from libs.common.events import RecordedEvent
from libs.common.events.secret import SealedRef
from libs.common.protocol.command import BoxedValue


class Store(Protocol):
    """The event store (libs.common.event_store)."""

    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]: ...

    async def append(self, subject: str, wire_name: str, body: bytes, *, expected: int) -> int: ...


class Sealer(Protocol):
    """The key service, for one kind of secret. Both calls are idempotent in ``sealed_id``."""

    async def seal(self, sealed_id: str, org: str, name: str, value: BoxedValue) -> SealedRef:
        """Raises: KtError ``idempotency_mismatch`` when the id already holds another value."""

    async def reseal(self, sealed_id: str, org: str, name: str, source: SealedRef) -> SealedRef: ...
