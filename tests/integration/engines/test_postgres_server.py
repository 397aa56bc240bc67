"""The embedded PostgreSQL server."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from libs.common.errors import KtError
from libs.common.secret import Secret
from libs.engines import postgres_server
from libs.engines.files import private_directory
from libs.engines.postgres_server import PostgresServer
from libs.engines.process import Process
from tests.engines import eventually

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[PostgresServer, Process]]:
    private_directory(directory)
    server = PostgresServer(directory / "postgres", directory / "postgres.log", durable=False)
    process = await server.start()
    try:
        yield server, process
    finally:
        await process.stop()
        server.remove_socket_directory()


def asked(server: PostgresServer, query: str) -> object:
    with psycopg.connect(server.conninfo()) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


async def test_pages_carry_checksums_text_is_utf8_and_nothing_listens_on_the_network(tmp_path: Path) -> None:
    async with running(tmp_path) as (server, _):
        assert asked(server, "SHOW data_checksums") == "on"
        assert asked(server, "SHOW server_encoding") == "UTF8"
        assert asked(server, "SHOW listen_addresses") == ""
        assert asked(server, "SHOW jit") == "off"
        assert asked(server, "SELECT 'ä' < 'z'") is False
        assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700


async def test_a_wrong_password_is_refused_on_the_socket(tmp_path: Path) -> None:
    async with running(tmp_path) as (server, _):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.conninfo(password=Secret(b"wrong")))
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.conninfo(password=Secret(b"")))


async def test_data_and_password_survive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as (server, _):
        with psycopg.connect(server.conninfo()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    async with running(tmp_path) as (server, _):
        assert asked(server, "SELECT n FROM kept") == 7


async def test_it_comes_back_after_a_crash_of_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as (server, process):
        with psycopg.connect(server.conninfo()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        process.signal(signal.SIGKILL)
        await process.exited(5.0)
    async with running(tmp_path) as (server, _):
        assert asked(server, "SELECT n FROM kept") == 7


async def test_a_pid_file_that_names_another_process_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    async with running(tmp_path) as (server, process):
        pid_file = (server.data / "postmaster.pid").read_text().splitlines()
        process.signal(signal.SIGKILL)
        await process.exited(5.0)
    (server.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *pid_file[1:]]) + "\n")
    async with running(tmp_path) as (server, _):
        assert asked(server, "SELECT 1") == 1


async def test_an_interrupted_first_start_is_made_good(tmp_path: Path) -> None:
    making = tmp_path / "postgres" / "making"
    making.mkdir(parents=True)
    (making / "PG_VERSION").write_text("18")
    async with running(tmp_path) as (server, _):
        assert asked(server, "SELECT 1") == 1


async def test_a_deep_home_has_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 60] * 4)
    async with running(deep) as (server, _):
        assert asked(server, "SELECT 1") == 1
        assert not server.socket_directory.is_relative_to(tmp_path)


async def test_odd_characters_in_the_path_are_quoted(tmp_path: Path) -> None:
    async with running(tmp_path / "it's a \\ home, # 1") as (server, _):
        assert asked(server, "SELECT 1") == 1


async def test_two_servers_run_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as (one, _), running(tmp_path / "two") as (two, _):
        assert asked(one, "SHOW data_directory") == str(one.data)
        assert asked(two, "SHOW data_directory") == str(two.data)


async def test_a_server_that_cannot_start_tells_why(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    (tmp_path / "postgres" / "data" / "global" / "pg_control").unlink()
    with pytest.raises(KtError) as failed:
        async with running(tmp_path):
            pass
    assert failed.value.code == "engine_failed"
    assert "pg_control" in failed.value.hint


@AS_ROOT
async def test_where_namespaces_are_refused_it_runs_as_an_ordinary_user_below_closed_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "_namespaces_work", lambda _: False)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    async with running(closed) as (server, process):
        assert asked(server, "SELECT 1") == 1
        uid = psutil.Process(process.pid).uids().real
        assert uid != 0
        assert server.data.stat().st_uid == uid
    monkeypatch.undo()
    async with running(closed) as (server, _):
        assert server.identity == f"user:{uid}:{server.data.stat().st_gid}"


async def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from libs.engines.postgres_server import PostgresServer\n"
        "async def main():\n"
        "    process = await PostgresServer(Path(sys.argv[1]), Path(sys.argv[2]), durable=False).start()\n"
        "    print(process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "postgres"), str(tmp_path / "postgres.log")]
    ended = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    pid = int(ended.stdout)
    await eventually(lambda: not Path(f"/proc/{pid}/cwd").exists())
    PostgresServer(tmp_path / "postgres", tmp_path / "postgres.log").remove_socket_directory()
    assert "database system is shut down" in (tmp_path / "postgres.log").read_text()
