"""``kt webhooks``: addresses that are told of events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.confirm import yes_or_no
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.durations import Duration
from libs.cli.requests import idempotency_option, if_match_option, pages, write_headers
from libs.cli.session import Session
from libs.cli.tables import print_details
from libs.cli.terminal import ago, clean, styled
from libs.cli.values import read_value
from libs.cli.webhook_views import DELIVERIES, WEBHOOKS, state, told, told_with_secret
from libs.common.errors import KtError
from libs.common.names import checked_identity

URL: Final = "/v1/webhooks"

webhook_argument = click.argument("webhook", callback=lambda _, __, value: checked_identity(value))
secret_option = click.option(
    "--secret-file",
    type=click.Path(path_type=Path, allow_dash=True, dir_okay=False),
    metavar="PATH",
    help="Read the secret from a file (- for stdin). Default: one is made and shown once.",
)
event_option = click.option(
    "-e",
    "--event",
    "event_types",
    multiple=True,
    metavar="TYPE",
    help="A type or pattern (repeatable).",
)


@click.group(cls=KtGroup)
def webhooks() -> None:
    """Tell addresses of events: signed, retried, on record.

    Deliveries follow Standard Webhooks; docs/how-to/subscribe-to-events.md shows how a receiver verifies them.
    """


@webhooks.command(
    examples=(
        "kt webhooks create https://receiver.example.com/kt -e 'kt.config_variable.*' > receiver.secret",
        "kt webhooks create https://receiver.example.com/kt -e '*' --secret-file receiver.secret",
    ),
)
@click.argument("url")
@event_option
@click.option("-d", "--description", default="", metavar="TEXT", help="What it is for. Not secret.")
@secret_option
@idempotency_option
@pass_session
def create(
    session: Session,
    *,
    url: str,
    event_types: tuple[str, ...],
    description: str,
    secret_file: Path | None,
    idempotency_key: str | None,
) -> None:
    """Tell URL of events. Its secret is printed on stdout, alone and once; it can't be shown again.

    Without --event it is told of every change.
    """
    headers = write_headers(idempotency_key)
    body: dict[str, Any] = {"url": url, "event_types": list(event_types or ("*",)), "description": description}
    answer = connect(session).request("POST", URL, body=_secret(body, secret_file), headers=headers)
    told_with_secret(session, "created", answer, given=secret_file is not None)


@webhooks.command("list", examples=("kt webhooks list", "kt webhooks list -o json | jq -r '.items[].id'"))
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N. Default: all.")
@pass_session
def list_(session: Session, limit: int | None) -> None:
    """List webhooks in the order they were created."""
    WEBHOOKS.show(session, URL, {}, limit)


@webhooks.command()
@webhook_argument
@pass_session
def get(session: Session, webhook: str) -> None:
    """Show one webhook. Its secret stays hidden."""
    answer = connect(session).get(_path(webhook))
    if session.json:
        print_json({**answer.document, "etag": answer.etag})
        return
    found, now = answer.document, datetime.now(UTC)
    details = [
        ("WEBHOOK", found.get("id")),
        ("URL", found.get("url")),
        ("EVENTS", ", ".join(found.get("event_types", []))),
        ("STATE", state(found)),
        ("DESCRIPTION", found.get("description", "")),
        ("CREATED", ago(found.get("created_at"), now)),
        ("CHANGED", ago(found.get("updated_at"), now)),
        ("ETAG", answer.etag),
    ]
    if found.get("overlap_until"):
        details.insert(4, ("OLD SECRET", f"signs as well until {found['overlap_until']}"))
    print_details(details)


@webhooks.command(
    examples=(
        "kt webhooks update 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 --disable",
        "kt webhooks update 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 -e kt.gateway.version_adopted.v1",
    )
)
@webhook_argument
@click.option("--url", metavar="URL", help="Another address.")
@event_option
@click.option("-d", "--description", metavar="TEXT", help="What it is for. Not secret.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether anything is delivered to it.")
@if_match_option
@idempotency_option
@pass_session
def update(
    session: Session,
    *,
    webhook: str,
    url: str | None,
    event_types: tuple[str, ...],
    description: str | None,
    enabled: bool | None,
    if_match: str | None,
    idempotency_key: str | None,
) -> None:
    """Change address, events or description, or switch it off and on. --event replaces the types it had.

    Switched off, what was on its way to it fails, and can be delivered again when it is on.
    """
    given = {"url": url, "event_types": list(event_types) or None, "description": description, "enabled": enabled}
    body = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise KtError(
            "usage", "Nothing to change was given; expected --url, --event, --description, --enable or --disable."
        )
    headers = write_headers(idempotency_key, if_match)
    answer = connect(session).request("PATCH", _path(webhook), body=body, headers=headers)
    told(session, "updated", answer)


@webhooks.command(
    "rotate-secret",
    examples=(
        "kt webhooks rotate-secret 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 > receiver.secret",
        "kt webhooks rotate-secret 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 --overlap 0s   # the old one leaked",
    ),
)
@webhook_argument
@secret_option
@click.option(
    "--overlap",
    type=Duration(zero=True),
    metavar="DURATION",
    help="How long the old one signs as well: 0s to 7d. Default: 24h.",
)
@if_match_option
@idempotency_option
@pass_session
def rotate_secret(
    session: Session,
    *,
    webhook: str,
    secret_file: Path | None,
    overlap: str | None,
    if_match: str | None,
    idempotency_key: str | None,
) -> None:
    """Give a webhook a new secret. It is printed on stdout, alone and once.

    Until the overlap is over each delivery carries two signatures, so the receiver can change over at any time.
    """
    headers = write_headers(idempotency_key, if_match)
    body: dict[str, Any] = {} if overlap is None else {"overlap": overlap}
    path = _path(webhook, "/rotate-secret")
    answer = connect(session).request("POST", path, body=_secret(body, secret_file), headers=headers)
    told_with_secret(session, "rotated", answer, given=secret_file is not None)


@webhooks.command(examples=("kt webhooks delete 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 --yes",))
@webhook_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@if_match_option
@idempotency_option
@pass_session
def delete(session: Session, webhook: str, yes: bool, if_match: str | None, idempotency_key: str | None) -> None:
    """Delete a webhook, and destroy its secrets."""
    headers = write_headers(idempotency_key, if_match)
    if not yes:
        yes_or_no(f"Delete the webhook {webhook} and destroy its secrets?", "--yes deletes it without asking.")
    connect(session).request("DELETE", _path(webhook), headers=headers)
    if session.json:
        print_json({"id": webhook, "deleted": True})
    else:
        click.echo(f"{styled('deleted', 'green')} {webhook}; its secrets are destroyed")


@webhooks.command(examples=("kt webhooks deliveries 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 --status failed",))
@webhook_argument
@click.option("--status", type=click.Choice(["pending", "delivered", "failed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most N.")
@pass_session
def deliveries(session: Session, webhook: str, status: str | None, limit: int) -> None:
    """Show what was delivered, is on its way, or failed; newest first."""
    query = {} if status is None else {"status": status}
    DELIVERIES.show(session, _path(webhook, "/deliveries"), query, limit)


@webhooks.command(
    examples=(
        "kt webhooks redeliver 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 b5c8f1de-02f4-5b3a-8a52-6d4f7f3a9b21",
        "kt webhooks redeliver 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10 --failed",
    )
)
@webhook_argument
@click.argument("delivery", required=False)
@click.option("--failed", is_flag=True, help="All that failed and are still kept.")
@pass_session
def redeliver(session: Session, webhook: str, delivery: str | None, failed: bool) -> None:
    """Deliver an event once more, with the id it had: a receiver that knows it can tell."""
    if (delivery is None) is not failed:
        raise KtError("usage", "Expected either one DELIVERY or --failed.", "`kt webhooks deliveries` lists them.")
    client = connect(session)
    wanted = [checked_identity(delivery)] if delivery is not None else []
    if failed:
        path = _path(webhook, "/deliveries")
        wanted = [d["id"] for page in pages(client, path, {"status": "failed"}, None) for d in page["items"]]
    begun = [
        client.request("POST", _path(webhook, f"/deliveries/{quote(one, safe='')}/redeliver")).document
        for one in wanted
    ]
    if session.json:
        print_json({"items": begun})
    else:
        click.echo(f"{len(begun)} on the way again; `kt webhooks deliveries` shows what comes of it")


@webhooks.command(examples=("kt webhooks test 8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10",))
@webhook_argument
@idempotency_option
@pass_session
def test(session: Session, webhook: str, idempotency_key: str | None) -> None:
    """Deliver an event of type kt.webhook.tested.v1 to this webhook alone."""
    path, headers = _path(webhook, "/test"), write_headers(idempotency_key)
    document = connect(session).request("POST", path, headers=headers).document
    if session.json:
        print_json(document)
    else:
        click.echo(f"delivery {clean(str(document.get('id')))} is on its way")


def _path(webhook: str, action: str = "") -> str:
    return f"{URL}/{quote(webhook, safe='')}{action}"


def _secret(body: dict[str, Any], secret_file: Path | None) -> dict[str, Any]:
    if secret_file is not None:
        body["secret"] = read_value(secret_file, "Webhook secret", option="--secret-file").reveal().decode()
    return body
