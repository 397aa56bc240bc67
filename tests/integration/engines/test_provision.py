"""Provisioning engines that somebody else runs, as compose and Kubernetes do it."""

import asyncio
import stat
from pathlib import Path

import psycopg
import pytest

from libs.common.messaging.identities import read_credentials
from libs.engines import identities, provision
from libs.engines.database import OWNERS
from libs.engines.permissions import PROVISIONER, SERVICES
from tests.engines import Bus, PostgresEngine


def given(monkeypatch: pytest.MonkeyPatch, bus: Bus, postgres: PostgresEngine) -> None:
    monkeypatch.setenv("KEEPTRUSTS_NATS_URL", bus.url)
    monkeypatch.setenv("KEEPTRUSTS_NATS_CREDS", str(bus.creds(PROVISIONER)))
    monkeypatch.setenv("KEEPTRUSTS_POSTGRES_ADMIN_DSN", postgres.admin_dsn)


async def test_it_leaves_a_working_connection_string_for_every_owner(
    nats_server: Bus, postgres_server: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, nats_server, postgres_server)
    directory = postgres_server.passwords
    for _ in range(2):
        assert await asyncio.to_thread(provision.main, [str(directory)]) == 0
    for service in OWNERS:
        file = directory / f"{service}.dsn"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with psycopg.connect(file.read_text()) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (f"kt_{service}",)


async def test_a_refusal_is_one_sentence_and_an_exit_status(
    nats_server: Bus,
    postgres_server: PostgresEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    given(monkeypatch, nats_server, postgres_server)
    monkeypatch.setenv("KEEPTRUSTS_POSTGRES_ADMIN_DSN", "host=/nowhere user=postgres password=not-to-be-shown")
    assert await asyncio.to_thread(provision.main, [str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("PostgreSQL could not be set up")
    assert "not-to-be-shown" not in told


@pytest.mark.parametrize("program", [provision.main, identities.main])
def test_a_missing_argument_is_a_usage_error(program: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(program)
    assert program([]) == 2
    assert "usage:" in capsys.readouterr().err


def test_identities_are_written_for_a_server_that_somebody_else_configures(tmp_path: Path) -> None:
    assert identities.main([str(tmp_path)]) == 0
    assert {read_credentials(tmp_path / f"{name}.creds").name for name in (*SERVICES, PROVISIONER)} == {
        *SERVICES,
        PROVISIONER,
    }
    assert "resolver_preload" in (tmp_path / "operator.conf").read_text()
    assert (tmp_path / "account.pub").read_text().startswith("A")
