"""What a deep rotation does, on any store."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import Declined
from services.keys.application.deep_rotation import TRANSPORT_GRACE
from services.keys.application.notices import DeepRotationSender
from services.keys.application.sealing import Sealed
from services.keys.domain.deep_rotation import DeepRotation, Requester
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry, Purpose
from services.keys.domain.sealed import Binding
from tests.unit.keys.support import KIND, NAME, FixedClock, Instance, Stores, flipped, master, start

OLD, NEW = master(1), master(2)
ALICE = Requester("admin", "alice", "request-1", "192.0.2.10", "kt")


def new_id() -> str:
    return str(uuid.uuid4())


async def begin(instance: Instance, org: str = "default", rotation_id: str = "") -> DeepRotation:
    return await instance.rotator.start(rotation_id or new_id(), org, ALICE)


async def rotated(instance: Instance, org: str = "default") -> DeepRotation:
    """A deep rotation from start to end."""
    begun = await begin(instance, org)
    await instance.rotator.work()
    return await instance.rotator.find(org, begun.id)


async def keys_of(
    stores: Stores, org: str = "default", purpose: Purpose = Purpose.KEY_ENCRYPTION
) -> list[KeyringEntry]:
    return [e for e in await stores.keyring.entries() if (e.org, e.purpose) == (org, purpose)]


async def sealed_under(stores: Stores, *sealed: Sealed) -> set[str]:
    return {value.key_id for value in (await stores.sealed.fetch([s.id for s in sealed])).values()}


class RotatingDeeply:
    async def test_every_data_key_is_wrapped_under_a_new_key_and_every_value_still_opens(
        self, stores: Stores
    ) -> None:
        instance = await start(stores, OLD)
        sealed = [await instance.seal(f"value-{n}".encode(), name=f"KEY_{n}") for n in range(10)]
        (before,) = await keys_of(stores)
        done = await rotated(instance)
        (after,) = await keys_of(stores)
        assert (done.new_key, done.old_keys, done.destroyed_keys) == (after.id, (before.id,), (before.id,))
        assert (done.data_keys, done.rewrapped, done.damaged) == (10, 10, 0)
        assert await sealed_under(stores, *sealed) == {after.id}
        expected = {s.id: f"value-{n}".encode() for n, s in enumerate(sealed)}
        for reader in (instance, await start(stores, OLD)):
            reader.names |= instance.names
            assert await reader.open(*sealed) == (expected, {})

    async def test_digests_stay_so_that_the_events_still_name_the_values(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        sealed = await instance.seal(b"value")
        await rotated(instance)
        stored = (await stores.sealed.fetch([sealed.id]))[sealed.id]
        assert stored.digest == sealed.digest

    async def test_another_org_keeps_its_key(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        await instance.seal(b"value")
        theirs = await instance.seal(b"theirs", org="acme")
        before = await keys_of(stores, "acme")
        await rotated(instance)
        assert await keys_of(stores, "acme") == before
        assert (await instance.open(theirs, org="acme"))[0] == {theirs.id: b"theirs"}

    async def test_an_org_without_values_gets_its_key_and_is_done(self, stores: Stores) -> None:
        done = await rotated(await start(stores, OLD))
        assert (done.data_keys, done.rewrapped, done.old_keys) == (0, 0, ())
        assert [e.id for e in await keys_of(stores)] == [done.new_key]

    async def test_from_the_start_new_values_are_sealed_under_the_new_key_and_old_ones_open(
        self, stores: Stores
    ) -> None:
        instance, other = await start(stores, OLD), await start(stores, OLD)
        old = await instance.seal(b"old")
        assert (await other.open(old))[0] == {old.id: b"old"}
        begun = await begin(instance)
        for number, writer in enumerate((instance, other)):
            new = await writer.seal(b"new")
            assert new.key_id == begun.new_key
            assert (await (instance, other)[1 - number].open(old, new))[0] == {old.id: b"old", new.id: b"new"}

    async def test_the_transport_key_is_replaced_and_the_old_one_opens_for_a_while(self, stores: Stores) -> None:
        clock = FixedClock()
        instance = await start(stores, OLD, clock=clock)
        old_id, box = await instance.box(b"value")
        await rotated(instance)
        assert (await instance.keyring.transport()).id != old_id
        binding = Binding.checked("default", KIND, NAME, new_id())
        assert (await instance.sealing.seal(binding, old_id, box)).outcome == "sealed"
        clock.advance(TRANSPORT_GRACE + timedelta(seconds=1))
        await instance.rotator.work()
        assert [e.id for e in await keys_of(stores, SYSTEM_WIDE, Purpose.TRANSPORT)] == [
            (await instance.keyring.transport()).id
        ]
        await instance.keyring.reload()
        with pytest.raises(KtError, match="transport key that does not exist"):
            await instance.sealing.seal(Binding.checked("default", KIND, NAME, new_id()), old_id, box)

    async def test_a_repeated_start_finds_its_first_outcome_and_another_one_joins(self, stores: Stores) -> None:
        instance, other = await start(stores, OLD), await start(stores, OLD)
        await instance.seal(b"value")
        first = await begin(instance)
        assert (await begin(other, rotation_id=first.id)).id == first.id
        assert (await begin(other)).id == first.id
        await other.rotator.work()
        assert (await begin(instance, rotation_id=first.id)).completed_at is not None
        assert (await begin(instance)).id != first.id

    async def test_starts_at_the_same_moment_are_one_rotation(self, stores: Stores) -> None:
        instances = [await start(stores, OLD) for _ in range(3)]
        await instances[0].seal(b"value")
        begun = await asyncio.gather(*(begin(instance) for instance in instances * 2))
        assert len({rotation.id for rotation in begun}) == 1
        assert len(await keys_of(stores)) == 2

    async def test_of_several_instances_one_does_the_work(self, stores: Stores) -> None:
        instances = [await start(stores, OLD) for _ in range(3)]
        sealed = [await instances[0].seal(b"value", name=f"KEY_{n}") for n in range(20)]
        begun = await begin(instances[0])
        await asyncio.gather(*(instance.rotator.work() for instance in instances))
        done = await instances[1].rotator.find("default", begun.id)
        assert (done.rewrapped, done.completed_at is not None) == (20, True)
        assert await sealed_under(stores, *sealed) == {begun.new_key}

    async def test_values_sealed_and_destroyed_meanwhile_are_no_obstacle(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        sealed = [await instance.seal(b"value", name=f"KEY_{n}") for n in range(12)]
        begun = await begin(instance)
        working = asyncio.create_task(instance.rotator.work())
        new = [await instance.seal(b"value", name=f"NEW_{n}") for n in range(12)]
        await working
        assert await sealed_under(stores, *sealed, *new) == {begun.new_key}
        assert len((await instance.open(*sealed, *new))[0]) == 24

    async def test_a_master_key_changed_in_between_does_not_keep_it_from_ending(self, stores: Stores) -> None:
        first = await start(stores, OLD)
        sealed = await first.seal(b"value")
        begun = await begin(first)
        second = await start(stores, NEW, [OLD])
        await first.rotator.work()
        await second.rotator.work()
        done = await second.rotator.find("default", begun.id)
        assert done.completed_at is not None
        assert (await (await start(stores, NEW)).open(sealed))[0] == {sealed.id: b"value"}

    async def test_a_superseded_instance_neither_starts_nor_leads(self, stores: Stores) -> None:
        behind = await start(stores, OLD)
        await behind.seal(b"value")
        ahead = await start(stores, NEW, [OLD])
        with pytest.raises(Declined):
            await begin(behind)
        begun = await begin(ahead)
        await behind.keyring.reload()
        await behind.rotator.work()
        assert (await ahead.rotator.find("default", begun.id)).rewrapped == 0
        await ahead.rotator.work()
        assert (await ahead.rotator.find("default", begun.id)).completed_at is not None

    async def test_a_rotation_is_found_by_its_own_org_only(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        begun = await begin(instance)
        for org, rotation_id in (("acme", begun.id), ("default", new_id()), ("default", "nonsense")):
            with pytest.raises(KtError) as refused:
                await instance.rotator.find(org, rotation_id)
            assert refused.value.code == "not_found"

    async def test_nothing_of_the_old_key_stays_in_the_store_or_the_process(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        await instance.seal(b"value")
        old = (await keys_of(stores))[0]
        await rotated(instance)
        assert old.id not in {e.id for e in await stores.keyring.entries()}
        assert instance.keyring.key_encryption_key(old.id) is None


class RotatingAroundDamage:
    @pytest.mark.parametrize(
        ("columns", "why"),
        [
            ({"wrapped_data_key": "flip"}, "data key"),
            ({"wrapped_data_key": "cut"}, "data key"),
            ({"name": "OTHER"}, "data key"),
            ({"org": "acme"}, "data key"),
            ({"kind": "git_token"}, "data key"),
            ({"ciphertext": "flip"}, "ciphertext"),
            ({"ciphertext": "cut"}, "ciphertext"),
        ],
    )
    async def test_a_damaged_value_is_named_and_the_others_go_on(
        self, stores: Stores, columns: dict[str, str], why: str
    ) -> None:
        instance = await start(stores, OLD)
        good = [await instance.seal(b"good", name=f"KEY_{n}") for n in range(7)]
        bad = await instance.seal(b"bad")
        row = (await stores.sealed.fetch([bad.id]))[bad.id]
        await stores.tamper.value(bad.id, **{name: changed(row, name, how) for name, how in columns.items()})
        done = await rotated(instance)
        assert (done.completed_at is not None, done.damaged) == (True, 1)
        assert (await instance.open(*good))[0] == {s.id: b"good" for s in good}
        assert (await instance.open(bad))[1] == {bad.id: "undecryptable"}
        (damage,) = (await instance.status.of("default")).damaged
        assert damage.sealed_id == bad.id
        assert why in damage.why
        kept = why == "data key"
        assert (done.destroyed_keys == ()) == kept
        assert done.rewrapped == (7 if kept else 8)

    async def test_a_key_kept_for_a_damaged_value_is_destroyed_once_that_is_gone(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        good, bad = await instance.seal(b"good"), await instance.seal(b"bad")
        row = (await stores.sealed.fetch([bad.id]))[bad.id]
        await stores.tamper.value(bad.id, wrapped_data_key=flipped(row.wrapped_data_key))
        done = await rotated(instance)
        assert {e.id for e in await keys_of(stores)} == {done.new_key, *done.old_keys}
        await instance.rotator.work()
        assert {e.id for e in await keys_of(stores)} == {done.new_key, *done.old_keys}
        await stores.tamper.drop_value(bad.id)
        await instance.rotator.work()
        assert {e.id for e in await keys_of(stores)} == {done.new_key}
        assert (await instance.status.of("default")).damaged == ()
        assert (await instance.open(good))[0] == {good.id: b"good"}

    async def test_a_value_put_back_from_a_backup_opens_and_goes_with_the_next_rotation(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        bad = await instance.seal(b"value")
        row = (await stores.sealed.fetch([bad.id]))[bad.id]
        await stores.tamper.value(bad.id, wrapped_data_key=flipped(row.wrapped_data_key))
        first = await rotated(instance)
        await stores.tamper.value(bad.id, wrapped_data_key=row.wrapped_data_key)
        assert (await instance.open(bad))[0] == {bad.id: b"value"}
        assert (await instance.status.of("default")).damaged == ()
        second = await rotated(instance)
        assert set(second.destroyed_keys) == {*first.old_keys, first.new_key}
        assert (await instance.open(bad))[0] == {bad.id: b"value"}

    async def test_a_row_rolled_back_to_before_a_rotation_is_named_and_blocks_nothing(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        good, bad, worse = [await instance.seal(value) for value in (b"good", b"bad", b"worse")]
        before = await stores.sealed.fetch([bad.id, worse.id])
        await rotated(instance)
        await stores.tamper.value(
            bad.id, key_id=before[bad.id].key_id, wrapped_data_key=before[bad.id].wrapped_data_key
        )
        await stores.tamper.value(worse.id, wrapped_data_key=before[worse.id].wrapped_data_key)
        opened, failed = await instance.open(good, bad, worse)
        assert opened == {good.id: b"good"}
        assert failed == {bad.id: "undecryptable", worse.id: "undecryptable"}
        await instance.damages.write()
        again = await rotated(instance)
        assert (again.completed_at is not None, again.rewrapped) == (True, 1)
        why = {damage.sealed_id: damage.why for damage in (await instance.status.of("default")).damaged}
        assert "not in the keyring" in why[bad.id]
        assert "data key" in why[worse.id]
        assert (await instance.open(good, bad, worse))[0] == {good.id: b"good"}

    async def test_values_left_under_a_retired_key_by_a_restored_backup_go_with_the_next_rotation(
        self, stores: Stores
    ) -> None:
        first = await start(stores, OLD)
        old = await first.seal(b"old")
        (entry,) = await keys_of(stores)
        await stores.tamper.entry(entry.id, retired_at=entry.created_at)
        instance = await start(stores, OLD)
        new = await instance.seal(b"new")
        await instance.rotator.work()
        assert (await instance.open(old, new))[0] == {old.id: b"old", new.id: b"new"}
        done = await rotated(instance)
        assert (entry.id in done.destroyed_keys, done.rewrapped, len(await keys_of(stores))) == (True, 2, 1)
        assert (await instance.open(old, new))[0] == {old.id: b"old", new.id: b"new"}

    async def test_a_damaged_key_is_kept_and_the_org_gets_one_that_works(self, stores: Stores) -> None:
        first = await start(stores, OLD)
        lost = await first.seal(b"lost")
        (entry,) = await keys_of(stores)
        await stores.tamper.entry(entry.id, wrapped=flipped(entry.wrapped))
        instance = await start(stores, OLD)
        with pytest.raises(KtError, match=entry.id):
            await instance.seal(b"new")
        done = await rotated(instance)
        assert (done.rewrapped, done.damaged, done.destroyed_keys) == (0, 1, ())
        new = await instance.seal(b"new")
        assert await instance.open(lost, new) == ({new.id: b"new"}, {lost.id: "undecryptable"})

    async def test_a_rotation_whose_new_key_was_damaged_is_begun_anew(self, stores: Stores) -> None:
        first = await start(stores, OLD)
        sealed = await first.seal(b"value")
        begun = await begin(first)
        entry = next(e for e in await keys_of(stores) if e.id == begun.new_key)
        await stores.tamper.entry(entry.id, wrapped=flipped(entry.wrapped))
        instance = await start(stores, OLD)
        await instance.rotator.work()
        assert (await instance.rotator.find("default", begun.id)).completed_at is None
        again = await begin(instance)
        assert (again.id, again.new_key != begun.new_key) == (begun.id, True)
        await instance.rotator.work()
        done = await instance.rotator.find("default", begun.id)
        assert (done.completed_at is not None, set(done.destroyed_keys)) == (True, {*begun.old_keys, begun.new_key})
        assert (await instance.open(sealed))[0] == {sealed.id: b"value"}


class FindingDamage:
    async def test_what_could_not_be_opened_is_listed_until_it_opens_again(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        good, bad = await instance.seal(b"good"), await instance.seal(b"bad")
        row = (await stores.sealed.fetch([bad.id]))[bad.id]
        await stores.tamper.value(bad.id, ciphertext=flipped(row.ciphertext))
        for _ in range(3):
            await instance.open(good, bad)
        await instance.damages.write()
        (damage,) = await (await start(stores, OLD)).damages.of("default")
        assert (damage.sealed_id, damage.kind, damage.name) == (bad.id, KIND, NAME)
        assert damage.why == "not what the event refers to"
        assert await instance.damages.of("acme") == []
        await stores.tamper.value(bad.id, ciphertext=row.ciphertext)
        assert await instance.damages.of("default") == []

    async def test_a_row_put_in_place_of_another_is_listed_although_it_opens(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        sealed = await instance.seal(b"new")
        forged = await instance.forge_value(sealed.id, b"an older value")
        await stores.tamper.value(sealed.id, ciphertext=forged.ciphertext, wrapped_data_key=forged.wrapped_data_key)
        await instance.open(sealed)
        await instance.damages.write()
        assert [d.sealed_id for d in await instance.damages.of("default")] == [sealed.id]

    async def test_a_value_that_is_gone_is_listed_while_an_event_refers_to_it(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        lost, deleted = await instance.seal(b"lost"), await instance.seal(b"deleted")
        await stores.tamper.refer(Binding("default", KIND, NAME, lost.id), 1)
        for sealed in (lost, deleted):
            await stores.tamper.drop_value(sealed.id)
        await instance.open(lost, deleted)
        await instance.damages.write()
        assert [d.sealed_id for d in await instance.damages.of("default")] == [lost.id]

    async def test_a_superseded_instance_takes_nothing_for_damaged(self, stores: Stores) -> None:
        behind = await start(stores, OLD)
        ahead = await start(stores, NEW, [OLD])
        sealed = await ahead.seal(b"value")
        with pytest.raises(Declined):
            await behind.open(sealed)
        await behind.damages.write()
        assert await ahead.damages.of("default") == []


class Recording:
    async def test_start_and_completion_are_put_on_record_once_and_in_order(self, stores: Stores) -> None:
        told: list[tuple[str, bool, int]] = []

        class Recorder:
            refuses = 1

            async def record_deep_rotation(self, rotation: DeepRotation) -> None:
                if self.refuses:
                    self.refuses -= 1
                    raise KtError("outcome_unknown", "not sure")
                told.append((rotation.id, rotation.completed_at is not None, rotation.rewrapped))

        clock = FixedClock()
        instance = await start(stores, OLD, clock=clock)
        await instance.seal(b"value")
        sender = DeepRotationSender(stores.rotations, Recorder())
        first = await begin(instance)
        with pytest.raises(KtError):
            await sender.send()
        for _ in range(2):
            await sender.send()
        await instance.rotator.work()
        clock.advance(timedelta(seconds=1))
        second = await rotated(instance)
        for _ in range(2):
            await sender.send()
        assert [(rotation_id, completed) for rotation_id, completed, _ in told] == [
            (first.id, False),
            (first.id, True),
            (second.id, False),
            (second.id, True),
        ]
        assert told[1] == (first.id, True, 1)


def changed(row: Any, column: str, how: str) -> Any:
    if column in {"name", "org", "kind"}:
        return how
    raw = getattr(row, column)
    return flipped(raw, 20) if how == "flip" else raw[:-1]
