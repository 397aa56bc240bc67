"""``kt`` as a process of its own: with pipes, or at a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = (sys.executable, "-P", "-m", "libs.cli.main")
BASH = shutil.which("bash") or "bash"
LIMIT_S = 30.0


def environment(**more: str) -> dict[str, str]:
    """That of the tests, without the settings of anybody's system."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("KEEPTRUSTS_")}
    return {**outer, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


def run(
    *words: str, cwd: Path, stdin: bytes | None = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=cwd,
        input=stdin,
        env=environment() if env is None else dict(env),
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def at_terminal(
    *words: str, cwd: Path, typed: Sequence[tuple[bytes, bytes]] = (), env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run at a pseudo-terminal; ``typed`` are pairs of what to wait for and what to type then.

    Returns the exit code and everything that was shown.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve(PROGRAM[0], [*PROGRAM, *words], environment() if env is None else dict(env))  # noqa: S606
    shown, waiting, seen, deadline = b"", list(typed), 0, time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        readable, _, _ = select.select([terminal], [], [], 0.2)
        try:
            part = os.read(terminal, 4096) if readable else b"?"
        except OSError:
            break
        shown += part if readable else b""
        if waiting and waiting[0][0] in shown[seen:]:
            seen = len(shown)
            os.write(terminal, waiting.pop(0)[1])
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()
