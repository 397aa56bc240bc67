"""Starting the system of a home, here or in the background, while telling how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from libs.cli.admin_token import mint_admin_token
from libs.cli.answers import problem
from libs.cli.documents import print_json_line
from libs.cli.progress import Progress
from libs.cli.running import home_at
from libs.common.errors import CATALOGUE, KtError
from libs.engines.files import PRIVATE_FILE
from libs.engines.home import Home, State
from libs.engines.supervisor import Options
from libs.engines.supervisor import up as run_supervisor

_READY: Final = "ready "
_MADE: Final = "made "
_LOOK_SECONDS: Final = 0.1
_START_SECONDS: Final = 180.0
_ROOT: Final = Path(__file__).resolve().parents[2]


def in_foreground(path: Path, *, as_json: bool) -> None:
    """Run until a signal. ``ready <api-url>`` goes to stdout when it is, everything else to stderr."""
    home = _idle_home(path)
    try:
        asyncio.run(_run(home, as_json=as_json))
    except KtError as error:
        raise _cause(error) from None


def detached(path: Path) -> str:
    """Start it as a process of its own and return the API's address when it is ready.

    Raises:
        KtError: what that process said when it did not get ready, such as ``already_running``.
    """
    home = _idle_home(path)
    log = home.log("up")
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "libs.cli.main", "up", "--output", "json", "--home", str(home.path)],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    with log.open(encoding="utf-8", errors="replace") as said, Progress("", lines=True) as progress:
        return _await_ready(process, said, progress)


def _await_ready(process: subprocess.Popen[bytes], said: TextIO, progress: Progress) -> str:
    """Pass on what it says, until it says that it is ready, or why not."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        for line in _lines(said):
            document = _document(line)
            if document.get("ready"):
                return str(document["api_url"])
            if "code" in document:
                raise problem(int(document["status"]), document)
            tell = progress.note if line.startswith(_MADE) else progress.step
            tell(line)
        if ended:
            break
        time.sleep(_LOOK_SECONDS)
    process.terminate()
    raise KtError("engine_failed", "The system did not get ready.", f"Its log is {said.name}.")


def _idle_home(path: Path) -> Home:
    """Raises: KtError ``already_running``, before anything is said of starting."""
    home = home_at(path)
    home.prepare()
    if home.supervisor() is not None:
        with home.supervised():
            pass
    return home


def _cause(error: KtError) -> KtError:
    """What a service said when it gave up; it stands in the end of its log, which the error quotes."""
    for line in reversed(error.hint.splitlines()):
        said = _document(line)
        if said.get("event") == "service.failed" and said.get("code") in CATALOGUE:
            return KtError(said["code"], str(said.get("detail", "")), str(said.get("hint", "")))
    return error


def _lines(said: TextIO) -> Iterator[str]:
    """The whole lines that were written since the last look."""
    while True:
        start = said.tell()
        line = said.readline()
        if not line.endswith("\n"):
            said.seek(start)
            return
        yield line.rstrip()


def _document(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


async def _run(home: Home, *, as_json: bool) -> None:
    progress = Progress(_opening(home), lines=True)

    def say(line: str) -> None:
        if not line.startswith(_READY):
            progress.note(line)
            return
        progress.end()
        if as_json:
            print_json_line({"ready": True, "api_url": line.removeprefix(_READY)})
        else:
            print(line, flush=True)
        if sys.stdin.isatty():
            progress.note("Ctrl-C stops it; `kt status` in another terminal shows it.")

    options = Options(environment=dict(os.environ), mint_admin_token=mint_admin_token, say=say)
    with progress:
        watching = asyncio.create_task(_watch(home, progress))
        try:
            await run_supervisor(home, options)
            if sys.stdin.isatty():
                progress.note("stopped")
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


async def _watch(home: Home, progress: Progress) -> None:
    seen: set[str] = set()
    while True:
        state = _current(home, os.getpid())
        if state.ready:
            return
        _tell(progress, state, seen)
        await asyncio.sleep(_LOOK_SECONDS)


def _tell(progress: Progress, state: State, seen: set[str]) -> None:
    for name in state.processes:
        if name not in seen:
            seen.add(name)
            progress.step(f"started {name}")


def _current(home: Home, supervisor: int) -> State:
    """The state, unless it is still that of an earlier run."""
    state = home.state()
    return state if state.supervisor == supervisor else State()


def _opening(home: Home) -> str:
    if home.postgres.exists():
        return f"starting the system in {home.path}"
    return f"setting up a new system in {home.path}"
