"""How webhooks and deliveries are shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from libs.cli.answers import Answer
from libs.cli.discovery import connect
from libs.cli.documents import json_page, print_json
from libs.cli.requests import pages
from libs.cli.session import Session
from libs.cli.tables import Column, Table
from libs.cli.terminal import absolute, age, clean, styled

_STATUS_STYLES: Final[Mapping[str, str]] = {"delivered": "green", "failed": "red", "pending": "yellow"}


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: its columns, a row for an item, and what is said of an empty one."""

    columns: Sequence[Column]
    row: Callable[[Mapping[str, Any], datetime], list[object]]
    nothing: str

    def show(self, session: Session, path: str, query: Mapping[str, str], limit: int | None) -> None:
        found = pages(connect(session), path, query, limit)
        if session.json:
            with json_page() as document:
                for page in found:
                    document.next_cursor = page["next_cursor"]
                    document.add(page["items"])
            return
        table, now, shown, more = Table(*self.columns), datetime.now(UTC), 0, None
        for page in found:
            table.print([self.row(item, now) for item in page["items"]])
            shown, more = shown + len(page["items"]), page["next_cursor"]
        if not shown:
            click.echo(self.nothing, err=True)
        elif more:
            click.echo(f"The first {shown}; there are more.", err=True)


def told(session: Session, what: str, answer: Answer, *, err: bool = False) -> None:
    """Tell of a change, on stderr where stdout is for something else."""
    if session.json:
        print_json({**answer.document, "etag": answer.etag})
        return
    before = " (carried out before, with the same key)" if answer.replayed else ""
    found, stream = answer.document, sys.stderr if err else sys.stdout
    about = f"{clean(str(found.get('id')))}  {clean(str(found.get('url')))}, {state(found)}{before}"
    click.echo(f"{styled(what, 'green', stream)} {about}", err=err)


def told_with_secret(session: Session, what: str, answer: Answer, *, given: bool) -> None:
    """Tell of a change, and print the secret that was made, alone, on stdout."""
    told(session, what, answer, err=True)
    secret = answer.document.get("secret")
    if session.json or given:
        return
    if secret:
        click.echo(str(secret))
    else:
        hint = "The secret was shown when this was carried out, and can't be shown again."
        click.echo(f"{hint} `kt webhooks rotate-secret` makes another.", err=True)


def state(found: Mapping[str, Any]) -> str:
    if found.get("enabled"):
        return "enabled"
    reason = found.get("disabled_reason")
    return f"disabled ({reason})" if reason else "disabled"


def _row(item: Mapping[str, Any], _: datetime) -> list[object]:
    types = ", ".join(item.get("event_types", []))
    return [item.get("id"), state(item), item.get("url"), types, item.get("description", "")]


def _delivery_row(item: Mapping[str, Any], now: datetime) -> list[object]:
    following = item.get("next_attempt_at")
    return [
        item.get("id"),
        item.get("event_type"),
        item.get("status"),
        item.get("attempts"),
        f"{item.get('answered') or ''} {item.get('reason') or ''}".strip(),
        age(item.get("created_at"), now),
        absolute(following) if following else "",
    ]


WEBHOOKS: Final = Listing(
    (Column("WEBHOOK"), Column("STATE"), Column("URL"), Column("EVENTS"), Column("DESCRIPTION")),
    _row,
    "No webhooks here. `kt webhooks create URL` makes one.",
)
DELIVERIES: Final = Listing(
    (
        Column("DELIVERY"),
        Column("EVENT"),
        Column("STATUS", style=lambda cell: _STATUS_STYLES.get(cell, "")),
        Column("ATTEMPTS", right=True),
        Column("ANSWER"),
        Column("AGE", right=True),
        Column("NEXT ATTEMPT"),
    ),
    _delivery_row,
    "No deliveries here.",
)
