"""A load generator or a stand-in as a process of its own, so that its work does not slow down who measures.

Parent and worker exchange lines of JSON over the worker's standard input and output, one request at a time. What is
secret travels there too, and so never stands in a process listing.
"""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import uvloop

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 60.0
_STOP_S = 5.0
_LINE_LIMIT = 16 * 1024 * 1024

Task = Callable[..., Awaitable[Any]]


class WorkerFailed(Exception):
    """The worker ended, or did not answer in time."""


class Worker:
    """The parent's side. Use as a context manager: the process ends with it."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.workers.{module}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, task: str, **arguments: Any) -> Any:
        """Run one of the worker's tasks and return its result.

        Raises:
            WorkerFailed: it ended, or a minute passed.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"task": task, "arguments": arguments}).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._line(task, time.monotonic() + TIMEOUT_S))

    def _line(self, task: str, deadline: float) -> bytes:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise WorkerFailed(f"the worker {self._module} did not answer in time at `{task}`")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(
                f"the worker {self._module} ended with status {self._process.wait(_STOP_S)} at `{task}`"
            )
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(tasks: Mapping[str, Task]) -> None:
    """The worker's side: run tasks as they are asked for, until standard input ends."""
    uvloop.run(_serve(tasks))


async def _serve(tasks: Mapping[str, Task]) -> None:
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        request = json.loads(line)
        result = await tasks[request["task"]](**request["arguments"])
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
