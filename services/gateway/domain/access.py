"""What a gateway puts on record of the requests that go through it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from services.gateway.domain.exchange import Refusal


class Recording(StrEnum):
    """``all`` as ``log_all_access: true`` asks for, otherwise failures alone."""

    ALL = "all"
    FAILURES = "failures"


class RequestRecord(NamedTuple):
    """In the order of ``libs.common.protocol.gateway_access.RequestLine``: thousands a second are made."""

    started: int
    client: str
    client_token: str
    target: str
    store: str
    reference: str
    version: int
    earliest_version: int
    status: int
    latency: int
    request_bytes: int
    response_bytes: int
    failure: str


class Loss(StrEnum):
    """Where requests were lost that are not on record. Wire names."""

    QUEUE_FULL = "queue_full"
    PROXY_QUEUE_FULL = "proxy_queue_full"
    PROXY_LOST = "proxy_lost"
    TRANSIT_LOST = "transit_lost"


@dataclass(frozen=True, slots=True)
class Started:
    at: int
    recording: Recording
    previous_epoch: str
    previous_ended: bool


@dataclass(frozen=True, slots=True)
class Ended:
    at: int
    served: int
    failed: int
    refused: int
    unrecorded: int


@dataclass(frozen=True, slots=True)
class RefusedRequests:
    reason: Refusal
    count: int
    first_at: int
    last_at: int
    addresses: tuple[tuple[str, int], ...]
    elsewhere: int


@dataclass(frozen=True, slots=True)
class UnrecordedRequests:
    """``exact`` is False where ``count`` is the least it can be."""

    reason: Loss
    count: int
    exact: bool
    first_at: int
    last_at: int


Note = Started | Ended | RefusedRequests | UnrecordedRequests
Record = RequestRecord | Note


@dataclass(frozen=True, slots=True)
class Epoch:
    """One run of the numbering. ``ended`` says that its last record is on record."""

    id: str
    ended: bool = False


@dataclass(frozen=True, slots=True)
class AccessLogStatus:
    """``recorded`` counts the records of this epoch that the system has confirmed, ``waiting`` those on their way.

    ``recording`` is None where there is no system to record in.
    """

    recording: Recording | None
    epoch: str = ""
    recorded: int = 0
    waiting: int = 0
    served: int = 0
    failed: int = 0
    refused: int = 0
    unrecorded: int = 0

    def as_document(self) -> dict[str, object]:
        if self.recording is None:
            return {"recording": "nothing", "reason": "no system to record in"}
        return {
            "recording": str(self.recording),
            "epoch": self.epoch,
            "recorded": self.recorded,
            "waiting": self.waiting,
            "served": self.served,
            "failed": self.failed,
            "refused": self.refused,
            "unrecorded": self.unrecorded,
        }
