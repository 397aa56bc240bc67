"""``kt gateway``: the agents that hold keys and put them into requests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from libs.cli.base import KtGroup, pass_session
from libs.cli.client import HttpClient
from libs.cli.discovery import connect, given_token, home_token, read_json, warn_if_exposed
from libs.cli.documents import print_json
from libs.cli.gateway_log import runs
from libs.cli.progress import Progress
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.cli.terminal import absolute, age, ago, styled
from libs.common.errors import Exit, KtError
from libs.common.names import checked_identity

DEFAULT_NAME: Final = "keeptrusts-proxy"
DEFAULT_URL: Final = "http://localhost:41002"
CONTROL: Final = "/-/keeptrusts/v1"

_NOT_THERE: Final = "Start it with `kt gateway run`, or say where it listens with --gateway-url."
_STATE_STYLES: Final = {"serving": "green", "pending": "yellow", "withdrawn": "red", "yes": "yellow"}


def _identity(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    return None if name is None else checked_identity(name)


name_option = click.option(
    "--name",
    default=DEFAULT_NAME,
    show_default=True,
    callback=_identity,
    help="Name of the gateway.",
)
url_option = click.option(
    "--gateway-url",
    metavar="URL",
    help=f"Where the gateway listens.  [default: from the home, else {DEFAULT_URL}]",
)


@click.group(cls=KtGroup)
def gateway() -> None:
    """Run, reload and watch gateways."""


@gateway.command(
    examples=(
        "kt gateway run --listen 0.0.0.0:41002 --policy-config policy-config.yaml",
        "kt gateway run --policy-config policy-config.yaml --listen 127.0.0.1:0",
        "kt gateway run --policy-config git+https://git.example.com/gateways.git#config.yaml@main --git-token REPO",
    ),
)
@click.option(
    "--policy-config",
    type=click.Path(),
    required=True,
    metavar="FILE|URL",
    help="Targets and policies: a file, or git+https://HOST/REPOSITORY#PATH@REF with a branch, tag or commit. Keys "
    "stand in it as references, never themselves.",
)
@click.option("--git-token", metavar="NAME", help="Git access token to read the repository with (kt git-tokens).")
@click.option("--git-username", metavar="NAME", help="User name sent with it.  [default: x-access-token]")
@click.option(
    "--git-poll",
    "git_poll_seconds",
    type=float,
    metavar="SECONDS",
    help="How often to look for a new commit; 0 for only when told.  [default: 60]",
)
@click.option("--git-allow-http", is_flag=True, help="Read the repository over unencrypted http.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Port 0 picks a free one.  [default: 127.0.0.1:41002]")
@click.option("--name", callback=_identity, help=f"Name of the gateway.  [default: {DEFAULT_NAME}]")
@click.option(
    "--allow-anonymous", is_flag=True, help="Serve requests without a client token. Whoever reaches it may."
)
@click.option("--concurrency", type=click.IntRange(1, 256), metavar="N", help="Worker threads. Default: one per CPU.")
@pass_session
def run(session: Session, /, **settings: Any) -> None:
    """Run a gateway in the foreground, until Ctrl-C.

    Prints `ready URL` when it serves. A system is needed only when the config refers to config variables
    (secret_key_ref: store); with environment variables alone (env) none has to run.
    """
    from libs.cli.gateway_process import Run, run_here  # noqa: PLC0415  a gateway takes long to import

    run_here(session, Run(**settings))


@gateway.command(examples=("kt gateway reload --name keeptrusts-proxy --gateway-url http://localhost:41002",))
@name_option
@url_option
@pass_session
def reload(session: Session, *, name: str, gateway_url: str | None) -> None:
    """Make a gateway read its config anew, from its file or repository.

    It is applied as a whole. One with a mistake is refused, and the gateway goes on with the one it has.
    """
    client = _control(session, name, gateway_url)
    with Progress("reloading"):
        document = client.request("POST", f"{CONTROL}/reload").document or {}
    if session.json:
        print_json(document)
        return
    click.echo(f"{styled('reloaded', 'green')} {document.get('name', name)}")
    _print_targets(document)


@gateway.command(examples=("kt gateway status", "kt gateway status --gateway-url http://gateway-2:41002 -o json"))
@name_option
@url_option
@pass_session
def status(session: Session, *, name: str, gateway_url: str | None) -> None:
    """Show which key each target of a gateway uses.

    Reference, version and since when; never a value.
    """
    document = _control(session, name, gateway_url).get(f"{CONTROL}/status").document
    if session.json:
        print_json(document)
        return
    details = [
        ("GATEWAY", document.get("name")),
        ("CONFIG", f"{document.get('pack', '')} ({str(document.get('config_digest', ''))[:12]})"),
        ("LOADED", ago(document.get("loaded_at"), datetime.now(UTC))),
        ("CLIENTS", str(document.get("client_auth", "")).replace("_", " ")),
    ]
    details += _source_details(document.get("source") or {})
    if document.get("data_plane_connected") is False:
        details.append(("DATA PLANE", "not connected"))
    print_details(details)
    print()
    _print_targets(document)


@gateway.command("check-log", examples=("kt gateway check-log", "kt gateway check-log --name eu-west-1 --last 30"))
@name_option
@click.option(
    "--last", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="The newest N runs."
)
@pass_session
def check_log(session: Session, *, name: str, last: int) -> Exit:
    """Check that no record of a gateway's requests is missing from the audit log.

    A gateway numbers its records from 1 in each run. Every number of a run has to be there, once and in order, and
    the run's end has to say the same totals. Ends with 1 when something is missing. Reads every record of these runs.
    """
    with Progress("reading the audit log"):
        found = list(runs(connect(session), name, last))
    if session.json:
        print_json({"items": [run.as_document() for run in found]})
    elif found:
        titles = ("RUN", "BEGAN", "RECORDS", "SERVED", "FAILED", "REFUSED", "UNRECORDED", "STATE")
        table = Table(*(Column(title, right=title in titles[2:7]) for title in titles))
        for run in found:
            counts = [run.totals[count] for count in ("served", "failed", "refused", "unrecorded")]
            table.print([[run.epoch, absolute(run.began), run.records, *counts, run.problem or run.state]])
    else:
        click.echo(f"No requests through {name} are on record.", err=True)
    return Exit.FAILED if any(run.problem for run in found) else Exit.OK


@gateway.command("list", examples=("kt gateway list",))
@pass_session
def list_(session: Session) -> None:
    """List the gateways of the system, and the versions they use."""
    document = connect(session).get("/v1/gateways").document
    if session.json:
        print_json(document)
        return
    items, now = document.get("items", []), datetime.now(UTC)
    if not items:
        click.echo("No gateway has reported yet. `kt gateway run` starts one.", err=True)
        return
    table = Table(
        Column("GATEWAY"),
        Column("TARGET"),
        Column("REFERENCE"),
        Column("VERSION", right=True),
        Column("SEEN"),
        Column("CONFIG"),
    )
    for item in items:
        seen, config = f"{age(item.get('seen_at'), now)} ago", _config(item)
        targets: list[Mapping[str, Any]] = item.get("targets") or [{}]
        table.print(
            [
                item.get("name"),
                target.get("target", ""),
                _reference(target.get("store"), target.get("reference")),
                target.get("version") or "",
                seen,
                config,
            ]
            for target in targets
        )


def _config(item: Mapping[str, Any]) -> str:
    """The commit it comes from, else the digest of the file."""
    source = item.get("source") or {}
    return f"commit {source['commit'][:12]}" if source else str(item.get("config_digest", ""))[:12]


def _source_details(source: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What is known of the repository that the config comes from."""
    if not source:
        return []
    now, error = datetime.now(UTC), source.get("error") or {}
    details: list[tuple[str, object]] = [
        ("REPOSITORY", source.get("repository")),
        ("PATH", source.get("path")),
        ("REF", source.get("ref") or "HEAD"),
        ("COMMIT", f"{str(source.get('commit', ''))[:12]}, since {ago(source.get('applied_at'), now)}"),
        ("CHECKED", ago(source.get("checked_at"), now)),
    ]
    if error:
        about = f"commit {error['commit'][:12]}: " if error.get("commit") else ""
        told = f"{about}{error.get('detail', '')} {error.get('hint', '')}".rstrip()
        details.append(("NOT APPLIED", f"{told} ({error.get('code')}, {ago(error.get('at'), now)})"))
    return details


