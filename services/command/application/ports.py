"""What the command service needs of the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from libs.common.events import RecordedEvent
from libs.common.events.secret import SealedRef
from libs.common.protocol.command import BoxedValue


class Store(Protocol):
    """The event store (libs.common.event_store)."""

    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]: ...

    async def append(self, subject: str, wire_name: str, body: bytes, *, expected: int) -> int: ...


@dataclass(frozen=True, slots=True)
class SealedRow:
    """An older plaintext row whose value was sealed."""

    description: str
    sensitive: bool
    sealed: SealedRef


class Sealer(Protocol):
    """The key service, for one kind of secret. Sealing is idempotent in ``sealed_id``."""

    async def seal(self, sealed_id: str, org: str, name: str, value: BoxedValue, *, first: bool = False) -> SealedRef:
        """``first``: the name has no history.

        Raises:
            KtError: ``idempotency_mismatch`` when the id already holds another value; ``already_exists`` when an
                older plaintext row has a name that is sealed for ``first``.
        """

    async def reseal(self, sealed_id: str, org: str, name: str, source: SealedRef) -> SealedRef: ...

    async def take_over(self, sealed_id: str, org: str, name: str) -> SealedRow | None:
        """Seal the value of the older plaintext row of this name; None without one. It takes a new id each time, as
        the row may have been changed since the last."""
