"""Keeping one process alive."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.engines.process import Command, Process
from libs.engines.supervised import Supervised
from tests.engines import eventually


class Starter:
    """Starts a sleeper, or fails as often as it is told to."""

    def __init__(self, log: Path, script: str = "import time; time.sleep(60)") -> None:
        self._command = Command("child", (sys.executable, "-I", "-S", "-c", script), {}, log)
        self.failures: list[Exception] = []
        self.started: list[int] = []

    async def __call__(self) -> Process:
        if self.failures:
            raise self.failures.pop()
        process = Process.start(self._command)
        self.started.append(process.pid)
        return process


def running_again(child: Supervised, former: int) -> Callable[[], bool]:
    return lambda: child.state is not None and child.state.pid != former


async def test_changes_are_told_when_it_starts_and_when_it_ends(tmp_path: Path) -> None:
    told: list[bool] = []
    child = Supervised("child", Starter(tmp_path / "log"), lambda: told.append(child.state is not None))
    await child.start()
    assert child.process is not None
    child.process.signal(signal.SIGKILL)
    await eventually(lambda: len(told) == 3)
    await child.stop(1.0)
    assert told == [True, False, True, False]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KtError("engine_failed", "Not now.")])
async def test_a_restart_that_fails_is_tried_again(tmp_path: Path, error: Exception) -> None:
    start = Starter(tmp_path / "log")
    child = Supervised("child", start, lambda: None)
    await child.start()
    start.failures = [error, error]
    assert child.process is not None
    former = child.process.pid
    child.process.signal(signal.SIGKILL)
    await eventually(running_again(child, former))
    assert child.restarts == 3
    await child.stop(1.0)


async def test_a_stop_while_it_waits_to_restart_leaves_nothing_running(tmp_path: Path) -> None:
    start = Starter(tmp_path / "log", "pass")
    child = Supervised("child", start, lambda: None)
    await child.start()
    await eventually(lambda: child.restarts >= 1)
    await child.stop(1.0)
    count = len(start.started)
    await asyncio.sleep(0.5)
    assert len(start.started) == count
    assert child.state is None


@pytest.mark.parametrize(("status", "hopeless"), [(0, False), (1, False), (6, False), (2, True), (5, True)])
async def test_a_process_that_blames_its_settings_is_hopeless_at_once(
    tmp_path: Path, status: int, hopeless: bool
) -> None:
    seen: list[bool] = []
    start = Starter(tmp_path / "log", f"raise SystemExit({status})")
    child = Supervised("child", start, lambda: seen.append(child.is_hopeless))
    await child.start()
    await eventually(lambda: len(seen) >= 2)
    await child.stop(1.0)
    assert seen[:2] == [False, hopeless]


async def test_a_process_that_never_stays_is_hopeless_after_five_deaths(tmp_path: Path) -> None:
    child = Supervised("child", Starter(tmp_path / "log", "raise SystemExit(1)"), lambda: None)
    await child.start()
    await eventually(lambda: child.is_hopeless)
    assert child.restarts == 4
    await child.stop(1.0)
