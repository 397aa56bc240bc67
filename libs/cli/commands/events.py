"""``kt events``: the audit log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.client import HttpClient
from libs.cli.commands.exports import export, report
from libs.cli.commands.keeping import hold, rebuild, retention
from libs.cli.commands.proofs import checkpoint, keys, prove, repair, verify
from libs.cli.discovery import connect
from libs.cli.documents import json_page, print_json_line
from libs.cli.requests import pages
from libs.cli.session import Session
from libs.cli.tables import Column, Table
from libs.cli.terminal import absolute
from libs.common.errors import KtError

EVENTS: Final = "/v1/events"
FASTEST_SECONDS: Final = 0.25
SLOWEST_SECONDS: Final = 4.0
GIVE_UP_SECONDS: Final = 300.0
_PASSING: Final = frozenset({"unreachable", "unavailable", "overloaded"})

filter_option = click.option(
    "--filter",
    "filter_",
    default="",
    metavar="FILTER",
    help="Only these, such as 'outcome=failure AND time>=2026-11-01'. See `kt events --help`.",
)


@click.group(cls=KtGroup)
def events() -> None:
    """The audit log: who did what to which secret, and what came of it.

    A filter is terms joined by AND: FIELD=VALUE, FIELD!=VALUE, FIELD=PREFIX* and time>=TIME (>, <=, <). The fields
    are action, actor, category, correlation, gateway, outcome, resource, resource_type and type.
    """


@events.command(
    "list",
    examples=(
        "kt events list --filter 'category=secret_management' --limit 50",
        "kt events list --filter 'resource=OPENAI_API_KEY AND action=resolve'",
        "kt events list --limit 1000 -o json | jq -r '.items[].data.actor.id' | sort | uniq -c",
    ),
)
@filter_option
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most N.")
@click.option("--cursor", default="", metavar="CURSOR", help="Go on behind an earlier listing of the same filter.")
@pass_session
def list_(session: Session, filter_: str, limit: int, cursor: str) -> None:
    """List events, newest first. Times are UTC."""
    found = pages(connect(session), EVENTS, {"filter": filter_, "cursor": cursor}, limit)
    if session.json:
        with json_page() as document:
            for page in found:
                document.next_cursor = page["next_cursor"]
                document.add(placed(page))
        return
    table, shown, more = _table(), 0, None
    for page in found:
        table.print(_row(item) for item in placed(page))
        shown, more = shown + len(page["items"]), page["next_cursor"]
    if not shown:
        click.echo("No events match.", err=True)
    elif more:
        click.echo(f"The newest {shown}; older ones: --limit, or --cursor {more}", err=True)


@events.command(examples=("kt events tail --filter 'outcome=failure'", "kt events tail -n 0 -o json"))
@filter_option
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 500),
    default=10,
    show_default=True,
    metavar="N",
    help="Begin with the last N.",
)
@pass_session
def tail(session: Session, filter_: str, lines: int) -> None:
    """Follow the log until Ctrl-C. With JSON, one event a line."""
    table = _table()
    for items in follow(connect(session), filter_, lines):
        if session.json:
            for item in items:
                print_json_line(item)
        else:
            table.print(_row(item) for item in items)
            sys.stdout.flush()


events.add_command(retention)
events.add_command(hold)
events.add_command(rebuild)


def follow(
    client: HttpClient,
    filter_: str,
    lines: int,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[dict[str, Any]]]:
    """Batches of events as they happen, oldest first. Polls more slowly while nothing happens.

    Raises:
        KtError: what the API refused; ``unreachable`` and the like only after it was away for five minutes.
    """
    query = {"filter": filter_, "follow": "true", "limit": str(max(lines, 1))}
    pause, away = FASTEST_SECONDS, 0.0
    while True:
        try:
            page = client.get(EVENTS, query).document
        except KtError as error:
            if error.code not in _PASSING or away >= GIVE_UP_SECONDS or "cursor" not in query:
                raise
            if not away:
                click.echo(f"{error.detail} Trying again for {GIVE_UP_SECONDS / 60:.0f} minutes.", err=True)
            away += pause
            items: list[dict[str, Any]] = []
        else:
            items, away = placed(page), 0.0
            if "cursor" not in query and lines == 0:
                items = []
            query |= {"cursor": page["next_cursor"], "limit": "500"}
        if items:
            pause = FASTEST_SECONDS
            yield items
        sleep(pause)
        pause = min(SLOWEST_SECONDS, pause * 1.5)


def placed(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events of a page, each with its ``stream`` and ``sequence``."""
    return [{**place, **event} for event, place in zip(page["items"], page["positions"], strict=True)]


def _table() -> Table:
    return Table(
        Column("TIME"),
        Column("ACTION"),
        Column("OUTCOME", style=lambda cell: "red" if cell.startswith("failure") else ""),
        Column("RESOURCE"),
        Column("VERSION", right=True),
        Column("ACTOR"),
        Column("POSITION", style=lambda _: "dim", optional=True),
    )


def _row(item: Mapping[str, Any]) -> Sequence[object]:
    data = item.get("data", {})
    outcome, resource, actor = data.get("outcome", {}), data.get("resource", {}), data.get("actor", {})
    result = str(outcome.get("result", ""))
    if outcome.get("reason"):
        result = f"{result} ({outcome['reason']})"
    return [
        absolute(item.get("time")),
        data.get("action", ""),
        result,
        _named(resource),
        resource.get("version") or _adopted(data),
        _named(actor),
        f"{item.get('stream', '')}:{item.get('sequence', '')}",
    ]


def _adopted(data: Mapping[str, Any]) -> object:
    """The version of a key that a gateway took up, when the event is about one target."""
    targets = data.get("detail", {}).get("targets") or []
    return targets[0].get("version", "") if data.get("action") == "adopt" and len(targets) == 1 else ""


def _named(thing: Mapping[str, Any]) -> str:
    return f"{thing.get('type', '')}/{thing.get('id', '')}"


for _command in (export, report, keys, checkpoint, prove, verify, repair):
    events.add_command(_command)
