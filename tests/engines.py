"""Real engines for tests: fixtures ``nats_server`` and ``postgres``, and the context managers behind them.

* ``nats_server`` (per test, about 100 ms): a :class:`Bus` with every identity and both streams.
  ``await nats_server.connect("command")`` gives a client with exactly that service's permissions,
  ``nats_server.creds("command")`` the path of its ``.creds`` file, ``nats_server.gateway("acme", "gw1")`` an enrolled
  gateway's credentials. ``await nats_server.kill()`` and ``await nats_server.restart()`` are for failure tests.
* ``postgres`` (per test, a clone of a migrated template): a :class:`Database`; ``postgres.dsn("keys")`` is the
  connection string of that service's role, ``postgres.admin_dsn`` the administrator's. ``postgres_server`` is the
  server of the whole session.

With ``KT_TEST_ENGINE=containers`` both come from testcontainers, with the same configuration.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import nats
import psycopg
import pytest
from nats.aio.client import Client
from psycopg import sql
from psycopg.conninfo import make_conninfo

from libs.common.messaging.identities import (
    Credentials,
    NkeyKind,
    credentials,
    gateway_jwt,
    new_seed,
    public_key,
    read_credentials,
)
from libs.common.secret import Secret
from libs.common.subjects import GatewayIdentity
from libs.engines.database import DATABASE, OWNERS, provision_database
from libs.engines.identities import Identities, ensure_identities
from libs.engines.nats_server import NatsServer
from libs.engines.permissions import BACKUP, PROVISIONER
from libs.engines.postgres_server import PostgresServer
from libs.engines.process import Process
from libs.engines.streams import provision_streams

CONTAINERS = os.environ.get("KT_TEST_ENGINE") == "containers"


class NatsEngine(Protocol):
    """A NATS server a test can break."""

    @property
    def url(self) -> str: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...


@dataclass(slots=True)
class Bus:
    """A running NATS server with identities and streams."""

    engine: NatsEngine
    identities: Identities
    _clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.engine.url

    @property
    def account(self) -> str:
        return self.identities.account

    @property
    def gateway_signing_seed_file(self) -> Path:
        return self.identities.gateway_signing_seed_file

    def creds(self, name: str) -> Path:
        """The ``.creds`` file of a service, or of ``provisioner``."""
        return self.identities.creds(name)

    def gateway(self, org: str, name: str, token_id: str = "t1") -> Credentials:
        """Credentials of a gateway with this token, as the api service would mint them."""
        seed = new_seed(NkeyKind.USER)
        signing_key = Secret(self.gateway_signing_seed_file.read_bytes())
        jwt = gateway_jwt(
            signing_key,
            self.account,
            GatewayIdentity(org, name, token_id),
            user=public_key(seed),
            now=datetime.now(UTC),
            expires=None,
        )
        return credentials(jwt, seed)

    async def connect(self, identity: str | Credentials, **options: Any) -> Client:
        """A client of a service (by name) or of other credentials; closed when the test ends."""
        known = read_credentials(self.creds(identity)) if isinstance(identity, str) else identity
        client = await nats.connect(self.url, **{**known.connect_options(), **options})
        self._clients.append(client)
        return client

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        await self.engine.kill()

    async def restart(self) -> None:
        """Start again on the same address and data."""
        await self.engine.start()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


class EmbeddedNats:
    """The server of the wheel."""

    def __init__(self, directory: Path, identities: Identities) -> None:
        self._server = NatsServer(directory, directory.parent / "nats.log", identities)
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        self._process = await self._server.start()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop(5.0)

    async def kill(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            await self._process.exited(5.0)


@asynccontextmanager
async def running_nats(directory: Path) -> AsyncIterator[Bus]:
    """A NATS server below ``directory``, with identities and provisioned streams."""
    identities = ensure_identities(directory / "identities", datetime.now(UTC))
    bus = Bus(_nats_engine(directory / "nats", identities), identities)
    try:
        await bus.restart()
        await provision_streams(bus.url, read_credentials(bus.creds(PROVISIONER)))
        yield bus
    finally:
        await bus.close()
        await bus.engine.stop()


def _nats_engine(directory: Path, identities: Identities) -> NatsEngine:
    if CONTAINERS:
        from tests.containers import ContainerNats  # noqa: PLC0415

        return ContainerNats(directory, identities)
    return EmbeddedNats(directory, identities)


@dataclass(frozen=True, slots=True)
class Database:
    """One test's own database."""

    admin_dsn: str
    dsns: Mapping[str, str]

    def dsn(self, service: str) -> str:
        """The connection string of the role of ``keys``, ``resolver`` or ``audit``."""
        return self.dsns[service]


@dataclass(slots=True)
class PostgresEngine:
    """A running PostgreSQL server with the migrated template database."""

    admin_dsn: str
    dsns: Mapping[str, str]
    passwords: Path
    log: Path | None = None
    process: Process | None = None
    server: PostgresServer | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A clone of the template, dropped afterwards."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, DATABASE)
        try:
            yield Database(
                make_conninfo(self.admin_dsn, dbname=name),
                {service: make_conninfo(dsn, dbname=name) for service, dsn in self.dsns.items()},
            )
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def running_postgres(directory: Path) -> Iterator[PostgresEngine]:
    """A PostgreSQL server below ``directory`` without fsync, its template database migrated for all services."""
    with _postgres_engine(directory) as engine:
        engine.dsns = asyncio.run(provision_database(engine.admin_dsn, engine.passwords))
        assert set(engine.dsns) == {*OWNERS, BACKUP}
        yield engine


@contextmanager
def _postgres_engine(directory: Path) -> Iterator[PostgresEngine]:
    if CONTAINERS:
        from tests.containers import postgres_container  # noqa: PLC0415

        with postgres_container() as admin_dsn:
            yield PostgresEngine(admin_dsn, {}, directory / "passwords")
        return
    log = directory / "postgres.log"
    server = PostgresServer(directory / "postgres", log, durable=False)
    process = asyncio.run(server.start())
    try:
        yield PostgresEngine(server.conninfo(), {}, directory / "passwords", log, process, server)
    finally:
        asyncio.run(process.stop())
        server.remove_socket_directory()
        shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[Bus]:
    """A NATS server of this test's own."""
    async with running_nats(tmp_path / "bus") as bus:
        yield bus


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresEngine]:
    """The PostgreSQL server of the session."""
    with running_postgres(tmp_path_factory.mktemp("postgres")) as engine:
        yield engine


@pytest.fixture
def postgres(postgres_server: PostgresEngine) -> Iterator[Database]:
    """A database of this test's own, migrated."""
    with postgres_server.database() as database:
        yield database


async def eventually(condition: Any, within: float = 30.0) -> None:
    """Wait until ``condition()`` (plain or async) is true; fail after ``within`` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        met = condition()
        if asyncio.iscoroutine(met):
            met = await met
        if met:
            return
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)
