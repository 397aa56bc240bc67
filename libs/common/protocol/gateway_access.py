"""What a gateway asks to be put on record of the requests that went through it.

Org and gateway are what the subject says, and the server lets no other identity publish there. Everything else is the
gateway's own word.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from libs.common.messaging.rpc import Endpoint, Message

MAX_RECORDS = 1000
"""Records in one message: with the longest names some 250 KB, and half of what an atomic batch holds."""

MAX_ADDRESSES = 10

Failure = Literal[
    "provider_unauthorized",
    "provider_forbidden",
    "rate_limited",
    "provider_error",
    "provider_unreachable",
    "provider_timeout",
    "stream_broken",
    "credential_unavailable",
    "client_disconnected",
    "unknown_target",
    "method_not_allowed",
    "credential_in_url",
    "body_too_large",
    "other",
]
Refusal = Literal["unauthenticated", "forbidden", "malformed", "control_refused"]
Loss = Literal["queue_full", "proxy_queue_full", "proxy_lost", "transit_lost"]
Recording = Literal["all", "failures"]

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Text = Annotated[str, Field(max_length=128)]
Epoch = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class RequestLine(NamedTuple):
    """One request, as an array: thousands a second travel. Times in microseconds, ``started`` since 1970.

    ``failure`` is empty for a request that was served.
    """

    started: Count
    client: Text
    client_token: Text
    target: Text
    store: Literal["store", "env", ""]
    reference: Text
    version: Count
    earliest_version: Count
    status: Annotated[int, Field(ge=0, le=999)]
    latency: Count
    request_bytes: Count
    response_bytes: Count
    failure: Failure | Literal[""]


class StartedNote(Message):
    kind: Literal["started"] = "started"
    at: Count
    recording: Recording
    previous_epoch: Epoch | Literal[""]
    previous_ended: bool


class EndedNote(Message):
    kind: Literal["ended"] = "ended"
    at: Count
    served: Count
    failed: Count
    refused: Count
    unrecorded: Count


class RefusedNote(Message):
    """Refused requests of one reason; ``addresses`` with how many came from each, ``elsewhere`` from all others."""

    kind: Literal["refused"] = "refused"
    reason: Refusal
    count: Count
    first_at: Count
    last_at: Count
    addresses: list[tuple[Text, Count]] = Field(max_length=MAX_ADDRESSES)
    elsewhere: Count


class UnrecordedNote(Message):
    kind: Literal["unrecorded"] = "unrecorded"
    reason: Loss
    count: Count
    exact: bool
    first_at: Count
    last_at: Count


Note = Annotated[StartedNote | EndedNote | RefusedNote | UnrecordedNote, Field(discriminator="kind")]


class RecordAccess(Message):
    """Records ``first`` and following of an epoch: the requests in their order, and each note at its place among
    them, counted from 0. What is on record already may be sent again."""

    epoch: Epoch
    first: Annotated[int, Field(ge=1, le=2**53 - 1)]
    requests: list[RequestLine] = Field(max_length=MAX_RECORDS)
    notes: list[tuple[Count, Note]] = Field(max_length=MAX_RECORDS)


class AccessRecorded(Message):
    """Everything of the epoch up to ``recorded`` is on record."""

    recorded: int


GATEWAY_ACCESS = Endpoint(
    "kt.gw.v1.*.*.*.access", "resolver", RecordAccess, AccessRecorded, "Put a gateway's requests on record"
)
