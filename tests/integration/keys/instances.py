"""Several instances of the key service side by side, each with the master keys it is given."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.engines import Bus, Database, eventually

CURRENT = "KEEPTRUSTS_SECRET_ENCRYPTION_KEY"
PREVIOUS = "KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS"


@dataclass
class Instance:
    """A process, and what it has logged."""

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    def read(self) -> None:
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append(line.decode())

    def has_logged(self, event: str) -> bool:
        return any(f'"{event}"' in line for line in self.log)

    async def logged(self, event: str, within: float = 60) -> None:
        await eventually(lambda: self.has_logged(event) or self.process.returncode is not None, within)
        assert self.has_logged(event), "".join(self.log)

    async def stopped(self) -> int:
        """Ask it to stop, and wait until it has."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await self.ended()

    async def killed(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            code = await self.process.wait()
            if self._reading is not None:
                await self._reading
        return code


@dataclass
class Instances:
    bus: Bus
    postgres: Database
    running: list[Instance] = field(default_factory=list)

    async def start(self, current: str, previous: str = "") -> Instance:
        """Start one, and return it when it takes requests."""
        instance = await self.spawn(current, previous)
        await instance.logged("service.started")
        return instance

    async def spawn(self, current: str, previous: str = "") -> Instance:
        environment = {
            "PATH": os.environ["PATH"],
            "KEEPTRUSTS_NATS_URL": self.bus.url,
            "KEEPTRUSTS_NATS_CREDS": str(self.bus.creds("keys")),
            "KEEPTRUSTS_POSTGRES_DSN": self.postgres.dsn("keys"),
            CURRENT: current,
            **({PREVIOUS: previous} if previous else {}),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.keys.main", env=environment, stderr=asyncio.subprocess.PIPE
        )
        instance = Instance(process)
        instance.read()
        self.running.append(instance)
        return instance


@asynccontextmanager
async def instances(bus: Bus, postgres: Database) -> AsyncIterator[Instances]:
    """What was started is killed at the end, unless it has stopped."""
    found = Instances(bus, postgres)
    try:
        yield found
    finally:
        for instance in found.running:
            if instance.process.returncode is None:
                await instance.killed()
