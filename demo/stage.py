"""What the story needs around it: a home, `kt`, HTTP calls, and a voice."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0


class Surprise(Exception):
    """The system did something else than the story says."""


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Surprise(what)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


def call(method: str, url: str, token: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One HTTP request on loopback, as curl would send it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})}
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, None if body is None else json.dumps(body), sent)
        reply = connection.getresponse()
        raw = reply.read()
        return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, json.loads(raw) if raw else None)
    finally:
        connection.close()


def eventually(condition: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise Surprise(f"within {within_s:g} s: {what}")
        time.sleep(0.02)


@dataclass(slots=True)
class Stage:
    """A home of its own, and everything that was started in it; :meth:`close` stops all of it."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("KEEPTRUSTS_")}
        own = {"KEEPTRUSTS_HOME": str(self.home), "KEEPTRUSTS_API_PORT": "0", "NO_COLOR": "1"}
        return {**inherited, **own, **self.settings}

    def kt(self, *words: str, stdin: str | None = None, code: int = 0) -> str:
        """Run a ``kt`` command to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "libs.cli.main", *words],
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        expect(done.returncode == code, f"`kt {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start(self, *words: str, until: str) -> str:
        """Start a ``kt`` command that stays, and return the line that begins with ``until``."""
        log = (self.home.parent / f"{words[0]}-{len(self.processes)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "libs.cli.main", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return _line(process, until, " ".join(words), Path(log.name))

    def close(self) -> None:
        while self.processes:
            process = self.processes.pop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _line(process: subprocess.Popen[str], until: str, words: str, log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    if process.stdout is None:
        raise Surprise(f"`kt {words}` has no output")
    output, said = process.stdout.fileno(), b""
    while time.monotonic() < deadline:
        readable, _, _ = select.select([output], [], [], 0.2)
        # Past Python's own buffer: a line that lies in there is nothing that select would tell of.
        chunk = os.read(output, 65536) if readable else b""
        *lines, said = (said + chunk).split(b"\n")
        for line in lines:
            if line.decode().startswith(until):
                return line.decode().strip()
        if not chunk and process.poll() is not None:
            break
    raise Surprise(f"`kt {words}` did not say `{until}`:\n{log.read_text()[-2000:]}")
