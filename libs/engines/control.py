"""``kt down``, ``kt status`` and ``kt reload``: what another process can do with a running installation."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from libs.common.errors import KtError
from libs.engines.home import Home, ProcessState

_STOP_SECONDS: Final = 75.0
_KILL_SECONDS: Final = 5.0
_PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process with its children. ``up_seconds`` since its last start; ``memory_bytes`` is PSS, else RSS."""

    name: str
    pid: int
    up_seconds: float
    restarts: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """A running installation."""

    home: Path
    api_url: str
    nats_url: str
    ready: bool
    processes: tuple[ProcessStatus, ...]

    @property
    def memory_bytes(self) -> int:
        return sum(process.memory_bytes for process in self.processes)


def status(home: Home) -> Status:
    """What runs from ``home``, the supervisor first.

    Raises:
        KtError: ``not_running``.
    """
    supervisor = _running(home)
    state = home.state()
    started = psutil.Process(supervisor).create_time()
    entries = {"supervisor": ProcessState(supervisor, started), **state.processes}
    return Status(
        home=home.path,
        api_url=state.api_url,
        nats_url=state.nats_url,
        ready=state.ready,
        processes=tuple(_process_status(name, entry) for name, entry in entries.items()),
    )


def down(home: Home) -> None:
    """Stop what runs from ``home`` and wait until it is gone; after 75 seconds it is killed.

    Raises:
        KtError: ``not_running``, or ``internal`` when it does not even die when killed.
    """
    supervisor = _running(home)
    for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        with suppress(ProcessLookupError):
            os.kill(supervisor, number)
        deadline = time.monotonic() + seconds
        while home.supervisor() == supervisor and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        if home.supervisor() != supervisor:
            return
    raise KtError("internal", f"The supervisor (process {supervisor}) could not be stopped.")


def reload(home: Home) -> None:
    """Have the api process read its JWT keys anew (SIGHUP). Returns at once; readiness tells what comes of it.

    Raises:
        KtError: ``not_running``, or ``unavailable`` while the api process is started again.
    """
    supervisor = _running(home)
    entry = home.state().processes.get("api")
    try:
        # A process id may have passed to somebody else; a child of this supervisor is its own.
        if entry is not None and psutil.Process(entry.pid).ppid() == supervisor:
            os.kill(entry.pid, signal.SIGHUP)
            return
    except (psutil.Error, ProcessLookupError):
        pass
    raise KtError("unavailable", "The api process is being started again; it reads its keys by that.", "Try again.")


def _running(home: Home) -> int:
    supervisor = home.supervisor()
    if supervisor is None:
        raise KtError("not_running", f"Nothing runs from {home.path}.", "Start it with `kt up`.")
    return supervisor


def _process_status(name: str, entry: ProcessState) -> ProcessStatus:
    memory = 0
    with suppress(psutil.Error):
        process = psutil.Process(entry.pid)
        # The supervisor's children are listed by themselves; those of an engine belong to it.
        family = [process] if name == "supervisor" else [process, *process.children(recursive=True)]
        memory = sum(_memory(member.pid) for member in family)
    return ProcessStatus(name, entry.pid, max(0.0, time.time() - entry.started), entry.restarts, memory)


def _memory(pid: int) -> int:
    """Proportional set size: shared pages are counted once over all processes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
    return 0
