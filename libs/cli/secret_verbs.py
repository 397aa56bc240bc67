"""What the commands on every kind of secret do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from libs.cli.answers import Answer
from libs.cli.confirm import confirm_deletion, confirm_destruction
from libs.cli.discovery import connect
from libs.cli.documents import json_page, print_json
from libs.cli.requests import SecretResource, pages, write_headers
from libs.cli.session import Session
from libs.cli.tables import Column, Table
from libs.cli.terminal import absolute, age, clean, styled
from libs.cli.values import read_value
from libs.common.errors import KtError

Headers = Mapping[str, str]
Row = Callable[[Mapping[str, Any], datetime], list[object]]

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")


def use_rotate(ctx: click.Context, _: click.Parameter, value: object) -> None:
    """Callback of hidden options of `update` that would take a value."""
    if value is not None:
        rotate_path = f"{ctx.parent.command_path} rotate" if ctx.parent else "rotate"
        raise KtError("usage", f"`{ctx.command_path}` does not change the value.", f"Use `{rotate_path} NAME`.")


def create(
    session: Session,
    resource: SecretResource,
    body: Mapping[str, Any],
    value_file: Path | None,
    idempotency_key: str | None,
) -> Answer:
    headers = write_headers(idempotency_key)
    value = read_value(value_file, f"Value of {body['name']}")
    sent = {**body, "value": value.reveal().decode()}
    return connect(session).request("POST", resource.url, body=sent, headers=headers)


def rotate(
    session: Session, resource: SecretResource, name: str, value_file: Path | None, headers: Headers
) -> Answer:
    value = read_value(value_file, f"New value of {name}")
    body = {"value": value.reveal().decode()}
    return connect(session).request("POST", resource.path(name, "/rotate"), body=body, headers=headers)


def roll_back(session: Session, resource: SecretResource, name: str, version: int, headers: Headers) -> Answer:
    path = resource.path(name, "/rollback")
    return connect(session).request("POST", path, body={"version": version}, headers=headers)


def delete(session: Session, resource: SecretResource, name: str, headers: Headers, *, yes: bool) -> None:
    client = connect(session)
    if not yes:
        confirm_deletion(client, resource, name)
    client.request("DELETE", resource.path(name), headers=headers)
    if session.json:
        print_json({"name": name, "deleted": True})
    else:
        click.echo(f"{styled('deleted', 'green')} {name}; its values are destroyed")


def destroy(
    session: Session, resource: SecretResource, name: str, version: int, headers: Headers, *, yes: bool
) -> None:
    client = connect(session)
    if not yes:
        confirm_destruction(client, resource, name, version)
    client.request("DELETE", resource.path(name, f"/versions/{version}"), headers=headers)
    if session.json:
        print_json({"name": name, "version": version, "destroyed": True})
    else:
        click.echo(f"{styled('destroyed', 'green')} the value of {name} version {version}")


def list_all(
    session: Session, resource: SecretResource, table: Table, row: Row, *, query: Mapping[str, str], limit: int | None
) -> None:
    found = pages(connect(session), resource.url, query, limit)
    if session.json:
        with json_page() as document:
            for page in found:
                document.next_cursor = page["next_cursor"]
                document.add(page["items"])
        return
    now, shown, more = datetime.now(UTC), 0, None
    for page in found:
        table.print([row(item, now) for item in page["items"]])
        shown, more = shown + len(page["items"]), page["next_cursor"]
    if not shown:
        nothing = f"No {resource.noun} here. `{resource.command} create NAME` stores one."
        click.echo(f"No {resource.noun} is like this." if any(query.values()) else nothing, err=True)
    elif more:
        click.echo(f"The first {shown}; there are more.", err=True)


def history(session: Session, resource: SecretResource, name: str) -> None:
    document = connect(session).get(resource.path(name, "/history")).document
    if session.json:
        print_json(document)
        return
    table = Table(
        Column("VERSION", right=True),
        Column("TIME"),
        Column("AGE", right=True),
        Column("ACTION"),
        Column("VALUE", style=lambda cell: "yellow" if cell == "destroyed" else ""),
        Column("ACTOR"),
    )
    now = datetime.now(UTC)
    table.print([_history_row(entry, now) for entry in document.get("items", [])])


def _history_row(entry: Mapping[str, Any], now: datetime) -> list[object]:
    action = str(entry.get("action", ""))
    if entry.get("from_version"):
        action = f"{action} (value of {entry['from_version']})"
    time, actor = entry.get("time"), entry.get("actor") or {}
    who = f"{actor.get('type', '')}/{actor.get('id', '')}"
    return [entry.get("version"), absolute(time), age(time, now), action, entry.get("value_state") or "", who]


def told(session: Session, what: str, answer: Answer, remark: str = "") -> None:
    """Tell of a change: its new version, or all of it as JSON."""
    if session.json:
        print_json(with_etag(answer))
        return
    found = answer.document
    told_version = f"version {found.get('version')}" + (f", {remark}" if remark else "")
    before = " (carried out before, with the same key)" if answer.replayed else ""
    click.echo(f"{styled(what, 'green')} {clean(str(found.get('name')))}  {told_version}{before}")


def with_etag(answer: Answer) -> dict[str, Any]:
    return {**answer.document, "etag": answer.etag}
