"""The engines of tests in containers, for ``KT_TEST_ENGINE=containers``; they need a running Docker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

from libs.engines.identities import Identities
from libs.engines.nats_server import configuration, free_port
from tests.engines import eventually

NATS_IMAGE: Final = "nats:2.15-alpine"
POSTGRES_IMAGE: Final = "postgres:18-alpine"
_NATS_PORT: Final = 4222
_START_SECONDS: Final = 60.0


class ContainerNats:
    """The NATS image with the configuration of the embedded server, at one address over restarts."""

    def __init__(self, directory: Path, identities: Identities) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        conf = directory / "nats.conf"
        conf.write_text(configuration(identities, Path("/data"), host="0.0.0.0", port=_NATS_PORT))  # noqa: S104
        self._port = free_port()
        self._container = (
            DockerContainer(NATS_IMAGE)
            .with_command(["--config", "/etc/keeptrusts/nats.conf"])
            .with_volume_mapping(conf, "/etc/keeptrusts/nats.conf")
            .with_bind_ports(_NATS_PORT, self._port)
        )
        self._started = False

    @property
    def url(self) -> str:
        return f"nats://{self._container.get_container_host_ip()}:{self._port}"

    async def start(self) -> None:
        if self._started:
            await asyncio.to_thread(self._container.get_wrapped_container().start)
        else:
            await asyncio.to_thread(self._container.start)
            self._started = True
        await eventually(self._greets, within=_START_SECONDS)

    async def stop(self) -> None:
        if self._started:
            await asyncio.to_thread(self._container.stop)

    async def kill(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().kill)

    async def _greets(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self._container.get_container_host_ip(), self._port)
            greeting = await reader.read(4)
        except OSError:
            return False
        writer.close()
        return greeting == b"INFO"


@contextmanager
def postgres_container() -> Iterator[str]:
    """The administrator's connection string of a PostgreSQL container."""
    with PostgresContainer(POSTGRES_IMAGE, username="postgres", dbname="postgres", driver=None) as container:
        yield container.get_connection_url()
