"""The gateway's access log: every request gets a number, and what can't be kept is counted.

Nothing here makes a request wait: it is over when it comes here. Records queue in memory, in bounds, until the system
has confirmed them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from libs.common.clock import Clock
from libs.common.errors import KtError
from services.gateway.application.refusals import RefusalCounter
from services.gateway.domain.access import (
    AccessLogStatus,
    Ended,
    Epoch,
    Loss,
    Record,
    Recording,
    RequestRecord,
    Started,
    UnrecordedRequests,
)
from services.gateway.domain.exchange import Exchange, judge, judge_control
from services.gateway.domain.references import Reference
from services.gateway.domain.routing import RoutingPlan
from services.gateway.domain.versions import History, carried

log = logging.getLogger(__name__)

MAX_WAITING: Final = 65_536
"""Records in memory, some 500 bytes each: half a minute of 2,000 requests a second without the system."""

ROOM_AGAIN: Final = MAX_WAITING * 3 // 4
"""A queue that was full takes records again from here, so that losses come as few long gaps and not as many short."""

MAX_BATCH: Final = 1000
COLLECT_S: Final = 0.5
"""How long records collect while there are fewer than that: the system stores many at the cost of few."""

MAX_DESTINATIONS: Final = 10_000
FIRST_RETRY_S: Final = 0.25
LONGEST_RETRY_S: Final = 5.0

_UNKNOWN: Final = ("", "", "")


@dataclass(frozen=True, slots=True)
class Batch:
    """Records ``first`` and following of an epoch."""

    epoch: str
    first: int
    records: Sequence[Record]


class AccessSink(Protocol):
    async def record_access(self, batch: Batch) -> int:
        """Put on record what is not yet; gives the number up to which everything of the epoch is.

        Raises:
            KtError: ``conflict`` when the epoch can't be continued; whatever else keeps it from being stored.
        """


class MaybeSink(AccessSink, Protocol):
    @property
    def known(self) -> bool:
        """Is there a system to record in?"""


class Epochs(Protocol):
    """The last epoch, across restarts."""

    def last(self) -> Epoch | None: ...

    def keep(self, epoch: Epoch) -> None: ...


@dataclass(slots=True)
class _Totals:
    served: int = 0
    failed: int = 0
    refused: int = 0
    unrecorded: int = 0


class AccessLog:
    """``control`` is the destination of the agent's own endpoints."""

    def __init__(
        self,
        *,
        sink: MaybeSink,
        epochs: Epochs,
        history_of: Callable[[Reference], History],
        clock: Clock,
        new_epoch: Callable[[], str],
        control: str,
    ) -> None:
        self._sink = sink
        self._epochs = epochs
        self._history_of = history_of
        self._clock = clock
        self._new_epoch = new_epoch
        self._control = control
        self._recording: Recording | None = None
        self._destinations: dict[str, tuple[str, Reference]] = {}
        self._epoch = ""
        self._first = 1
        self._waiting: deque[Record] = deque()
        self._losses: dict[Loss, UnrecordedRequests] = {}
        self._refusals = RefusalCounter()
        self._totals = _Totals()
        self._full = False
        self._wake = asyncio.Event()
        self._sent = asyncio.Event()
        self.received: Counter[int] = Counter()
        """Requests that each run of the proxy told of (:mod:`services.gateway.application.losses`)."""

    def expect(self, plan: RoutingPlan) -> None:
        """From now on requests may go to these destinations."""
        for destination in plan.destinations:
            self._destinations.pop(destination.name, None)
            self._destinations[destination.name] = destination.target, destination.reference
        for name in list(self._destinations)[:-MAX_DESTINATIONS]:
            del self._destinations[name]

    def record(self, recording: Recording) -> None:
        """What to put on record from now on, if there is a system to record in."""
        if not self._sink.known:
            return
        self._recording = recording
        if not self._epoch:
            self._begin(self._epochs.last() or Epoch("", ended=True))

    def take(self, exchanges: Sequence[Exchange], run: int) -> None:
        """``run`` numbers the runs of the proxy process."""
        self.received[run] += len(exchanges)
        if self._recording is not None:
            for exchange in exchanges:
                self._take(exchange)
            self._wake.set()

    def unreadable(self, count: int, run: int) -> None:
        """The proxy told of so many requests more, in a way that can't be read."""
        self.received[run] += count
        if self._recording is not None:
            self.lose(Loss.TRANSIT_LOST, count)

    def lose(self, reason: Loss, count: int, *, exact: bool = True) -> None:
        """Requests that will not be on record. That they were lost will be."""
        now = self._now()
        self._totals.unrecorded += count
        lost = self._losses.get(reason) or UnrecordedRequests(reason, 0, True, now, now)
        self._losses[reason] = UnrecordedRequests(
            reason, lost.count + count, lost.exact and exact, lost.first_at, now
        )
        self._wake.set()

    def tick(self) -> None:
        """Put what was counted into the queue, as far as there is room. To be called every few seconds."""
        if self._recording is None or self._no_room():
            return
        self._queue_losses()
        self._waiting.extend(self._refusals.take())
        self._wake.set()

    def status(self) -> AccessLogStatus:
        totals = self._totals
        return AccessLogStatus(
            self._recording,
            self._epoch,
            self._first - 1,
            len(self._waiting),
            totals.served,
            totals.failed,
            totals.refused,
            totals.unrecorded,
        )

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        pause = FIRST_RETRY_S
        while True:
            await self._wake.wait()
            if not self._waiting:
                self._wake.clear()
                continue
            if len(self._waiting) < MAX_BATCH:
                await asyncio.sleep(COLLECT_S)
            batch = Batch(self._epoch, self._first, tuple(islice(self._waiting, MAX_BATCH)))
            try:
                recorded = await self._sink.record_access(batch)
            except KtError as error:
                if not self._restarted(batch, error):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_RETRY_S)
                continue
            pause = FIRST_RETRY_S
            self._drop(min(max(recorded - self._first + 1, 0), len(batch.records)))

    async def finish(self, within_s: float) -> None:
        """Put the last records on record and end the epoch. :meth:`run` has to run."""
        if not self._epoch:
            return
        totals = self._totals
        self._queue_losses()
        self._waiting.extend(self._refusals.take())
        self._waiting.append(Ended(self._now(), totals.served, totals.failed, totals.refused, totals.unrecorded))
        self._wake.set()
        try:
            async with asyncio.timeout(within_s):
                while self._waiting:
                    self._sent.clear()
                    await self._sent.wait()
        except TimeoutError:
            log.error("access_log.not_sent", extra={"records": len(self._waiting)})  # noqa: TRY400
        else:
            self._epochs.keep(Epoch(self._epoch, ended=True))

    def _begin(self, before: Epoch) -> None:
        self._epoch, self._first = self._new_epoch(), 1
        recording = self._recording or Recording.FAILURES
        self._waiting.appendleft(Started(self._now(), recording, before.id, before.ended))
        self._epochs.keep(Epoch(self._epoch))
        self._wake.set()

    def _take(self, exchange: Exchange) -> None:
        control = exchange.destination == self._control
        failure, refusal = judge_control(exchange) if control else judge(exchange)
        if refusal is not None:
            self._refusals.count(refusal, exchange.address, exchange.started)
            self._totals.refused += 1
        elif control or (failure is None and self._recording is not Recording.ALL):
            return
        elif self._no_room():
            self.lose(Loss.QUEUE_FULL, 1)
        else:
            self._queue_losses()
            self._waiting.append(self._request(exchange, str(failure or "")))
            if failure is None:
                self._totals.served += 1
            else:
                self._totals.failed += 1

    def _request(self, exchange: Exchange, failure: str) -> RequestRecord:
        target, store, name = _UNKNOWN
        version = earliest = 0
        if (known := self._destinations.get(exchange.destination)) is not None:
            target, reference = known
            store, name = str(reference.kind), reference.name
            sent = exchange.started + (exchange.sent or exchange.latency)
            earliest, version = carried(self._history_of(reference), exchange.started, sent)
        return RequestRecord(
            exchange.started,
            exchange.client,
            exchange.client_token,
            target,
            store,
            name,
            version,
            earliest,
            exchange.status,
            exchange.latency,
            exchange.request_bytes,
            exchange.response_bytes,
            failure,
        )

    def _no_room(self) -> bool:
        self._full = len(self._waiting) >= (ROOM_AGAIN if self._full else MAX_WAITING)
        return self._full

    def _queue_losses(self) -> None:
        if self._losses:
            self._waiting.extend(self._losses.values())
            self._losses.clear()

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()
        self._first += count
        self._no_room()
        self._sent.set()

    def _restarted(self, batch: Batch, error: KtError) -> bool:
        """Begin a new epoch if this one can't go on. False: there is something to wait for."""
        log.warning("access_log.not_recorded", extra={"code": error.code, "records": len(batch.records)})
        if error.code == "conflict":
            self._begin(Epoch(batch.epoch))
            return True
        if error.code == "invalid_request":
            # It would be refused for ever, and hold up what comes behind it.
            for _ in batch.records:
                self._waiting.popleft()
            self.lose(Loss.TRANSIT_LOST, sum(isinstance(record, RequestRecord) for record in batch.records))
            self._begin(Epoch(batch.epoch))
        return False

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)
