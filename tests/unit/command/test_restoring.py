"""The stream is given back what was cut off: only what leads to a signed root, only at its own sequence."""

from __future__ import annotations

import pytest

from libs.common.errors import KtError
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableUpdated
from libs.common.protocol.command import ProvenEvent, RestoreEvents
from libs.common.transparency.merkle import Range, inclusion_path, leaf_hash, root_of
from libs.common.transparency.note import VerifierKey
from services.command.application.restoring import Restoring
from tests.unit.transparency.signing import Signer

LOG, STRANGER = Signer(), Signer(seed=3)


def event(number: int) -> bytes:
    metadata = Metadata(
        f"e-{number}", "2026-11-23T07:39:03.192164Z", "acme", "keeptrusts/test", Actor("admin", "a"), Origin("r")
    )
    changed = ConfigVariableUpdated(f"note {number}", sensitive=True)
    return encode(changed, Resource("config_variable", "A.KEY"), metadata)[1]


BODIES = [event(number) for number in range(7)]
LEAVES = [leaf_hash(body) for body in BODIES]


def path(index: int, leaves: list[bytes] = LEAVES) -> list[bytes]:
    return [root_of(leaves[part.begin : part.end]) for part in map(Range._make, inclusion_path(index, len(leaves)))]


def request(first: int = 6, bodies: list[bytes] | None = None, signer: Signer = LOG) -> RestoreEvents:
    wanted = bodies or BODIES[first - 1 :]
    items = [ProvenEvent(body=body, path=path(first - 1 + n)) for n, body in enumerate(wanted)]
    return RestoreEvents(first=first, items=items, note=str(signer.checkpoint(len(LEAVES), root_of(LEAVES))))


class Stream:
    def __init__(self, last: int = 5) -> None:
        self.last = last
        self.appended: list[tuple[str, str, bytes, int]] = []

    async def of(self, stream: str) -> list[VerifierKey]:
        assert stream == "KT_EVENTS"
        return [LOG.key]

    async def append_at(self, subject: str, wire_name: str, body: bytes, sequence: int) -> None:
        if sequence != self.last + 1:
            raise KtError("conflict", "The stream ends elsewhere.")
        self.appended.append((subject, wire_name, body, sequence))
        self.last = sequence


async def test_proven_events_are_appended_at_their_sequences() -> None:
    stream = Stream()
    assert (await Restoring(stream, stream).restore("", request())).last == 7
    subject, name = "kt.evt.v1.acme.config_variable.A~KEY", "kt.config_variable.updated.v1"
    assert stream.appended == [(subject, name, BODIES[5], 6), (subject, name, BODIES[6], 7)]


@pytest.mark.parametrize(
    "forged",
    [
        request(signer=STRANGER),
        request(bodies=[event(99), BODIES[6]]),
        request(bodies=[BODIES[6], BODIES[5]]),
        request(first=5, bodies=BODIES[5:]),
        request().model_copy(update={"note": "no note"}),
    ],
    ids=["a stranger's signature", "another event", "another order", "another place", "no checkpoint"],
)
async def test_what_is_not_proven_is_not_appended(forged: RestoreEvents) -> None:
    stream = Stream(last=forged.first - 1)
    with pytest.raises(KtError) as caught:
        await Restoring(stream, stream).restore("", forged)
    assert (caught.value.code, stream.appended) == ("not_proven", [])


async def test_what_is_proven_and_no_event_is_not_appended() -> None:
    stream, body = Stream(last=0), b"{}"
    note = str(LOG.checkpoint(1, leaf_hash(body)))
    with pytest.raises(KtError, match="Nothing was restored"):
        await Restoring(stream, stream).restore(
            "", RestoreEvents(first=1, items=[ProvenEvent(body=body, path=[])], note=note)
        )
    assert stream.appended == []


async def test_nothing_is_put_behind_a_stream_that_ends_elsewhere() -> None:
    stream = Stream(last=6)
    with pytest.raises(KtError) as caught:
        await Restoring(stream, stream).restore("", request())
    assert caught.value.code == "conflict"
