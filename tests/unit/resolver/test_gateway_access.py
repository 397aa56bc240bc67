"""A gateway's records: each once, in order, none left out, and nothing in them but what is meant to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.access_log import WrongLastSequence
from libs.common.errors import KtError
from libs.common.events import decode
from libs.common.events.gateway_access import GatewayAccessEvent, GatewayRequestsRefused, RefusedFrom
from libs.common.protocol.gateway_access import EndedNote, Note, RecordAccess, RefusedNote, RequestLine, StartedNote
from libs.common.subjects import GatewayIdentity
from services.resolver.application.gateway_access import End, GatewayAccess
from services.resolver.application.gateway_events import ANONYMOUS, WITHHELD
from services.resolver.domain.secret import Known

EPOCH = "01936c2f-7c00-7a3e-8b1a-2f6d5e4c3b2a"
SUBJECT = "kt.gw.v1.default.edge.t1.access"
STARTED = StartedNote(at=1, recording="all", previous_epoch="", previous_ended=True)
LINE = RequestLine(
    1_795_419_543_192_164, "search-team", "jti", "openai", "store", "OPENAI_API_KEY", 2, 1, 200, 800, 5, 6, ""
)


@dataclass
class Stream:
    """One subject's messages at every other sequence; ``unanswered`` stores and then fails, as a lost answer does."""

    bodies: list[bytes] = field(default_factory=list)
    subjects: set[str] = field(default_factory=set)
    asked: int = 0
    unanswered: bool = False

    async def end(self, _subject: str) -> End:
        self.asked += 1
        return End(len(self.bodies), 2 * len(self.bodies))

    async def append(self, messages: Sequence[tuple[str, bytes]], expected: int) -> int:
        if expected != 2 * len(self.bodies):
            raise WrongLastSequence
        self.bodies += [body for _, body in messages]
        self.subjects |= {subject for subject, _ in messages}
        if self.unanswered:
            self.unanswered = False
            raise KtError("unavailable", "No answer in time.")
        return 2 * len(self.bodies)

    @property
    def events(self) -> list[GatewayAccessEvent]:
        return [decode(body, number).event for number, body in enumerate(self.bodies, 1)]

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for body in self.bodies]


class Enrolled:
    """Gateways are enrolled with every token but ``revoked``."""

    async def secrets(self, org: str, references: Sequence[str]) -> Mapping[str, Known]:
        return {}

    async def of_gateway(
        self, gateway: GatewayIdentity, references: Sequence[str]
    ) -> tuple[tuple[str, ...] | None, Mapping[str, Known]]:
        return None if gateway.token_id == "revoked" else ("*",), {}


class Ids:
    def __init__(self) -> None:
        self.made = 0

    def new(self) -> str:
        self.made += 1
        return str(self.made)


def resolver(stream: Stream) -> GatewayAccess:
    return GatewayAccess(Enrolled(), stream, Ids())


def asked(first: int, *records: RequestLine | Note) -> RecordAccess:
    notes = [(place, record) for place, record in enumerate(records) if not isinstance(record, RequestLine)]
    requests = [record for record in records if isinstance(record, RequestLine)]
    return RecordAccess(epoch=EPOCH, first=first, requests=requests, notes=notes)


def line(number: int) -> RequestLine:
    return LINE._replace(started=number)


