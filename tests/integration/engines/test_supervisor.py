"""``kt up`` from outside: a process of its own, real engines, stubs for the services."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from libs.common.errors import KtError
from libs.engines.control import Status, down, status
from libs.engines.home import Home
from libs.engines.network import answers_ok
from libs.engines.supervisor import ENGINES, SERVICES
from tests.engines import eventually

RUN_UP = str(Path(__file__).with_name("run_up.py"))
PATIENCE = 30.0


@dataclass(slots=True)
class Installation:
    home: Home
    process: asyncio.subprocess.Process
    url: str
    said: list[str]

    def status(self) -> Status:
        return status(self.home)

    def pids(self) -> dict[str, int]:
        return {name: entry.pid for name, entry in self.home.state().processes.items()}

    async def come_back(self, name: str, former: int) -> None:
        """Wait until ``name`` runs as another process than ``former``."""
        await eventually(lambda: self.pids().get(name, former) != former, within=PATIENCE)


async def launched(home: Home, **settings: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "KEEPTRUSTS_HOME": str(home.path), "KEEPTRUSTS_API_PORT": "0", **settings}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        RUN_UP,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def refused(home: Home, **settings: str) -> tuple[int, str]:
    """Exit status and error of an ``up`` that does not get ready."""
    process = await launched(home, **settings)
    try:
        _, error = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, error.decode()


@asynccontextmanager
async def running(path: Path, **settings: str) -> AsyncIterator[Installation]:
    home = Home(path)
    process = await launched(home, **settings)
    assert process.stdout is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while not (said and said[-1].startswith("ready ")):
                line = (await process.stdout.readline()).decode().strip()
                assert line, "it ended before it was ready"
                said.append(line)
        yield Installation(home, process, said[-1].removeprefix("ready "), said)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE)


async def all_gone(pids: list[int]) -> None:
    await eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), within=PATIENCE)


async def test_it_says_ready_when_the_api_is_and_lists_what_runs(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        assert await answers_ok(f"{up.url}/readyz")
        found = up.status()
        assert found.ready
        assert found.api_url == up.url
        assert {process.name for process in found.processes} == {"supervisor", *ENGINES, *SERVICES}
        assert all(process.memory_bytes > 0 and process.restarts == 0 for process in found.processes)
        assert all(process.up_seconds < PATIENCE for process in found.processes)
        assert (tmp_path / "home" / "admin.token").read_text() == "token of home"


async def test_the_first_start_tells_where_the_master_key_is_and_the_second_keeps_it(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        assert str(up.home.master_key) in up.said[0]
        key = up.home.master_key.read_bytes()
    async with running(tmp_path / "home") as up:
        assert up.said == [f"ready {up.url}"]
        assert up.home.master_key.read_bytes() == key


async def test_the_second_start_has_the_same_addresses(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        first = up.status()
    async with running(tmp_path / "home") as up:
        second = up.status()
    assert (second.api_url, second.nats_url) == (first.api_url, first.nats_url)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_everything_and_the_exit_status_is_0(tmp_path: Path, number: signal.Signals) -> None:
    async with running(tmp_path / "home") as up:
        pids = list(up.pids().values())
        up.process.send_signal(number)
        assert await asyncio.wait_for(up.process.wait(), PATIENCE) == 0
        assert not any(psutil.pid_exists(pid) for pid in pids)
        with pytest.raises(KtError) as stopped:
            up.status()
        assert stopped.value.code == "not_running"
        assert "database system is shut down" in up.home.log("postgres").read_text()


async def test_down_stops_it_and_waits(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        pids = list(up.pids().values())
        await asyncio.to_thread(down, up.home)
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert await asyncio.wait_for(up.process.wait(), PATIENCE) == 0
    with pytest.raises(KtError) as nothing:
        down(up.home)
    assert nothing.value.code == "not_running"


async def test_a_second_up_names_the_process_and_the_url_of_the_first(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        code, error = await refused(up.home)
        assert code == 4
        assert "already_running" in error
        assert str(up.process.pid) in error
        assert up.url in error
        assert await answers_ok(f"{up.url}/readyz")


async def test_two_homes_run_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        assert one.url != two.url
        assert one.status().nats_url != two.status().nats_url
        assert await answers_ok(f"{one.url}/readyz")
        assert await answers_ok(f"{two.url}/readyz")


async def test_a_busy_port_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as one:
        port = one.url.rpartition(":")[2]
        code, error = await refused(Home(tmp_path / "two"), KEEPTRUSTS_API_PORT=port)
    assert code == 2
    assert f"Port {port}" in error
    assert not (tmp_path / "two" / "postgres").exists()


async def test_what_is_killed_comes_back_and_the_others_stay(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        for name in (*ENGINES, *SERVICES):
            before = up.pids()
            os.kill(before[name], signal.SIGKILL)
            await up.come_back(name, before[name])
            after = up.pids()
            assert {other for other in after if after[other] != before[other]} == {name}
        assert {process.restarts for process in up.status().processes if process.name != "supervisor"} == {1}
        assert up.home.log("supervisor").read_text().count('"process.ended"') == len((*ENGINES, *SERVICES))


async def test_nothing_outlives_a_killed_supervisor_and_the_next_up_works(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        pids = list(up.pids().values())
        up.process.kill()
        await up.process.wait()
        async with running(tmp_path / "home") as again:
            assert await answers_ok(f"{again.url}/readyz")
            await all_gone(pids)


async def test_a_service_with_bad_settings_fails_the_start_at_once_with_its_last_words(tmp_path: Path) -> None:
    code, error = await refused(Home(tmp_path / "home"), KEEPTRUSTS_API_NOT_READY="1", KEEPTRUSTS_KEYS_EXIT="5")
    assert code == 1
    assert "engine_failed: keys did not start" in error
    assert "keys does not want to" in error
    assert Home(tmp_path / "home").supervisor() is None


async def test_a_service_that_keeps_dying_fails_the_start(tmp_path: Path) -> None:
    code, error = await refused(Home(tmp_path / "home"), KEEPTRUSTS_API_NOT_READY="1", KEEPTRUSTS_AUDIT_EXIT="1")
    assert code == 1
    assert "engine_failed: audit did not start" in error


async def test_the_master_key_is_in_the_environment_of_the_key_service_alone(tmp_path: Path) -> None:
    given = "unmistakable-master-key-material"
    async with running(tmp_path / "home", KEEPTRUSTS_SECRET_ENCRYPTION_KEY=given) as up:
        holders = {
            name for name, pid in up.pids().items() if given in " ".join(psutil.Process(pid).environ().values())
        }
        assert holders == {"keys"}
        assert not up.home.master_key.exists()


async def test_everything_in_the_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as up:
        open_to_others = [
            path for path in up.home.path.rglob("*") if not path.is_symlink() and path.lstat().st_mode & 0o077
        ]
    # PostgreSQL's lock files say nothing, and its directory is closed.
    assert [path for path in open_to_others if "postgres" not in path.parts] == []


async def test_a_deep_home_works(tmp_path: Path) -> None:
    async with running(tmp_path.joinpath(*["d" * 60] * 4)) as up:
        assert await answers_ok(f"{up.url}/readyz")
