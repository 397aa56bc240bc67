"""Current state by read index: a bounded cache that follows the stream, checked against its end on every read.

A read asks the stream for its last sequence (0.2 ms) and is served from memory once the follower
has got there. So a read sees every write acknowledged before it, and a hundred references cost no more round trips
than one. What is not cached is loaded from its own subject.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from libs.common.direct_get import DirectReader, StoredMessage
from libs.common.errors import KtError
from libs.common.event_store import read_event
from libs.common.events import MalformedEvent, RecordedEvent, UnknownEventType
from libs.common.events.gateway import GatewayEnrolled
from libs.common.events.token import TokenRevoked
from libs.common.references import split_reference
from libs.common.secret_kinds import KINDS
from libs.common.stream_reader import StreamGap, read_stream, stream_range
from libs.common.subjects import ALL_EVENTS, EVENTS, GatewayIdentity, aggregate_of, event_subject
from services.resolver.domain.secret import Known, Unreadable, evolve

log = logging.getLogger(__name__)

CAPACITY: Final = 100_000
CATCH_UP_S: Final = 2.0
BATCH: Final = 1000
RETRY_S: Final = 0.2
IDLE_S: Final = 1.0
ARRIVAL_S: Final = 0.2
"""How long an event that is stored may take to arrive before the consumer counts as lost."""


_Enrolments = Mapping[str, tuple[str, ...]]
"""What a gateway may resolve, by the id of the token it was enrolled with."""


def _enrolled(before: _Enrolments | None, recorded: RecordedEvent) -> _Enrolments | None:
    event = recorded.event
    return {**(before or {}), event.token_id: event.references} if isinstance(event, GatewayEnrolled) else before


def _revoked(before: bool | None, recorded: RecordedEvent) -> bool:
    return bool(before) or isinstance(recorded.event, TokenRevoked)


_EVOLVE: Final[Mapping[str, Any]] = {**dict.fromkeys(KINDS, evolve), "gateway": _enrolled, "token": _revoked}


class StreamState:
    """Implements the ``CurrentState`` port. :meth:`follow` has to run for reads to succeed."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._reader = DirectReader(nc, EVENTS)
        self._cache: OrderedDict[str, Any] = OrderedDict()
        self._loads: dict[str, asyncio.Task[Any]] = {}
        self._passed: dict[str, int] = {}
        self._epoch = 0
        self._seen = -1
        self._moved = asyncio.Condition()

    async def secrets(self, org: str, references: Sequence[str]) -> Mapping[str, Known]:
        states = await self._states(_subjects(org, references))
        return dict(zip(references, states, strict=True))

    async def of_gateway(
        self, gateway: GatewayIdentity, references: Sequence[str]
    ) -> tuple[tuple[str, ...] | None, Mapping[str, Known]]:
        org, name, token_id = gateway
        of_it = [event_subject(org, "gateway", name), event_subject(org, "token", token_id)]
        enrolments, revoked, *states = await self._states([*of_it, *_subjects(org, references)])
        # A token whose events can't be read may be a revoked one.
        entitled = isinstance(enrolments, Mapping) and not revoked
        globs = enrolments.get(token_id) if entitled else None
        return globs, dict(zip(references, states, strict=True))

    async def follow(self) -> None:
        """Apply new events to what is cached, until cancelled. A gap empties the cache."""
        while True:
            try:
                _, last = await stream_range(self._nc, EVENTS)
                self._epoch += 1
                self._cache.clear()
                async with read_stream(self._nc, EVENTS, ALL_EVENTS, last + 1) as reader:
                    await self._reach(last)
                    while True:
                        messages = await reader.batch(BATCH, ARRIVAL_S if last > self._seen else IDLE_S)
                        await self._apply(messages)
                        if not messages:
                            if last > self._seen:
                                raise StreamGap
                            _, last = await stream_range(self._nc, EVENTS)
            except (StreamGap, KtError, NatsError, TimeoutError) as reason:
                self._seen = -1
                log.warning("current_state.resync", extra={"why": repr(reason)})
                await asyncio.sleep(RETRY_S)

    async def _states(self, subjects: Sequence[str]) -> list[Any]:
        await self._catch_up()
        states = {s: self._cache[s] for s in subjects if s in self._cache}
        for subject in states:
            self._cache.move_to_end(subject)
        missing = [s for s in dict.fromkeys(subjects) if s not in states]
        states.update(zip(missing, await asyncio.gather(*map(self._loaded, missing)), strict=True))
        return [states[s] for s in subjects]

    async def _catch_up(self) -> None:
        head = await self._reader.last(">")
        sequence = head.sequence if head else 0
        if self._seen >= sequence:
            return
        try:
            async with asyncio.timeout(CATCH_UP_S), self._moved:
                await self._moved.wait_for(lambda: self._seen >= sequence)
        except TimeoutError:
            raise KtError(
                "unavailable", "The resolver has not caught up with the event stream.", "Try again in a few seconds."
            ) from None

    async def _loaded(self, subject: str) -> Any:
        task = self._loads.get(subject)
        if task is None:
            task = self._loads[subject] = asyncio.create_task(self._load(subject))
            task.add_done_callback(lambda _: self._loads.pop(subject, None))
        return await asyncio.shield(task)

    async def _load(self, subject: str) -> Any:
        while True:
            epoch, self._passed[subject] = self._epoch, 0
            messages = await self._reader.all(subject)
            state: Any = None
            for message in messages:
                state = _evolved(state, message)
            # The follower may have passed an event that this load did not see yet, or have begun anew.
            passed = self._passed.pop(subject, 0)
            if epoch == self._epoch and passed <= (messages[-1].sequence if messages else 0):
                break
        self._cache[subject] = state
        if len(self._cache) > CAPACITY:
            self._cache.popitem(last=False)
        return state

    async def _apply(self, messages: Sequence[StoredMessage]) -> None:
        for message in messages:
            subject = message.subject
            if subject in self._cache:
                self._cache[subject] = _evolved(self._cache[subject], message)
            if subject in self._passed:
                self._passed[subject] = message.sequence
        if messages:
            await self._reach(messages[-1].sequence)

    async def _reach(self, sequence: int) -> None:
        self._seen = sequence
        async with self._moved:
            self._moved.notify_all()


def _subjects(org: str, references: Sequence[str]) -> list[str]:
    return [event_subject(org, *split_reference(reference)) for reference in references]


def _evolved(state: Any, message: StoredMessage) -> Any:
    """One more event; an event that can't be read makes its own aggregate unreadable and no other."""
    aggregate = aggregate_of(message.subject)
    if aggregate not in _EVOLVE or isinstance(state, Unreadable):
        return state
    try:
        return _EVOLVE[aggregate](state, read_event(message))
    except (MalformedEvent, UnknownEventType) as error:
        log.error("current_state.unreadable", extra={"sequence": message.sequence, "why": repr(error)})  # noqa: TRY400
        return Unreadable(message.sequence)
