"""Child processes under the launcher."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.engines.process import Command, Process, log_tail
from tests.engines import eventually


def python(tmp_path: Path, script: str) -> Command:
    return Command("child", (sys.executable, "-I", "-c", script), {}, tmp_path / "child.log")


async def ended(process: Process) -> int | None:
    assert await process.exited(30.0)
    return process.exit_status


async def test_a_child_that_does_not_want_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "time.sleep(60)"
    )
    process = Process.start(python(tmp_path, script))
    await eventually(lambda: log_tail(tmp_path / "child.log").strip().isdigit())
    grandchild = int(log_tail(tmp_path / "child.log"))
    await process.stop(0.2)
    assert process.exit_status == -signal.SIGKILL
    await eventually(lambda: not Path(f"/proc/{grandchild}/exe").exists())


async def test_a_child_writes_private_files_and_leaves_no_core(tmp_path: Path) -> None:
    script = (
        "import os, resource; umask = os.umask(0); os.umask(umask)\n"
        "print(umask, resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert await ended(Process.start(python(tmp_path, script))) == 0
    assert log_tail(tmp_path / "child.log") == "63 (0, 0)"
    assert (tmp_path / "child.log").stat().st_mode & 0o777 == 0o600


async def test_a_child_sees_only_the_environment_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_FOR_IT", "1")
    assert await ended(Process.start(python(tmp_path, "import os; print('NOT_FOR_IT' in os.environ)"))) == 0
    assert log_tail(tmp_path / "child.log") == "False"


async def test_an_end_before_readiness_is_told_with_the_last_lines(tmp_path: Path) -> None:
    process = Process.start(python(tmp_path, "print('first'); print('the reason'); raise SystemExit(3)"))
    with pytest.raises(KtError, match="ended with status 3") as failed:
        await process.until(lambda: False, within=30.0)
    assert "the reason" in failed.value.hint


async def test_waiting_for_readiness_is_bounded(tmp_path: Path) -> None:
    process = Process.start(python(tmp_path, "import time; time.sleep(60)"))
    try:
        with pytest.raises(KtError, match="was not ready after 0 seconds"):
            await process.until(lambda: False, within=0.1)
        assert not await process.exited(0.05)
    finally:
        await process.stop(1.0)


async def test_an_end_is_noticed_without_pidfd_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_here(_: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", not_here)
    process = Process.start(python(tmp_path, "import time; time.sleep(60)"))
    assert not await process.exited(0.05)
    waiting = asyncio.create_task(process.exited(30.0))
    process.signal(signal.SIGKILL)
    assert await waiting
    assert process.exit_status == -signal.SIGKILL


async def test_a_program_that_is_not_there_is_an_end_with_a_reason(tmp_path: Path) -> None:
    process = Process.start(Command("child", ("/nowhere/program",), {}, tmp_path / "child.log"))
    assert await ended(process) != 0
    assert "No such file" in log_tail(tmp_path / "child.log")
