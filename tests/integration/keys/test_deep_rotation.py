"""Deep rotation with the key service and the command service as processes: under load, on record, without traces."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from libs.common.direct_get import DirectReader
from libs.common.errors import KtError
from libs.common.events import decode
from libs.common.events.encryption_key import DeepRotationCompleted, DeepRotationStarted
from libs.common.messaging.rpc import RpcClient
from libs.common.postgres import Pool
from libs.common.protocol import keys as protocol
from libs.common.protocol.parties import Caller
from libs.common.subjects import EVENTS, event_subject
from services.keys.adapters import deep_rotation_sql
from services.keys.adapters.postgres import PostgresSealedStore
from services.keys.application.opening import Unsealer
from services.keys.domain.keyring import Purpose
from tests.engines import Bus, Database, eventually
from tests.integration.common.test_service import spawn as spawn_command
from tests.integration.keys.instances import instances
from tests.integration.keys.rows import Rows
from tests.integration.keys.test_rolling import load_on
from tests.integration.keys.test_service import master_text, service
from tests.unit.keys.deep_rotation_spec import begin, keys_of
from tests.unit.keys.support import Stores, flipped, master, start

CALLER = Caller(org="default", actor_type="admin", actor_id="alice", request_id="request-1")


async def test_reads_and_writes_go_on_and_both_ends_are_on_record(
    nats_server: Bus, postgres: Database, pool: Pool
) -> None:
    command = await spawn_command(nats_server)
    api = RpcClient(await nats_server.connect("api"))
    rotation_id = str(uuid.uuid4())

    async def rotate() -> Any:
        return await api.call(protocol.DEEP_ROTATE, protocol.DeepRotateRequest(command_id=rotation_id, caller=CALLER))

    async def found() -> Any:
        return await api.call(protocol.DEEP_ROTATION, protocol.DeepRotationRequest(org="default", id=rotation_id))

    async def is_completed() -> bool:
        return bool((await found()).state == "completed")

    try:
        async with instances(nats_server, postgres) as started, load_on(nats_server) as load:
            for _ in range(2):
                await started.start(master_text(1))
            sealed = [await load.asked.seal(b"value", str(uuid.uuid4())) for _ in range(30)]
            with pytest.raises(KtError) as refused:
                await api.call(protocol.DEEP_ROTATE, protocol.DeepRotateRequest(command_id="x", caller=CALLER))
            assert refused.value.code == "invalid_request"
            await load.go(rotate, partial(eventually, is_completed, 60))
            done = await found()
            assert (done.data_keys >= 30, done.rewrapped >= done.data_keys, done.damaged) == (True, True, 0)
            assert done.destroyed_keys == done.old_keys != []
            values, failed = await load.asked.open(**{f"r{n}": s for n, s in enumerate(sealed)})
            assert (len(values), failed) == (30, {})
            reader = DirectReader(await nats_server.connect("command"), EVENTS)
            subject = event_subject("default", "encryption_key", "key-encryption")

            async def recorded() -> list[Any]:
                return [decode(m.body, m.sequence) for m in await reader.all(subject)]

            async def both() -> bool:
                return len(await recorded()) == 2

            await eventually(both, 30)
            first, second = await recorded()
            assert first.event == DeepRotationStarted(
                rotation_id, tuple(done.old_keys), done.new_key, done.transport_key, done.data_keys
            )
            assert (first.metadata.actor.id, second.metadata.actor.id) == ("alice", "keys")
            assert second.metadata.origin.id == first.metadata.origin.id == "request-1"
            assert second.event == DeepRotationCompleted(
                rotation_id, done.new_key, done.rewrapped, 0, tuple(done.destroyed_keys)
            )
    finally:
        command.terminate()
        await command.communicate()


async def test_damaged_rows_are_named_never_served_and_in_nobody_s_way(
    nats_server: Bus, postgres: Database, pool: Pool
) -> None:
    rows = Rows(pool)
    async with service(nats_server, postgres, master_text(1)) as asked:
        names = ("good", "cut", "flipped", "swapped", "other", "rolled back", "of another org", "of another name")
        sealed = {name: await asked.seal(name.encode()) for name in names}
        older = await asked.seal(b"an older value")
        stores = PostgresSealedStore(pool)
        stored = await stores.fetch([s.id for s in (*sealed.values(), older)])
        row = {name: stored[s.id] for name, s in sealed.items()}
        await rows.value(sealed["cut"].id, ciphertext=row["cut"].ciphertext[:-1])
        await rows.value(sealed["flipped"].id, wrapped_data_key=flipped(row["flipped"].wrapped_data_key))
        for one, two in (("swapped", "other"), ("other", "swapped")):
            await rows.value(
                sealed[one].id, ciphertext=row[two].ciphertext, wrapped_data_key=row[two].wrapped_data_key
            )
        put_back = stored[older.id]
        await rows.value(
            sealed["rolled back"].id,
            ciphertext=put_back.ciphertext,
            wrapped_data_key=put_back.wrapped_data_key,
        )
        await rows.value(sealed["of another org"].id, org="acme")
        await rows.value(sealed["of another name"].id, name="OTHER")
        damaged = {s.id for name, s in sealed.items() if name != "good"}

        opened = await asked.open(**sealed)
        assert opened == ({"good": b"good"}, dict.fromkeys(set(names) - {"good"}, "undecryptable"))

        async def status() -> Any:
            return await asked.ask("api", protocol.STATUS, org="default")

        async def all_are_named() -> bool:
            return {value.sealed_id for value in (await status()).damaged} == damaged

        await eventually(all_are_named, within=30)
        assert any("7 values can't be opened" in sentence for sentence in (await status()).summary)
        anew = await asked.seal(b"anew")
        assert await asked.open(good=sealed["good"], anew=anew) == ({"good": b"good", "anew": b"anew"}, {})


async def test_a_value_that_was_being_stored_when_the_key_was_retired_is_not_left_behind(
    pool: Pool, postgres: Database, stores: Stores
) -> None:
    """A statement does not see what commits behind its snapshot: here one seals under the old key after its time."""
    instance = await start(stores, master(1))
    sealed = await instance.seal(b"value")
    late = await instance.forge_value(str(uuid.uuid4()), b"late")
    async with await psycopg.AsyncConnection.connect(
        postgres.dsn("keys"), options="-c search_path=keys"
    ) as straggler:
        await straggler.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await straggler.execute("SELECT FROM keyring")
        begun = await begin(instance)
        working = asyncio.create_task(instance.rotator.work())

        async def waits_for_the_straggler() -> bool:
            moved = (await stores.sealed.fetch([sealed.id]))[sealed.id].key_id == begun.new_key
            return moved and await _under_way(pool, begun.id)

        await eventually(waits_for_the_straggler, 30)
        inserted = await straggler.execute(
            "INSERT INTO sealed_values SELECT %s, %s, %s, %s, id, %s, %s, now() FROM keyring"
            " WHERE id = %s AND retired_at IS NULL",
            (
                late.binding.sealed_id,
                late.binding.org,
                late.binding.kind,
                late.binding.name,
                late.wrapped_data_key,
                late.ciphertext,
                late.key_id,
            ),
        )
        assert inserted.rowcount == 1, "to this statement the key is not retired"
        assert len(await keys_of(stores)) == 2
        await straggler.commit()
    await asyncio.wait_for(working, 30)
    done = await instance.rotator.find("default", begun.id)
    assert (done.rewrapped, done.destroyed_keys) == (2, begun.old_keys)
    stored = (await stores.sealed.fetch([late.binding.sealed_id]))[late.binding.sealed_id]
    assert stored.key_id == begun.new_key
    assert Unsealer(instance.keyring, stores.sealed).open(stored).reveal() == b"late"


async def _under_way(pool: Pool, rotation_id: str) -> bool:
    async with pool.connection() as connection:
        row = await (await connection.execute(deep_rotation_sql.ARE_UNDER_WAY, (rotation_id,))).fetchone()
        return row is not None and bool(row[0])


async def test_a_row_that_somebody_else_holds_is_left_and_met_again(postgres: Database, stores: Stores) -> None:
    instance = await start(stores, master(1))
    held, free = await instance.seal(b"held"), await instance.seal(b"free")
    begun = await begin(instance)
    async with await psycopg.AsyncConnection.connect(postgres.dsn("keys"), options="-c search_path=keys") as other:
        await other.execute("SELECT FROM sealed_values WHERE id = %s FOR UPDATE", (held.id,))
        working = asyncio.create_task(instance.rotator.work())

        async def is_free_moved() -> bool:
            return (await stores.sealed.fetch([free.id]))[free.id].key_id == begun.new_key

        await eventually(is_free_moved, 30)
        assert not working.done()
    await asyncio.wait_for(working, 30)
    assert (await instance.rotator.find("default", begun.id)).rewrapped == 2
    assert (await instance.open(held, free))[1] == {}


async def test_neither_old_nor_new_key_material_is_in_any_table(pool: Pool, stores: Stores) -> None:
    instance = await start(stores, master(1))
    await instance.seal(b"value")
    material = [await instance.keyring.current("default", Purpose.KEY_ENCRYPTION), await _transport(instance)]
    await begin(instance)
    await instance.rotator.work()
    material += [await instance.keyring.current("default", Purpose.KEY_ENCRYPTION), await _transport(instance)]
    async with pool.connection() as connection:
        tables = await (
            await connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'keys'")
        ).fetchall()
        dump = ""
        for (table,) in tables:
            query = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table))
            dump += str(await (await connection.execute(query)).fetchall())
    assert len({key.entry.id for key in material}) == 4
    for key in material:
        assert key.material.reveal().hex() not in dump


async def _transport(instance: Any) -> Any:
    return await instance.keyring.current("*", Purpose.TRANSPORT)


async def test_damage_that_is_reported_twice_keeps_its_digest(pool: Pool, stores: Stores) -> None:
    instance = await start(stores, master(1))
    bad = await instance.seal(b"bad")
    row = (await stores.sealed.fetch([bad.id]))[bad.id]
    await Rows(pool).value(bad.id, ciphertext=row.ciphertext[:-1])
    await instance.open(bad)
    await instance.damages.write()
    await begin(instance)
    await instance.rotator.work()
    (damage,) = await instance.damages.of("default")
    assert damage.digest == bad.digest
    assert "ciphertext" in damage.why
