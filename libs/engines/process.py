"""Child processes: in a session of their own, logging to a file, ending with their parent, stopped in bounds."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from libs.common.errors import KtError
from libs.engines.files import PRIVATE_FILE

SAME_USER: Final = "same"
_LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
_POLL_SECONDS: Final = 0.01
_EXIT_POLL_SECONDS: Final = 0.1
_TAIL_BYTES: Final = 8192
_LOCK_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the whole environment, where output goes, which signal asks it to stop."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    identity: str = SAME_USER
    """An identity in the words of :mod:`libs.engines.launcher`."""


class Process:
    """One running child. Start it from the main thread: the kernel ties its life to the thread that started it."""

    def __init__(self, command: Command, popen: subprocess.Popen[bytes]) -> None:
        self.command = command
        self.started = time.time()
        self._popen = popen

    @classmethod
    def start(cls, command: Command, *, lock: int | None = None) -> Self:
        descriptor = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        inherited = () if lock is None else (lock,)
        try:
            popen = subprocess.Popen(
                launched(command),
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                pass_fds=inherited,
            )
        except OSError as error:
            raise KtError("engine_failed", f"{command.name} can't be started: {error.strerror}.") from None
        finally:
            os.close(descriptor)
        return cls(command, popen)

    @classmethod
    async def start_alone(cls, command: Command, lock: Path) -> Self:
        """Start ``command`` when nothing of an earlier start lives any more.

        The process and its children inherit the lock, so it is free exactly when all of them are gone, also after a
        crash of the supervisor.

        Raises:
            KtError: ``engine_failed`` when something of it still lives after 15 seconds.
        """
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            await _lock(descriptor, command.name)
            return cls.start(command, lock=descriptor)
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """As of subprocess: negative for a signal; None while it runs."""
        return self._popen.poll()

    async def exited(self, within: float | None = None) -> bool:
        """Wait until it ends; False when ``within`` seconds pass first."""
        if self.exit_status is not None:
            return True
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return await self._polled_exit(within)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(descriptor, _settle, ended)
        try:
            await asyncio.wait_for(ended, within)
        except TimeoutError:
            return self.exit_status is not None
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._popen.wait()
        return True

    async def _polled_exit(self, within: float | None) -> bool:
        """For kernels without pidfd_open(2)."""
        deadline = None if within is None else time.monotonic() + within
        while self.exit_status is None:
            if deadline is not None and time.monotonic() > deadline:
                return False
            await asyncio.sleep(_EXIT_POLL_SECONDS)
        return True

    async def stop(self, grace: float = 10.0) -> None:
        """Ask it to stop; after ``grace`` seconds kill it and all of its session's process group."""
        self.signal(self.command.stop_signal)
        if await self.exited(grace):
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        await self.exited(grace)

    def signal(self, number: signal.Signals) -> None:
        if self.exit_status is None:
            self._popen.send_signal(number)

    async def until(self, ready: Callable[[], bool], within: float) -> None:
        """Wait until ``ready``.

        Raises:
            KtError: ``engine_failed`` with the last lines of the log, when it ends or ``within`` seconds pass first.
        """
        deadline = time.monotonic() + within
        while not ready():
            if self.exit_status is not None:
                raise self._failure(f"ended with status {self.exit_status} while starting")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {within:.0f} seconds")
            await asyncio.sleep(_POLL_SECONDS)

    def _failure(self, what: str) -> KtError:
        return KtError(
            "engine_failed",
            f"{self.command.name} {what}.",
            f"Last lines of {self.command.log}:\n{log_tail(self.command.log)}",
        )


async def _lock(descriptor: int, name: str) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > deadline:
            raise KtError(
                "engine_failed",
                f"An earlier {name} of this home is still running after {_LOCK_SECONDS:.0f} seconds.",
                f"Look for it (`ps -ef | grep {name}`), stop it, and start again.",
            )
        await asyncio.sleep(_POLL_SECONDS)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def launched(command: Command) -> list[str]:
    """The command line that starts ``command`` through the launcher."""
    launcher = [sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid()), str(int(command.stop_signal))]
    return [*launcher, command.identity, *command.argv]


def log_tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