async def test_a_request_is_an_event_with_what_it_used_and_who_made_it() -> None:
    stream = Stream()
    answer = await resolver(stream).record(SUBJECT, asked(1, STARTED, LINE, LINE._replace(failure="rate_limited")))
    assert answer.recorded == 3
    assert stream.subjects == {f"kt.access.v1.default.gateway_request.edge~{EPOCH}"}
    begun, served, failed = stream.documents
    assert (begun["type"], begun["data"]["actor"]) == (
        "kt.gateway.access_log_started.v1",
        {"type": "gateway", "id": "edge"},
    )
    assert (served["org"], served["subject"], served["time"]) == (
        "default",
        "gateway/edge",
        "2026-11-23T07:39:03.192164Z",
    )
    assert served["data"]["actor"] == {"type": "client", "id": "search-team"}
    assert served["data"]["detail"] == {
        "epoch": EPOCH,
        "sequence": 2,
        "target": "openai",
        "store": "store",
        "reference": "OPENAI_API_KEY",
        "version": 2,
        "earliest_version": 1,
        "status": 200,
        "latency_us": 800,
        "request_bytes": 5,
        "response_bytes": 6,
        "client_token": "jti",
    }
    assert failed["data"]["outcome"] == {"result": "failure", "reason": "rate_limited"}


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 20), st.booleans(), st.booleans()), max_size=12))
async def test_whatever_is_sent_again_or_lost_on_the_way_each_record_is_stored_once_and_in_order(
    sent: list[tuple[int, int, bool, bool]],
) -> None:
    """``first`` and length of each message, whether its answer is lost, whether another process answers it."""
    stream = Stream()
    one, other = resolver(stream), resolver(stream)
    everything: list[RequestLine | Note] = [STARTED, *map(line, range(2, 70))]
    await one.record(SUBJECT, asked(1, STARTED))
    for first, count, unanswered, elsewhere in sent:
        message = asked(first, *everything[first - 1 : first - 1 + count])
        stored, stream.unanswered = len(stream.bodies), unanswered
        try:
            answer = await (other if elsewhere else one).record(SUBJECT, message)
        except KtError as error:
            assert (error.code == "conflict") == (first > stored + 1)  # noqa: PT017
        else:
            assert min(first + count - 1, len(everything)) <= answer.recorded <= len(stream.bodies)
        stream.unanswered = False
    assert [event.sequence for event in stream.events] == list(range(1, len(stream.bodies) + 1))
    assert [document["time"][-7:-1] for document in stream.documents] == [
        f"{number:06}" for number in range(1, len(stream.bodies) + 1)
    ]


async def test_records_with_a_gap_before_them_are_refused() -> None:
    stream = Stream()
    await resolver(stream).record(SUBJECT, asked(1, STARTED, line(2)))
    with pytest.raises(KtError) as refused:
        await resolver(stream).record(SUBJECT, asked(4, line(4)))
    assert (refused.value.code, refused.value.extra["recorded"]) == ("conflict", 2)
    assert len(stream.bodies) == 2


@pytest.mark.parametrize(
    "message",
    [
        asked(1, LINE),
        asked(2, STARTED),
        RecordAccess(epoch=EPOCH, first=1, requests=[LINE], notes=[(0, STARTED), (0, STARTED)]),
        RecordAccess(epoch=EPOCH, first=1, requests=[LINE], notes=[(7, STARTED)]),
    ],
    ids=["no begin", "a second begin", "two notes at one place", "a note beyond the end"],
)
async def test_what_is_no_run_of_records_is_refused(message: RecordAccess) -> None:
    stream = Stream()
    with pytest.raises(KtError) as refused:
        await resolver(stream).record(SUBJECT, message)
    assert (refused.value.code, stream.bodies) == ("invalid_request", [])


async def test_names_in_the_shape_of_a_key_and_names_that_are_none_are_not_repeated() -> None:
    key = "sk-proj-" + "A1b2C3d4" * 5
    stream = Stream()
    addresses = [(key, 3), ("10.0.0.1", 2)]
    note = RefusedNote(reason="forbidden", count=5, first_at=1, last_at=2, addresses=addresses, elsewhere=0)
    line_with_keys = LINE._replace(client=key, client_token=key, target=key, reference="a\nb")
    await resolver(stream).record(SUBJECT, asked(1, STARTED, line_with_keys, LINE._replace(client=""), note))
    assert key.encode() not in b"".join(stream.bodies)
    _, hidden, nobody, _ = stream.documents
    assert hidden["data"]["actor"]["id"] == WITHHELD
    assert nobody["data"]["actor"]["id"] == ANONYMOUS
    refused = stream.events[3]
    assert isinstance(refused, GatewayRequestsRefused)
    assert refused.addresses == (RefusedFrom(WITHHELD, 3), RefusedFrom("10.0.0.1", 2))


async def test_the_end_of_an_epoch_is_asked_for_once() -> None:
    stream = Stream()
    access = resolver(stream)
    await access.record(SUBJECT, asked(1, STARTED))
    for number in range(2, 20):
        await access.record(SUBJECT, asked(number, line(number)))
    await access.record(SUBJECT, asked(20, EndedNote(at=20, served=18, failed=0, refused=0, unrecorded=0)))
    assert (stream.asked, len(stream.bodies)) == (1, 20)


async def test_with_a_revoked_token_nothing_is_put_on_record() -> None:
    stream = Stream()
    with pytest.raises(KtError) as refused:
        await resolver(stream).record("kt.gw.v1.default.edge.revoked.access", asked(1, STARTED))
    assert (refused.value.code, stream.bodies) == ("forbidden", [])
