"""What an event store does, whichever it is."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.clock import SystemClock, rfc3339
from libs.common.errors import KtError
from libs.common.event_store import ConcurrencyConflict
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableRotated
from libs.common.events.secret import SealedRef
from libs.common.ids import Uuid7Factory
from libs.common.subjects import event_subject
from services.command.application.ports import Store

SUBJECT = event_subject("acme", "config_variable", "OPENAI.KEY")
OTHER = event_subject("acme", "config_variable", "OPENAI_KEY")
_IDS, _CLOCK = Uuid7Factory(), SystemClock()


def an_event(version: int = 1, name: str = "OPENAI.KEY") -> tuple[str, bytes]:
    metadata = Metadata(_IDS.new(), rfc3339(_CLOCK.now()), "acme", "test", Actor("admin", "a"), Origin("r"), "c1")
    resource = Resource("config_variable", name, version)
    return encode(ConfigVariableRotated(version, SealedRef("s", "d")), resource, metadata)


class AnEventStore:
    """Subclasses give the fixture ``store``."""

    async def test_what_is_appended_is_loaded_in_order(self, store: Store) -> None:
        sequence = 0
        for version in range(1, 6):
            sequence = await store.append(SUBJECT, *an_event(version), expected=sequence)
        events = await store.load(SUBJECT)
        assert [e.event.version for e in events] == [1, 2, 3, 4, 5]
        assert [e.sequence for e in events] == sorted({e.sequence for e in events})
        assert [e.event.version for e in await store.load(SUBJECT, after=events[2].sequence)] == [4, 5]

    async def test_aggregates_do_not_mix(self, store: Store) -> None:
        await store.append(SUBJECT, *an_event(1), expected=0)
        await store.append(OTHER, *an_event(7, "OPENAI_KEY"), expected=0)
        assert [e.event.version for e in await store.load(SUBJECT)] == [1]
        assert [e.event.version for e in await store.load(OTHER)] == [7]

    async def test_what_is_stored_under_the_subject_of_another_is_refused(self, store: Store) -> None:
        await store.append(OTHER, *an_event(1, "OPENAI.KEY"), expected=0)
        with pytest.raises(KtError) as caught:
            await store.load(OTHER)
        assert caught.value.code == "stream_damaged"

    async def test_what_does_not_exist_is_empty(self, store: Store) -> None:
        assert await store.load(SUBJECT) == []

    @pytest.mark.parametrize("expected", [0, 99])
    async def test_another_expectation_is_a_conflict(self, store: Store, expected: int) -> None:
        await store.append(SUBJECT, *an_event(1), expected=0)
        with pytest.raises(ConcurrencyConflict):
            await store.append(SUBJECT, *an_event(2), expected=expected)
        assert len(await store.load(SUBJECT)) == 1

    async def test_of_many_writers_at_once_exactly_one_wins(self, store: Store) -> None:
        attempts = (store.append(SUBJECT, *an_event(i), expected=0) for i in range(20))
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert sorted(type(r).__name__ for r in results) == ["ConcurrencyConflict"] * 19 + ["int"]
        assert len(await store.load(SUBJECT)) == 1

    async def test_the_same_event_again_is_the_same_append(self, store: Store) -> None:
        event = an_event()
        first = await store.append(SUBJECT, *event, expected=0)
        await store.append(SUBJECT, *an_event(2), expected=first)
        assert await store.append(SUBJECT, *event, expected=0) == first
        assert len(await store.load(SUBJECT)) == 2
