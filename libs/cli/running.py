"""What runs: the processes of a home, or the API elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from libs.cli.client import HttpClient
from libs.cli.discovery import find_url
from libs.cli.documents import print_json
from libs.cli.progress import Progress
from libs.cli.session import Session
from libs.cli.tables import Column, Table, print_details
from libs.common.errors import Exit, KtError
from libs.engines import control
from libs.engines.home import Home

_MIB: Final = 1024 * 1024
_READINESS_SECONDS: Final = 3.0


def home_at(path: Path) -> Home:
    """The home as the engines know it."""
    return Home(path.expanduser().absolute())


def stop(path: Path) -> None:
    """Stop what runs from a home.

    Raises:
        KtError: ``not_running``.
    """
    with Progress("stopping"):
        control.down(home_at(path))


def show_home(session: Session) -> int:
    """Print the processes of the home; the exit code tells whether all is ready."""
    found = control.status(home_at(session.home))
    readiness = _readiness(found, session)
    if session.json:
        print_json({**_document(found), "signing_keys": readiness.get("signing_keys")})
    else:
        _show(found, readiness)
    return Exit.OK if found.ready else Exit.UNREACHABLE


def show_remote(session: Session) -> int:
    """Print what an API says of its readiness; the exit code tells whether it is ready."""
    url = find_url(session)
    try:
        answer = HttpClient(url, None, attempts=1, trace=session.trace).get("/readyz")
    except KtError as error:
        if error.code != "unavailable":
            raise
        found, ready = dict(error.extra), False
    else:
        found, ready = answer.document or {}, True
    if session.json:
        print_json({"api_url": url, "ready": ready, **found})
    else:
        print_details([("STATE", _state(ready=ready)), ("API", url), *_parts(found), *_keys(found)])
    return Exit.OK if ready else Exit.UNREACHABLE


def _parts(found: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Each service behind the door, as readiness names them."""
    services = found.get("services")
    if not isinstance(services, dict):
        return []
    return [(str(name).upper(), _state(ready=bool(ready))) for name, ready in services.items()]


def _keys(found: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The keys of access tokens, and why a change of them was refused."""
    keys = found.get("signing_keys")
    if not isinstance(keys, dict):
        return []
    rows: list[tuple[str, object]] = [("JWT KEYS", signing_keys_line(keys))]
    if isinstance(keys.get("refused"), dict):
        rows.append(("REFUSED", keys["refused"].get("detail", "")))
    return rows


def signing_keys_line(keys: Mapping[str, Any]) -> str:
    """``2026a, 2026b (signs)``"""
    kids = [str(kid) for kid in keys.get("kids", [])]
    return ", ".join(f"{kid} (signs)" if kid == keys.get("current") else kid for kid in kids)


def _readiness(found: control.Status, session: Session) -> Mapping[str, Any]:
    """What the API of a home says of itself; empty when it does not answer at once."""
    try:
        client = HttpClient(found.api_url, None, timeout=_READINESS_SECONDS, attempts=1, trace=session.trace)
        document = client.get("/readyz").document
    except KtError as error:
        document = error.extra
    return document if isinstance(document, dict) else {}


def _show(found: control.Status, readiness: Mapping[str, Any]) -> None:
    print_details(
        [
            ("STATE", _state(ready=found.ready)),
            ("API", found.api_url),
            ("HOME", found.home),
            ("MEMORY", _mebibytes(found.memory_bytes)),
            *_keys(readiness),
        ]
    )
    print()
    table = Table(
        Column("PROCESS"),
        Column("PID", right=True),
        Column("UP", right=True),
        Column("RESTARTS", right=True, style=lambda cell: "" if cell == "0" else "yellow"),
        Column("MEMORY", right=True),
    )
    table.print(
        [p.name, p.pid, _since(p.up_seconds), p.restarts, _mebibytes(p.memory_bytes)] for p in found.processes
    )


def _since(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _mebibytes(size: int) -> str:
    return f"{size // _MIB} MiB"


def _state(*, ready: bool) -> str:
    return "ready" if ready else "not ready"


def _document(found: control.Status) -> dict[str, Any]:
    return {
        "ready": found.ready,
        "home": str(found.home),
        "api_url": found.api_url,
        "nats_url": found.nats_url,
        "memory_bytes": found.memory_bytes,
        "processes": [
            {
                "name": process.name,
                "pid": process.pid,
                "up_seconds": round(process.up_seconds, 1),
                "restarts": process.restarts,
                "memory_bytes": process.memory_bytes,
            }
            for process in found.processes
        ],
    }
