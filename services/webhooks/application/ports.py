"""What the use cases need from the outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from libs.common.protocol.parties import Caller
from libs.common.protocol.webhooks import DeliveryStatus, DeliveryView
from services.webhooks.domain.schedule import Response, Step
from services.webhooks.domain.subscription import SigningSecret, Subscription


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event is stored."""

    stream: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process is to attempt. ``claim`` tells this attempt from all others of the delivery."""

    id: str
    webhook: str
    org: str
    event_id: str
    position: Position
    attempts: int
    claim: int
    url: str
    secrets: tuple[SigningSecret, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery ended, before it is on record. ``id`` is that of its event."""

    id: str
    delivery: str
    event_id: str
    event_type: str
    delivered: bool
    attempts: int
    answered: int
    reason: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook that the command service is to be told of, and since when it is due."""

    org: str
    webhook: str
    since: datetime


class Queue(Protocol):
    """Deliveries that are due, shared by all instances. Every method raises KtError ``unavailable``."""

    async def claim(
        self, now: datetime, lost_at: datetime, busy: Mapping[str, int], each: int, limit: int
    ) -> Sequence[Claimed]:
        """Take up to ``limit`` due deliveries, each counted as an attempt; the longest due first.

        ``busy`` is how many attempts are under way by webhook; none gets more than ``each``. What is neither
        completed nor postponed until ``lost_at`` is due again.
        """

    async def complete(self, claimed: Claimed, response: Response, step: Step, now: datetime) -> None:
        """Write down what came of an attempt, unless the delivery has ended or was claimed again since."""

    async def postpone(self, claimed: Claimed, due: datetime) -> None:
        """The attempt was not made: it does not count, and is due again at ``due``."""


class Messages(Protocol):
    async def body(self, position: Position) -> bytes | None:
        """The stored event, None when it has expired. Raises: KtError ``unavailable``."""


class Signer(Protocol):
    async def sign(self, claimed: Claimed, secrets: Sequence[SigningSecret], timestamp: int, payload: bytes) -> str:
        """The value of ``webhook-signature``. Raises: KtError; ``undecryptable`` when a secret can't be opened."""


class Sender(Protocol):
    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """POST once, in bounded time; whatever goes wrong is part of the answer."""


class OutcomeBook(Protocol):
    """Outcomes on their way to the record."""

    async def record_next(self, recorder: Recorder) -> bool:
        """Record the outcomes of one webhook that has any; False when none has, or others are at it."""


class Recorder(Protocol):
    async def record(self, org: str, webhook: str, outcome: Outcome, after: int) -> int:
        """Append the event of an outcome behind the sequence ``after`` on the webhook's subject.

        Returns its sequence, also when it had been appended before.

        Raises:
            ConcurrencyConflict: something else follows on ``after``.
            KtError: it is not sure to be stored.
        """

    async def recorded(self, org: str, webhook: str, after: int) -> Sequence[tuple[int, str]]:
        """Sequence and event id of what follows on ``after``. Raises: KtError ``unavailable``."""


class Keeper(Protocol):
    """What has to happen by itself as time passes."""

    async def overdue_secrets(self, now: datetime) -> Sequence[Due]: ...

    async def gone(self) -> Sequence[Due]: ...

    async def expire(self, begun_before: datetime, now: datetime) -> int:
        """Give up what has been pending for too long; how many."""

    async def sweep(self, finished_before: datetime) -> int:
        """Delete deliveries that ended before that time, or whose webhook is deleted; how many."""


class Upkeeper(Protocol):
    """The command service: it alone changes a webhook. Raises: KtError."""

    async def retire_secrets(self, due: Due) -> None: ...

    async def disable(self, due: Due, reason: str) -> None: ...


class Lists(Protocol):
    """Raises: KtError ``unavailable``."""

    async def webhook(self, org: str, webhook: str) -> Subscription | None: ...

    async def webhooks(self, org: str, after: int, limit: int) -> Sequence[Subscription]: ...

    async def count(self, org: str, without: str) -> int: ...

    async def deliveries(
        self, webhook: str, status: DeliveryStatus | None, before: int, limit: int
    ) -> Sequence[tuple[int, DeliveryView]]:
        """Newest first, each with its place."""

    async def delivery(self, webhook: str, delivery: str) -> DeliveryView | None: ...

    async def redeliver(self, webhook: str, delivery: str, now: datetime) -> bool:
        """Make an ended delivery due again; False unless it has ended and its outcome is on record."""

    async def add(self, delivery: NewDelivery) -> None:
        """Add one unless it is there."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    id: str
    webhook: str
    position: Position
    event_id: str
    event_type: str
    created_at: datetime


class RequestLog(Protocol):
    """Puts on record what somebody asked for. Raises: KtError when that is not sure."""

    async def tested(self, caller: Caller, webhook: str, event_id: str) -> Position: ...

    async def redelivery_requested(self, caller: Caller, webhook: str, delivery: DeliveryView) -> None: ...


class Wakeable(Protocol):
    def wake(self) -> None: ...


class AccessInterest(Protocol):
    async def access_patterns(self, known: Collection[str]) -> frozenset[str]:
        """Which of these event types an enabled webhook names in full."""