def _print_targets(document: Mapping[str, Any]) -> None:
    now = datetime.now(UTC)
    table = Table(
        Column("TARGET"),
        Column("PROVIDER"),
        Column("REFERENCE"),
        Column("VERSION", right=True),
        Column("SINCE"),
        Column("STATE", style=lambda cell: _STATE_STYLES.get(cell.partition(" ")[0], "")),
    )
    table.print(
        [
            target.get("id"),
            target.get("provider", ""),
            _reference((target.get("reference") or {}).get("kind"), (target.get("reference") or {}).get("name")),
            target.get("version") or "",
            f"{age(target.get('since'), now)} ago",
            _state(target),
        ]
        for target in document.get("targets", [])
    )


def _state(target: Mapping[str, Any]) -> str:
    state = str(target.get("state", ""))
    if target.get("reason"):
        state = f"{state} ({target['reason']})"
    return f"{state}, stale" if target.get("stale") else state


def _reference(kind: object, name: object) -> str:
    return f"{kind}: {name}" if kind and name else ""


def _control(session: Session, name: str, given_url: str | None) -> HttpClient:
    """The gateway's control endpoints, with the token of that gateway, else one that was given.

    Never with the admin's, which may do everything: on a shared machine anybody may listen in a gateway's place.
    """
    folder = session.home / "gateways" / name
    url = given_url or read_json(session.home, folder / "gateway.json").get("url") or DEFAULT_URL
    token = home_token(session, url, folder / "control.token") or given_token(session)
    if token is None:
        raise KtError(
            "unauthenticated",
            "No token for this gateway was found; expected one in the home it runs from.",
            "`kt gateway run` makes one. Run kt beside that home, name it with --home, or set KEEPTRUSTS_TOKEN.",
        )
    warn_if_exposed(url)
    return HttpClient(url, token, hint=_NOT_THERE, trace=session.trace)
