"""Roles and schemas of the services."""

import itertools
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from libs.common.secret import Secret
from libs.engines.database import DATABASE, OWNERS, provision_database
from libs.engines.postgres_server import PostgresServer
from tests.engines import Database, PostgresEngine


@pytest.mark.parametrize(("reader", "owner"), list(itertools.permutations(OWNERS, 2)))
def test_no_service_can_look_into_the_schema_of_another(postgres: Database, reader: str, owner: str) -> None:
    with psycopg.connect(postgres.dsn(owner), autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {owner}.private AS SELECT 1".encode())
    with (
        psycopg.connect(postgres.dsn(reader)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(f"TABLE {owner}.private".encode())


@pytest.mark.parametrize("service", OWNERS)
def test_a_service_can_make_nothing_outside_its_schema(postgres: Database, service: str) -> None:
    statements = (
        "CREATE TABLE public.t (n int)",
        "CREATE SCHEMA another",
        "CREATE ROLE another",
        "CREATE DATABASE d",
    )
    for statement in statements:
        with (
            psycopg.connect(postgres.dsn(service), autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


@pytest.mark.parametrize("service", OWNERS)
def test_a_service_cannot_become_another(postgres: Database, service: str) -> None:
    for other in {*OWNERS, "postgres"} - {service}:
        role = other if other == "postgres" else f"kt_{other}"
        with (
            psycopg.connect(postgres.dsn(service)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(f"SET ROLE {role}".encode())


def test_every_owner_is_migrated(postgres: Database) -> None:
    for service in OWNERS:
        with psycopg.connect(postgres.dsn(service)) as connection:
            assert connection.execute(f"TABLE {service}.schema_migrations".encode()).fetchone()


def test_tests_do_not_see_each_other(postgres_server: PostgresEngine) -> None:
    with postgres_server.database() as one, postgres_server.database() as two:
        with psycopg.connect(one.dsn("keys"), autocommit=True) as connection:
            connection.execute("CREATE TABLE keys.only_here (n int)")
        with psycopg.connect(two.dsn("keys")) as connection:
            row = connection.execute("SELECT to_regclass('keys.only_here')").fetchone()
            assert row == (None,)


async def test_provisioning_again_changes_nothing(postgres_server: PostgresEngine) -> None:
    first = dict(postgres_server.dsns)
    again = await provision_database(postgres_server.admin_dsn, postgres_server.passwords)
    assert again == first


async def test_a_lost_password_file_is_made_good(postgres_server: PostgresEngine) -> None:
    (postgres_server.passwords / "kt_audit.password").unlink()
    again = await provision_database(postgres_server.admin_dsn, postgres_server.passwords)
    postgres_server.dsns = again
    with psycopg.connect(again["audit"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("kt_audit",)


async def test_no_password_reaches_the_server_in_clear(postgres_server: PostgresEngine) -> None:
    """Even a server that logs every statement learns only the SCRAM verifier."""
    with psycopg.connect(postgres_server.admin_dsn, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET log_statement = 'all'")
        admin.execute("SELECT pg_reload_conf()")
    (postgres_server.passwords / "kt_audit.password").unlink()
    postgres_server.dsns = await provision_database(postgres_server.admin_dsn, postgres_server.passwords)
    assert postgres_server.log is not None
    log = postgres_server.log.read_bytes()
    password = (postgres_server.passwords / "kt_audit.password").read_bytes()
    assert b"SCRAM-SHA-256$" in log
    assert password not in log


async def test_an_administrator_who_is_no_superuser_can_provision(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", tmp_path / "postgres.log", durable=False)
    process = await server.start()
    try:
        with psycopg.connect(server.conninfo(), autocommit=True) as superuser:
            superuser.execute("CREATE ROLE landlord LOGIN CREATEROLE CREATEDB PASSWORD 'landlord'")
        landlord = server.conninfo("landlord", Secret(b"landlord"))
        dsns = await provision_database(landlord, tmp_path / "passwords")
        assert await provision_database(landlord, tmp_path / "passwords") == dsns
        with (
            psycopg.connect(make_conninfo(landlord, dbname=DATABASE)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT * FROM keys.schema_migrations")
    finally:
        await process.stop()
        server.remove_socket_directory()
