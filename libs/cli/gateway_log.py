"""Whether the records of a gateway's requests are whole: every number of each run, and the totals they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from libs.cli.client import HttpClient
from libs.cli.requests import pages

EVENTS: Final = "/v1/events"
STARTED: Final = "kt.gateway.access_log_started.v1"
ENDED: Final = "kt.gateway.access_log_ended.v1"

_SERVED: Final = "kt.gateway.request_served.v1"
_FAILED: Final = "kt.gateway.request_failed.v1"
_COUNTED: Final[Mapping[str, str]] = {
    "kt.gateway.requests_refused.v1": "refused",
    "kt.gateway.requests_unrecorded.v1": "unrecorded",
}
_TOTALS: Final = ("served", "failed", "refused", "unrecorded")

WHOLE: Final = "whole"
RUNNING: Final = "running"
NO_END: Final = "no end"
NOTHING: Final = "nothing on record"


@dataclass(slots=True)
class Run:
    """One run of a gateway's access log. ``problem`` is empty when its records are whole.

    ``no end``: the gateway was killed, or could not reach the system when it stopped; its last records, if there were
    any, are not on record. That is told by the gateway itself in its next run, and is no gap.
    """

    epoch: str
    began: str = ""
    records: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    state: str = NOTHING
    problem: str = ""

    def as_document(self) -> dict[str, Any]:
        counts = {name: self.totals[name] for name in _TOTALS}
        shown = {"epoch": self.epoch, "began": self.began or None, "records": self.records, **counts}
        return {**shown, "state": self.state, "problem": self.problem or None}


def runs(client: HttpClient, gateway: str, limit: int) -> Iterator[Run]:
    """The newest runs, newest first, each checked record by record. A run that a later one names and of which nothing
    is on record is among them."""
    expected, newest = "", True
    for page in pages(client, EVENTS, {"filter": f"gateway={gateway} AND type={STARTED}"}, limit):
        for event in page["items"]:
            detail = event["data"]["detail"]
            if expected and expected != detail["epoch"]:
                yield Run(expected, problem="the run after it names it, and it is not in the log")
            yield check(detail["epoch"], _records(client, detail["epoch"]), newest=newest)
            expected, newest = detail["previous_epoch"], False


def _records(client: HttpClient, epoch: str) -> Iterator[Mapping[str, Any]]:
    for page in pages(client, EVENTS, {"filter": f"correlation={epoch}"}, None):
        yield from page["items"]


def check(epoch: str, newest_first: Iterable[Mapping[str, Any]], *, newest: bool) -> Run:
    """``newest``: no later run is on record, so that this one may go on."""
    run = Run(epoch)
    ended: Mapping[str, Any] | None = None
    following = 0
    for event in newest_first:
        detail, number = event["data"]["detail"], event["data"]["detail"]["sequence"]
        run.records += 1
        if following and number != following - 1 and not run.problem:
            run.problem = _gap(number, following)
        following = number
        if event["type"] == ENDED and run.records == 1:
            ended = detail
        _count(run.totals, event["type"], detail)
        run.began = event["time"]
    if not run.records:
        run.problem = "none of its records is in the log"
        return run
    if following != 1 and not run.problem:
        run.problem = _gap(0, following)
    run.state = WHOLE if ended is not None else RUNNING if newest else NO_END
    if ended is not None and not run.problem:
        run.problem = _difference(run.totals, ended)
    return run


def _count(totals: Counter[str], type_: str, detail: Mapping[str, Any]) -> None:
    if type_ == _SERVED:
        totals["served"] += 1
    elif type_ == _FAILED:
        totals["failed"] += 1
    elif type_ in _COUNTED:
        totals[_COUNTED[type_]] += detail["count"]


def _gap(before: int, after: int) -> str:
    if before >= after:
        return f"record {before:,} stands before record {after:,}"
    first, last = before + 1, after - 1
    return f"record {first:,} is missing" if first == last else f"records {first:,} to {last:,} are missing"


def _difference(totals: Counter[str], ended: Mapping[str, Any]) -> str:
    wrong = [
        f"{ended[name]:,} {name} and {totals[name]:,} on record" for name in _TOTALS if ended[name] != totals[name]
    ]
    return f"its end says {', '.join(wrong)}" if wrong else ""
