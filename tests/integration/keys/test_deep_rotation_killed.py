"""kill -9 at every step of a deep rotation: whichever instance comes next goes on, and nothing is lost or told twice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from libs.common.direct_get import DirectReader
from libs.common.events import decode
from libs.common.events.encryption_key import DeepRotationCompleted, DeepRotationStarted
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol import keys as protocol
from libs.common.protocol.parties import Caller
from libs.common.secret import Secret
from libs.common.subjects import EVENTS, event_subject
from services.keys.application.deep_rotation import BATCH
from services.keys.application.sealing import Sealed
from services.keys.domain.sealed import Binding
from tests.engines import Bus, Database, eventually
from tests.integration.common.test_service import spawn as spawn_command
from tests.integration.keys.instances import Instances, instances
from tests.integration.keys.test_service import master_text
from tests.unit.keys.deep_rotation_spec import keys_of
from tests.unit.keys.support import KIND, NAME, FixedClock, Instance, Stores, master, start

WITHIN: Final = 60
CALLER: Final = Caller(org="default", actor_type="admin", actor_id="alice", request_id="request-1")

STEPS: Final = {
    "new keys made": ("deep_rotations", "INSERT", ""),
    "first batch wrapped anew": ("sealed_values", "UPDATE OF key_id", ""),
    "first batch counted": ("deep_rotations", "UPDATE OF rewrapped", f"NEW.rewrapped <= {BATCH}"),
    "second batch counted": ("deep_rotations", "UPDATE OF rewrapped", f"NEW.rewrapped > {BATCH}"),
    "old key destroyed": ("keyring", "DELETE", "OLD.purpose = 'key-encryption'"),
    "completed": ("deep_rotations", "UPDATE OF completed_at", "NEW.completed_at IS NOT NULL"),
    "start on record": ("deep_rotations", "UPDATE OF recorded", "NEW.recorded = 1"),
    "completion on record": ("deep_rotations", "UPDATE OF recorded", "NEW.recorded = 2"),
}
"""Where the work is stopped, in order: behind this change of this table, before its transaction ends."""

_TRAP: Final = """
CREATE FUNCTION {schema}.trap() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock({space}, TG_ARGV[0]::int); RETURN NULL; END'
"""
_LOCKS: Final = 7700


@dataclass
class Traps:
    """Holds a lock for each step, on which the transaction that takes the step waits."""

    connection: psycopg.AsyncConnection[Any]

    async def is_caught(self, step: str) -> bool:
        return False in await self._granted(step)

    async def release(self, step: str) -> None:
        """Let the transaction go on, and wait until it has ended, one way or the other."""
        await self.connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCKS, _number(step)))
        await eventually(lambda: self._is_over(step), within=WITHIN)

    async def _is_over(self, step: str) -> bool:
        return await self._granted(step) == []

    async def _granted(self, step: str) -> list[bool]:
        """Of everybody who has, or waits for, the lock of the step, whether it has it."""
        cursor = await self.connection.execute(
            "SELECT granted FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s",
            (_LOCKS, _number(step)),
        )
        return [granted for (granted,) in await cursor.fetchall()]


def _number(step: str) -> int:
    return list(STEPS).index(step)


@asynccontextmanager
async def traps_on(postgres: Database) -> AsyncIterator[Traps]:
    async with await psycopg.AsyncConnection.connect(postgres.admin_dsn, autocommit=True) as connection:
        await connection.execute(sql.SQL(_TRAP).format(schema=sql.Identifier("keys"), space=sql.Literal(_LOCKS)))
        for number, (table, event, when) in enumerate(STEPS.values()):
            await connection.execute(
                f"CREATE TRIGGER trap_{number} AFTER {event} ON keys.{table} FOR EACH ROW"
                f" {f'WHEN ({when})' if when else ''} EXECUTE FUNCTION keys.trap({number})"
            )
            await connection.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCKS, number))
        yield Traps(connection)


@dataclass
class Values:
    """What is stored, read and added to by an instance that lives on."""

    survivor: Instance
    known: dict[str, bytes] = field(default_factory=dict)
    sealed: list[Sealed] = field(default_factory=list)

    async def add(self, count: int = 1) -> None:
        for _ in range(count):
            value = f"value-{len(self.sealed)}".encode()
            place = Binding.checked("default", KIND, NAME, str(uuid.uuid4()))
            self.sealed.append(await self.survivor.sealing.seal_value(place, Secret(value)))
            self.known[self.sealed[-1].id] = value

    async def check(self) -> None:
        assert await self.survivor.open(*self.sealed) == (self.known, {})


@dataclass
class Kills:
    """Starts instances, one after the other, and kills each where it is caught."""

    started: Instances
    traps: Traps
    values: Values

    async def at(self, step: str, api: RpcClient | None = None, rotation_id: str = "") -> None:
        instance = await self.started.spawn(master_text(1))
        asking: asyncio.Task[Any] | None = None
        if api is not None:
            await instance.logged("service.started", WITHIN)
            asking = asyncio.create_task(ask_for(api, rotation_id))
        await eventually(lambda: self.traps.is_caught(step), within=WITHIN)
        await self.values.add()
        await self.values.check()
        await instance.killed()
        if asking is not None:
            asking.cancel()
            await asyncio.wait([asking])
        await self.traps.release(step)
        await self.values.check()


async def ask_for(api: RpcClient, rotation_id: str) -> Any:
    request = protocol.DeepRotateRequest(command_id=rotation_id, caller=CALLER)
    return await api.call(protocol.DEEP_ROTATE, request, timeout_s=WITHIN)


async def recorded(bus: Bus) -> list[Any]:
    reader = DirectReader(await bus.connect("command"), EVENTS)
    subject = event_subject("default", "encryption_key", "key-encryption")
    return [decode(message.body, message.sequence).event for message in await reader.all(subject)]


async def _all_is_told(stores: Stores) -> bool:
    return not await stores.rotations.unrecorded()


@pytest.mark.chaos
async def test_an_instance_killed_at_any_step_is_followed_by_one_that_goes_on(
    nats_server: Bus, postgres: Database, stores: Stores
) -> None:
    survivor = await start(stores, master(1), clock=FixedClock(datetime.now(UTC)))
    values = Values(survivor)
    await values.add(BATCH + 50)
    (old,) = await keys_of(stores)
    api, rotation_id = RpcClient(await nats_server.connect("api")), str(uuid.uuid4())
    async with instances(nats_server, postgres) as started, traps_on(postgres) as traps:
        kills = Kills(started, traps, values)
        steps = iter(STEPS)
        await kills.at(next(steps), api, rotation_id)
        assert await keys_of(stores) == [old], "a start that was not committed has changed nothing"
        await kills.at(next(steps), api, rotation_id)
        for _ in range(4):
            await kills.at(next(steps))
        command = await spawn_command(nats_server)
        try:
            for step in steps:
                await kills.at(step)
            await started.start(master_text(1))
            await eventually(lambda: _all_is_told(stores), within=WITHIN)
            done = await survivor.rotator.find("default", rotation_id)
            assert done.completed_at is not None
            assert (done.damaged, done.destroyed_keys) == (0, (old.id,))
            assert [entry.id for entry in await keys_of(stores)] == [done.new_key]
            assert await recorded(nats_server) == [
                DeepRotationStarted(rotation_id, (old.id,), done.new_key, done.transport_key, done.data_keys),
                DeepRotationCompleted(rotation_id, done.new_key, done.rewrapped, 0, (old.id,)),
            ]
        finally:
            command.terminate()
            await command.communicate()
    await values.check()
