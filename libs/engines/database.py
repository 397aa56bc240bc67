"""The database: one role and one schema per owning service, each closed to the others; numbered migrations."""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from libs.common.errors import KtError
from libs.common.postgres import migrate
from libs.common.secret import Secret
from libs.engines.files import private_directory, write_private
from libs.engines.permissions import BACKUP

DATABASE: Final = "keeptrusts"
OWNERS: Final = ("keys", "resolver", "audit", "webhooks")
"""Services that own a schema; the schema has the service's name, the role is ``kt_<service>``."""

READABLE_BY_BACKUPS: Final[Mapping[str, tuple[str, ...]]] = {"keys": ("keyring", "sealed_values", "checkpoints")}
"""The tables, by schema, that the role of backups may read. What is secret in them is encrypted."""
WORKING_SCHEMAS: Final = {"audit": ("audit_fresh", "audit_old")}
"""Further schemas of a service, empty at rest: the log is rebuilt in the first, and the one it replaces goes to the
second."""

_LOCK: Final = 0x6B7470726F766973
_CONNECT_SECONDS: Final = 10


def role(service: str) -> str:
    return f"kt_{service}"


async def provision_database(admin_dsn: str, passwords: Path) -> dict[str, str]:
    """Make database, roles and schemas as far as they are missing, then apply the migrations of every owner.

    ``admin_dsn`` is a libpq connection string of a role that may create roles and databases. Passwords are kept in
    the directory ``passwords`` (files, 0600). Returns the connection string of each owning service, and of
    ``backup``, which owns nothing.

    Raises:
        KtError: ``engine_failed`` when PostgreSQL refuses.
    """
    private_directory(passwords)
    secret_of = {service: kept_password(passwords, service) for service in (*OWNERS, BACKUP)}
    dsns = {service: service_dsn(admin_dsn, service, secret) for service, secret in secret_of.items()}
    try:
        await _ensure_database(admin_dsn)
        await _ensure_owners(make_conninfo(admin_dsn, dbname=DATABASE), secret_of)
        await asyncio.gather(*(migrate_service(service, dsns[service]) for service in OWNERS))
        await asyncio.gather(*(_let_backups_read(schema, dsns[schema]) for schema in READABLE_BY_BACKUPS))
    except psycopg.Error as error:
        raise KtError("engine_failed", f"PostgreSQL could not be set up: {_reason(error)}.") from None
    return dsns


async def migrate_service(service: str, dsn: str) -> list[str]:
    """Apply the migrations of one service; a service without any is left alone."""
    package = f"services.{service}.adapters.migrations"
    if importlib.util.find_spec(package) is None:
        return []
    return await migrate(dsn, service, package)


def service_dsn(admin_dsn: str, service: str, password: Secret, database: str = DATABASE) -> str:
    """The way the administrator connects, as the role of ``service``."""
    return make_conninfo(admin_dsn, user=role(service), password=password.reveal().decode(), dbname=database)


async def _ensure_database(admin_dsn: str) -> None:
    async with await _connect(admin_dsn) as admin:
        # Two installers at once would both find nothing and both create.
        await admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        if not await _exists(admin, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
            name = sql.Identifier(DATABASE)
            await admin.execute(sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(name))
            await admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


async def _ensure_owners(dsn: str, secret_of: Mapping[str, Secret]) -> None:
    async with await _connect(dsn) as admin:
        await admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        for service, secret in secret_of.items():
            if not await _exists(admin, "SELECT 1 FROM pg_roles WHERE rolname = %s", role(service)):
                await _make_role(admin, service)
                await _set_password(admin, service, secret)
            elif not await _accepts(dsn, service, secret):
                await _set_password(admin, service, secret)
            if service == BACKUP:
                query = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
                names = sql.Identifier(admin.info.dbname), sql.Identifier(role(service))
                await admin.execute(query.format(*names))
                continue
            for schema in (service, *WORKING_SCHEMAS.get(service, ())):
                if not await _exists(admin, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
                    await _make_schema(admin, service, schema)


async def _make_role(admin: AsyncConnection[Any], service: str) -> None:
    query = "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT"
    await admin.execute(sql.SQL(query).format(sql.Identifier(role(service))))


async def _set_password(admin: AsyncConnection[Any], service: str, secret: Secret) -> None:
    """Only the SCRAM verifier travels (RFC 5803), so no server log or statistics view can show the password."""
    verifier = admin.pgconn.encrypt_password(secret.reveal(), role(service).encode(), b"scram-sha-256").decode()
    query = sql.SQL("ALTER ROLE {} PASSWORD {}")
    await admin.execute(query.format(sql.Identifier(role(service)), sql.Literal(verifier)))


async def _make_schema(admin: AsyncConnection[Any], service: str, schema: str) -> None:
    names = {"role": sql.Identifier(role(service)), "schema": sql.Identifier(schema), "db": sql.Identifier(DATABASE)}
    async with admin.transaction():
        # An administrator who is not a superuser must be a member of the role it creates a schema for.
        await admin.execute(sql.SQL("GRANT {role} TO CURRENT_USER").format(**names))
        await admin.execute(sql.SQL("CREATE SCHEMA {schema} AUTHORIZATION {role}").format(**names))
        await admin.execute(sql.SQL("REVOKE {role} FROM CURRENT_USER").format(**names))
        await admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {db} TO {role}").format(**names))


async def _let_backups_read(schema: str, owner_dsn: str) -> None:
    tables = sql.SQL(", ").join(sql.Identifier(schema, table) for table in READABLE_BY_BACKUPS[schema])
    reader = sql.Identifier(role(BACKUP))
    async with await _connect(owner_dsn) as owner:
        await owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), reader))
        await owner.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(tables, reader))


async def _accepts(dsn: str, service: str, secret: Secret) -> bool:
    try:
        async with await _connect(service_dsn(dsn, service, secret)):
            return True
    except psycopg.OperationalError:
        return False


async def _connect(dsn: str) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(dsn, autocommit=True, connect_timeout=_CONNECT_SECONDS)


async def _exists(admin: AsyncConnection[Any], query: str, name: str) -> bool:
    cursor = await admin.execute(query.encode(), (name,))
    return await cursor.fetchone() is not None


def kept_password(passwords: Path, service: str) -> Secret:
    """The password of a service's role, made on first use."""
    path = passwords / f"{role(service)}.password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return Secret(path.read_bytes())


def _reason(error: psycopg.Error) -> str:
    """What PostgreSQL said, without the parts that may quote data."""
    return error.diag.message_primary or type(error).__name__
