"""Delivering: claim what is due, fetch, sign, send, write down what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from libs.common.clock import Clock, rfc3339
from libs.common.errors import KtError
from libs.common.events import MalformedEvent
from services.webhooks.application.ports import Claimed, Messages, Queue, Sender, Signer
from services.webhooks.domain.message import payload
from services.webhooks.domain.schedule import Failed, Response, Step, next_step

log = logging.getLogger(__name__)

PER_WEBHOOK: Final = 8
"""Attempts at once to one webhook: a slow one holds up nobody but itself."""

AT_ONCE: Final = 128
POLL_S: Final = 1.0
PREPARE_S: Final = 4.0
"""For fetching and signing: both happen inside the system."""

POSTPONE: Final = timedelta(seconds=5)
LEASE_MARGIN: Final = timedelta(seconds=PREPARE_S + 2)
EXPIRED: Final = "expired"
UNREADABLE: Final = "unreadable"
UNDECRYPTABLE: Final = "undecryptable"
USER_AGENT: Final = "keeptrusts-webhooks/1"


@dataclass(frozen=True, slots=True)
class _Request:
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Deliverer:
    """``timeout`` is what ``sender`` takes at most; ``jitter`` gives random numbers from 0 to 1."""

    queue: Queue
    messages: Messages
    signer: Signer
    sender: Sender
    clock: Clock
    jitter: Callable[[], float]
    timeout: timedelta
    _busy: Counter[str] = field(default_factory=Counter)
    _attempts: set[asyncio.Task[None]] = field(default_factory=set)
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Something became due."""
        self._due.set()

    async def run(self) -> None:
        """Deliver until cancelled; attempts under way are then given up, and become due again."""
        try:
            while True:
                self._due.clear()
                try:
                    claimed = await self.claim()
                except KtError as error:
                    log.warning("deliveries.not_claimed", extra={"code": error.code})
                    claimed = 0
                if not claimed:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(POLL_S):
                            await self._due.wait()
        finally:
            for task in self._attempts:
                task.cancel()
            await asyncio.gather(*self._attempts, return_exceptions=True)

    async def claim(self) -> int:
        """Begin the attempts that are due, as far as there is room; how many."""
        free = AT_ONCE - len(self._attempts)
        if free <= 0:
            return 0
        now = self.clock.now()
        lost_at = now + self.timeout + LEASE_MARGIN
        found = await self.queue.claim(now, lost_at, dict(self._busy), PER_WEBHOOK, free)
        for claimed in found:
            self._busy[claimed.webhook] += 1
            task = asyncio.create_task(self._attempt(claimed))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)
        return len(found)

    async def idle(self) -> None:
        """Wait until no attempt is under way."""
        while self._attempts:
            await asyncio.wait(self._attempts)

    async def _attempt(self, claimed: Claimed) -> None:
        try:
            await self._deliver(claimed)
        except KtError as error:
            # Not written down: it becomes due again when it counts as lost.
            log.warning("delivery.interrupted", extra={"delivery": claimed.id, "code": error.code})
        finally:
            self._busy[claimed.webhook] -= 1
            if not self._busy[claimed.webhook]:
                del self._busy[claimed.webhook]
            self.wake()

    async def _deliver(self, claimed: Claimed) -> None:
        try:
            async with asyncio.timeout(PREPARE_S):
                prepared = await self._prepared(claimed)
        except (KtError, TimeoutError) as error:
            code = error.code if isinstance(error, KtError) else "unavailable"
            log.warning("delivery.postponed", extra={"delivery": claimed.id, "code": code})
            await self.queue.postpone(claimed, self.clock.now() + POSTPONE)
            return
        if isinstance(prepared, _Request):
            response = await self.sender.send(claimed.url, prepared.headers, prepared.body)
            step: Step = next_step(claimed.attempts, response, self.clock.now(), self.jitter())
        else:
            response, step = prepared
        await self.queue.complete(claimed, response, step, self.clock.now())

    async def _prepared(self, claimed: Claimed) -> _Request | tuple[Response, Step]:
        """What to send, or what follows where there is nothing to send."""
        now = self.clock.now()
        stored = await self.messages.body(claimed.position)
        if stored is None:
            return Response(), Failed(EXPIRED)
        try:
            body = payload(stored)
        except MalformedEvent:
            return Response(), Failed(UNREADABLE)
        timestamp = int(now.timestamp())
        valid = [secret for secret in claimed.secrets if secret.is_valid(rfc3339(now))]
        try:
            signature = await self.signer.sign(claimed, valid, timestamp, body)
        except KtError as error:
            if error.code != UNDECRYPTABLE:
                raise
            response = Response(reason=UNDECRYPTABLE)
            return response, next_step(claimed.attempts, response, now, self.jitter())
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": claimed.event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }
        return _Request(headers, body)
