"""Reading a stream: nothing that was acknowledged is missing, whichever replica answers."""

from __future__ import annotations

import pytest

from libs.common.direct_get import DirectReader, StoredMessage
from libs.common.errors import KtError
from libs.common.subjects import EVENTS, event_subject
from tests.engines import Bus

SUBJECT = event_subject("acme", "config_variable", "A")
OTHER = event_subject("acme", "config_variable", "B")


class BehindReplica(DirectReader):
    """Answered by a replica that has ``behind`` messages less at first, and gets one more with each look."""

    behind = 0

    async def _held(self, subject: str, after: int) -> list[StoredMessage]:
        found = await super()._held(subject, after)
        kept = found[: max(0, len(found) - self.behind)]
        self.behind = max(0, self.behind - 1)
        return kept


async def stored(bus: Bus, *bodies: bytes, subject: str = SUBJECT) -> None:
    js = (await bus.connect("command")).jetstream()
    for body in bodies:
        await js.publish(subject, body)


@pytest.mark.parametrize("behind", [0, 1, 2, 3])
async def test_a_replica_that_is_behind_is_asked_again(nats_server: Bus, behind: int) -> None:
    await stored(nats_server, b"1", b"2", b"3")
    await stored(nats_server, b"4", subject=OTHER)
    reader = BehindReplica(await nats_server.connect("command"), EVENTS)
    reader.behind = behind
    assert [m.body for m in await reader.all(SUBJECT)] == [b"1", b"2", b"3"]
    reader.behind = behind
    assert [m.sequence for m in await reader.all(SUBJECT, 2)] == [3]
    assert await reader.all(SUBJECT, 3) == []


async def test_a_replica_that_stays_behind_is_not_believed(nats_server: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.common.direct_get.READ_TIMEOUT_S", 0.3)
    await stored(nats_server, b"1")
    reader = BehindReplica(await nats_server.connect("command"), EVENTS)
    reader.behind = 10_000
    with pytest.raises(KtError) as caught:
        await reader.all(SUBJECT)
    assert caught.value.code == "unavailable"


async def test_the_newest_message_of_a_subject_and_of_the_stream(nats_server: Bus) -> None:
    reader = DirectReader(await nats_server.connect("command"), EVENTS)
    assert await reader.last(">") is None
    await stored(nats_server, b"1", b"")
    await stored(nats_server, b"\xff\0", subject=OTHER)
    assert await reader.last(SUBJECT) == StoredMessage(SUBJECT, 2, b"")
    assert await reader.last(">") == StoredMessage(OTHER, 3, b"\xff\0")
    assert await reader.last(event_subject("acme", "config_variable", "C")) is None
