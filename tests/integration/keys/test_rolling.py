"""Instances of the old and of the new master key side by side: no request fails, in either direction."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import RpcClient
from tests.engines import Bus, Database, eventually
from tests.integration.keys.instances import instances
from tests.integration.keys.test_service import Asked, master_text

OLD, NEW = master_text(1), master_text(2)


@dataclass
class Load:
    """Seals and opens until told to stop, in orgs that have a key and in orgs that have none yet."""

    asked: Asked
    done: int = 0
    failed: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _orgs: Any = field(default_factory=itertools.count)

    async def run(self, worker: int) -> None:
        while not self.stop.is_set():
            for org in ("default", f"new-{next(self._orgs)}"):
                value = f"value-{worker}-{self.done}".encode()
                try:
                    sealed = await self.asked.seal(value, org=org)
                    opened = await self.asked.open(org=org, key=sealed)
                    if opened != ({"key": value}, {}):
                        self.failed.append(str(opened[1]))
                except KtError as error:
                    self.failed.append(f"{error.code}: {error.detail}")
                self.done += 1
            await asyncio.sleep(0.005)

    async def more(self, count: int = 20) -> None:
        """Wait until that many more were done."""
        until = self.done + count
        await eventually(lambda: self.done >= until or self.failed)

    async def go(self, *steps: Callable[[], Awaitable[Any]]) -> None:
        """Run while the steps are taken; each is followed by some more of it."""
        self.stop.clear()
        workers = [asyncio.create_task(self.run(number)) for number in range(3)]
        for step in steps:
            await step()
            await self.more()
        self.stop.set()
        await asyncio.gather(*workers)
        assert self.failed == []


@asynccontextmanager
async def load_on(bus: Bus) -> AsyncIterator[Load]:
    yield Load(Asked({name: RpcClient(await bus.connect(name)) for name in ("api", "command", "resolver")}))


async def test_a_restart_with_a_new_master_key_while_the_old_instance_runs_fails_no_request(
    nats_server: Bus, postgres: Database
) -> None:
    async with instances(nats_server, postgres) as started, load_on(nats_server) as load:
        old = await started.start(OLD)
        await load.go(
            partial(started.start, NEW, OLD), partial(old.logged, "keys.declines_work"), partial(old.stopped)
        )
        assert old.process.returncode == 0
        assert old.has_logged("keyring.superseded")


@pytest.mark.chaos
async def test_a_rollout_that_begins_badly_is_taken_up_again_and_then_taken_back_fails_no_request(
    nats_server: Bus, postgres: Database
) -> None:
    async with instances(nats_server, postgres) as started, load_on(nats_server) as load:
        old = [await started.start(OLD) for _ in range(2)]
        await load.go(partial(load.more, 40))
        first = await started.start(NEW, OLD)
        await load.go(*(partial(instance.logged, "keys.declines_work") for instance in old))

        await first.killed()
        for instance in old:
            await instance.logged("keys.takes_work")
        sealed = await load.asked.seal(b"value")
        assert await load.asked.open(key=sealed) == ({"key": b"value"}, {})
        with pytest.raises(KtError) as refused:
            await load.asked.seal(b"value", org="only-the-new-key-will-do")
        assert refused.value.code == "unavailable"

        new = [await started.start(NEW, OLD) for _ in range(2)]
        await load.go(*(partial(instance.stopped) for instance in old))
        back = [await started.start(OLD, NEW) for _ in range(2)]
        await load.go(*(partial(instance.stopped) for instance in new))
        assert {instance.process.returncode for instance in (*old, *new)} == {0}
        assert {instance.process.returncode for instance in back} == {None}
