"""What opening and using the keyring does, on any store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import Declined
from libs.common.secret import Secret
from services.keys.application.sealing import Sealed
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry, Purpose
from services.keys.domain.master import MasterKey
from services.keys.domain.sealed import Binding
from tests.unit.keys.support import KIND, NAME, Instance, Stores, flipped, master, start

OLD, NEW, OTHER = master(1), master(2), master(3)


async def snapshot(stores: Stores) -> Sequence[KeyringEntry]:
    return sorted(await stores.keyring.entries(), key=lambda entry: entry.id)


async def entry_of(stores: Stores, purpose: Purpose, org: str = SYSTEM_WIDE) -> KeyringEntry:
    return next(e for e in await stores.keyring.entries() if (e.org, e.purpose) == (org, purpose))


async def put_back(stores: Stores, instance: Instance, purpose: Purpose, org: str, master: MasterKey) -> None:
    """Replace how an entry is wrapped, as a restore of that row alone would."""
    key = await instance.keyring.current(org, purpose)
    entry = replace(instance.forge, master=master).wrap(key).entry
    await stores.tamper.entry(entry.id, wrapped=entry.wrapped, master_fingerprint=entry.master_fingerprint)


async def replace_key(stores: Stores, instance: Instance, org: str, purpose: Purpose) -> None:
    async with stores.keyring.writing() as keyring:
        current = await keyring.current(org, purpose)
        assert current is not None
        await keyring.retire(current.id, instance.forge.clock.now())
        await keyring.add(instance.forge.new_key(org, purpose).entry)


async def transport_id(instance: Instance) -> str:
    return (await instance.keyring.transport()).id


class OpeningTheKeyring:
    async def test_an_empty_store_gets_its_first_keys_under_the_given_master_key(self, stores: Stores) -> None:
        await start(stores, OLD)
        entries = await snapshot(stores)
        assert {(e.org, e.purpose) for e in entries} == {("*", "canary"), ("*", "transport")}
        assert {e.master_fingerprint for e in entries} == {OLD.fingerprint}

    async def test_a_second_start_finds_the_same_keys_and_writes_nothing(self, stores: Stores) -> None:
        first = await start(stores, OLD)
        sealed = await first.seal(b"value")
        before = await snapshot(stores)
        second = await start(stores, OLD)
        assert await snapshot(stores) == before
        assert await transport_id(second) == await transport_id(first)
        assert (await second.open(sealed))[0] == {sealed.id: b"value"}

    async def test_another_master_key_is_refused_naming_both_and_touching_nothing(self, stores: Stores) -> None:
        await (await start(stores, OLD)).seal(b"value")
        before = await snapshot(stores)
        with pytest.raises(KtError) as refused:
            await start(stores, NEW)
        assert refused.value.code == "wrong_master_key"
        assert refused.value.extra == {"needed": [OLD.fingerprint], "given": NEW.fingerprint}
        assert OLD.fingerprint in refused.value.detail
        assert NEW.fingerprint in refused.value.detail
        assert await snapshot(stores) == before

    async def test_a_previous_key_opens_the_keyring_and_everything_is_wrapped_anew(self, stores: Stores) -> None:
        before = await start(stores, OLD)
        sealed = await before.seal(b"value")
        after = await start(stores, NEW, [OTHER, OLD])
        assert (after.opened.rewrapped, after.opened.superseded) == (3, (OLD.fingerprint,))
        assert {e.master_fingerprint for e in await snapshot(stores)} == {NEW.fingerprint}
        assert (await after.open(sealed))[0] == {sealed.id: b"value"}

    async def test_after_the_rewrap_the_previous_key_is_not_needed_and_not_enough(self, stores: Stores) -> None:
        sealed = await (await start(stores, OLD)).seal(b"value")
        await start(stores, NEW, [OLD])
        alone = await start(stores, NEW)
        assert alone.opened.rewrapped == 0
        assert (await alone.open(sealed))[0] == {sealed.id: b"value"}
        with pytest.raises(KtError, match=NEW.fingerprint):
            await start(stores, OLD)

    async def test_the_rewrap_changes_nothing_but_the_wrapping(self, stores: Stores) -> None:
        first = await start(stores, OLD)
        await first.seal(b"value")
        await first.client_tokens.json_web_keys("default")
        before = await snapshot(stores)
        await start(stores, NEW, [OLD])
        for was, now in zip(before, await snapshot(stores), strict=True):
            assert (was.id, was.org, was.purpose, was.public, was.created_at) == (
                now.id,
                now.org,
                now.purpose,
                now.public,
                now.created_at,
            )
            assert was.wrapped != now.wrapped

    async def test_half_of_the_keyring_under_an_unknown_key_is_refused_touching_nothing(self, stores: Stores) -> None:
        first = await start(stores, OLD)
        await first.seal(b"value")
        await first.seal(b"value", org="acme")
        for org in ("default", "acme"):
            await put_back(stores, first, Purpose.KEY_ENCRYPTION, org, OTHER)
        before = await snapshot(stores)
        with pytest.raises(KtError, match=OTHER.fingerprint) as refused:
            await start(stores, NEW, [OLD])
        assert refused.value.code == "wrong_master_key"
        assert await snapshot(stores) == before

    async def test_a_key_put_back_from_before_a_rotation_is_isolated_and_named(
        self, stores: Stores, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = await start(stores, OLD)
        lost, kept = await first.seal(b"a", org="acme"), await first.seal(b"b", org="beta")
        old = await entry_of(stores, Purpose.KEY_ENCRYPTION, "acme")
        await start(stores, NEW, [OLD])
        await stores.tamper.entry(old.id, wrapped=old.wrapped, master_fingerprint=old.master_fingerprint)
        alone = await start(stores, NEW)
        assert (await alone.open(kept, org="beta"))[0] == {kept.id: b"b"}
        assert await alone.open(lost, org="acme") == ({}, {lost.id: "undecryptable"})
        with pytest.raises(KtError, match=f"{old.id}.*{OLD.fingerprint}") as refused:
            await alone.seal(b"new", org="acme")
        assert refused.value.code == "undecryptable"
        assert "keyring.entry_foreign" in caplog.messages
        assert await entry_of(stores, Purpose.KEY_ENCRYPTION, "acme") == old

        repaired = await start(stores, NEW, [OLD])
        assert (await repaired.open(lost, org="acme"))[0] == {lost.id: b"a"}
        assert {e.master_fingerprint for e in await snapshot(stores)} == {NEW.fingerprint}

    async def test_a_canary_put_back_from_before_a_rotation_is_replaced(self, stores: Stores) -> None:
        sealed = await (await start(stores, OLD)).seal(b"value")
        old = await entry_of(stores, Purpose.CANARY)
        await start(stores, NEW, [OLD])
        await stores.tamper.entry(old.id, wrapped=old.wrapped, master_fingerprint=old.master_fingerprint)
        alone = await start(stores, NEW)
        assert (await alone.open(sealed))[0] == {sealed.id: b"value"}
        assert (await alone.seal(b"more", org="a-new-org")).outcome == "sealed"

    async def test_two_master_keys_on_an_empty_store_exactly_one_wins(self, stores: Stores) -> None:
        outcomes = await asyncio.gather(*(start(stores, key) for key in (OLD, NEW, OLD, NEW)), return_exceptions=True)
        winners = [o for o in outcomes if isinstance(o, Instance)]
        losers = [o for o in outcomes if isinstance(o, KtError)]
        assert (len(winners), len(losers)) == (2, 2)
        assert await transport_id(winners[0]) == await transport_id(winners[1])
        assert {loser.code for loser in losers} == {"wrong_master_key"}
        assert len(await snapshot(stores)) == 2

    @pytest.mark.parametrize("column", ["wrapped", "public"])
    async def test_a_damaged_transport_key_is_replaced(self, stores: Stores, column: str) -> None:
        first = await start(stores, OLD)
        sealed = await first.seal(b"value")
        entry = await entry_of(stores, Purpose.TRANSPORT)
        await stores.tamper.entry(entry.id, **{column: flipped(getattr(entry, column))})
        second = await start(stores, OLD)
        assert await transport_id(second) != await transport_id(first)
        assert (await second.open(sealed))[0] == {sealed.id: b"value"}
        assert (await second.seal(b"another")).outcome == "sealed"

    async def test_a_damaged_canary_is_replaced_when_other_entries_prove_the_master_key(self, stores: Stores) -> None:
        await start(stores, OLD)
        canary = await entry_of(stores, Purpose.CANARY)
        await stores.tamper.entry(canary.id, wrapped=canary.wrapped[:20])
        second = await start(stores, OLD)
        assert (await second.seal(b"value", org="a-new-org")).outcome == "sealed"
        third = await start(stores, OLD)
        assert await transport_id(third) == await transport_id(second)

    async def test_a_damaged_key_is_isolated_and_the_other_orgs_go_on(self, stores: Stores) -> None:
        first = await start(stores, OLD)
        lost, kept = await first.seal(b"a", org="acme"), await first.seal(b"b", org="beta")
        entry = await entry_of(stores, Purpose.KEY_ENCRYPTION, "acme")
        await stores.tamper.entry(entry.id, wrapped=flipped(entry.wrapped))
        second = await start(stores, OLD)
        assert (await second.open(kept, org="beta"))[0] == {kept.id: b"b"}
        assert await second.open(lost, org="acme") == ({}, {lost.id: "undecryptable"})
        with pytest.raises(KtError, match=entry.id) as refused:
            await second.seal(b"new", org="acme")
        assert refused.value.code == "undecryptable"

    @pytest.mark.parametrize("column", ["org", "purpose", "algorithm"])
    async def test_an_entry_moved_to_another_use_does_not_open(self, stores: Stores, column: str) -> None:
        first = await start(stores, OLD)
        sealed = await first.seal(b"value", org="acme")
        entry = await entry_of(stores, Purpose.KEY_ENCRYPTION, "acme")
        await stores.tamper.entry(entry.id, **{column: "beta"})
        second = await start(stores, OLD)
        assert await second.open(sealed, org="acme") == ({}, {sealed.id: "undecryptable"})

    async def test_a_keyring_damaged_throughout_is_refused(self, stores: Stores) -> None:
        await start(stores, OLD)
        for entry in await stores.keyring.entries():
            await stores.tamper.entry(entry.id, wrapped=flipped(entry.wrapped))
        before = await snapshot(stores)
        with pytest.raises(KtError) as refused:
            await start(stores, OLD)
        assert refused.value.code == "undecryptable"
        assert await snapshot(stores) == before

    async def test_a_lost_keyring_is_not_made_anew_over_sealed_values(self, stores: Stores) -> None:
        await (await start(stores, OLD)).seal(b"value")
        await stores.tamper.drop_entries()
        with pytest.raises(KtError, match="keyring is empty") as refused:
            await start(stores, OLD)
        assert refused.value.code == "undecryptable"
        assert await snapshot(stores) == []

    async def test_a_wrong_label_on_an_entry_that_opens_is_put_right(self, stores: Stores) -> None:
        await start(stores, OLD)
        canary = await entry_of(stores, Purpose.CANARY)
        await stores.tamper.entry(canary.id, master_fingerprint=OTHER.fingerprint)
        assert (await start(stores, OLD)).opened.rewrapped == 1
        assert {e.master_fingerprint for e in await snapshot(stores)} == {OLD.fingerprint}


class UsingTheKeyring:
    async def test_a_key_is_made_once_however_many_ask_first(self, stores: Stores) -> None:
        instances = [await start(stores, OLD) for _ in range(3)]
        await asyncio.gather(*(instance.seal(b"value") for instance in instances * 4))
        keys = [e for e in await stores.keyring.entries() if e.purpose == Purpose.KEY_ENCRYPTION]
        assert len(keys) == 1

    async def test_every_org_has_a_key_of_its_own(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        sealed = [await instance.seal(b"value", org=org) for org in ("acme", "beta", "acme")]
        assert sealed[0].key_id == sealed[2].key_id != sealed[1].key_id

    async def test_an_instance_left_behind_by_a_rotation_goes_on_with_what_it_has(self, stores: Stores) -> None:
        behind = await start(stores, OLD)
        sealed = await behind.seal(b"value")
        await start(stores, NEW, [OLD])
        assert (await behind.open(sealed))[0] == {sealed.id: b"value"}
        assert (await behind.seal(b"more")).outcome == "sealed"

    async def test_an_instance_left_behind_declines_what_takes_a_key_it_does_not_have(self, stores: Stores) -> None:
        behind = await start(stores, OLD)
        ahead = await start(stores, NEW, [OLD])
        before = await snapshot(stores)
        for _ in range(2):
            with pytest.raises(Declined, match=f"{OLD.fingerprint}.*{NEW.fingerprint}"):
                await behind.seal(b"value", org="a-new-org")
        assert await snapshot(stores) == before
        sealed = await ahead.seal(b"value", org="a-new-org")
        with pytest.raises(Declined):
            await behind.open(sealed, org="a-new-org")
        await replace_key(stores, ahead, "a-new-org", Purpose.KEY_ENCRYPTION)
        await replace_key(stores, ahead, SYSTEM_WIDE, Purpose.TRANSPORT)
        box = await (await start(stores, NEW)).box(b"value", "a-new-org")
        with pytest.raises(Declined):
            await behind.sealing.seal(Binding.checked("a-new-org", KIND, NAME, str(uuid.uuid4())), *box)
        with pytest.raises(Declined):
            behind.keyring.decline_if_superseded()
        assert behind.keyring.superseded is not None

    async def test_an_instance_that_has_both_keys_works_on_through_a_rotation_and_back(self, stores: Stores) -> None:
        either = await start(stores, OLD, [NEW])
        sealed: list[Sealed] = []
        other = either
        for current, previous in ((NEW, OLD), (OLD, NEW), (NEW, OLD)):
            other = await start(stores, current, [previous])
            for instance in (either, other):
                sealed.append(await instance.seal(b"value", org=f"org-{len(sealed)}"))
            assert {e.master_fingerprint for e in await snapshot(stores)} == {current.fingerprint}
        assert either.keyring.superseded is None
        for number, one in enumerate(sealed):
            for instance in (either, other):
                assert (await instance.open(one, org=f"org-{number}"))[0] == {one.id: b"value"}

    async def test_when_the_rotation_is_taken_back_an_instance_left_behind_takes_part_again(
        self, stores: Stores
    ) -> None:
        behind = await start(stores, OLD)
        await start(stores, NEW, [OLD])
        with pytest.raises(Declined):
            await behind.seal(b"value", org="acme")
        await start(stores, OLD, [NEW])
        assert (await behind.seal(b"value", org="acme")).outcome == "sealed"
        assert behind.keyring.superseded is None

    async def test_first_keys_of_an_org_made_in_the_middle_of_a_rotation_are_all_under_the_new_master(
        self, stores: Stores
    ) -> None:
        old = [await start(stores, OLD) for _ in range(2)]
        ahead = await start(stores, NEW, [OLD])
        outcomes = await asyncio.gather(
            *(instance.seal(b"value", org="acme") for instance in (*old, ahead, *old)), return_exceptions=True
        )
        assert [type(o) for o in outcomes if isinstance(o, Exception)] == [Declined] * 4
        keys = [e for e in await snapshot(stores) if e.purpose == Purpose.KEY_ENCRYPTION]
        assert [e.master_fingerprint for e in keys] == [NEW.fingerprint]

    async def test_the_revision_tells_every_change_of_the_keyring(self, stores: Stores) -> None:
        seen = [await stores.keyring.revision()]
        instance = await start(stores, OLD)
        seen.append(await stores.keyring.revision())
        await instance.seal(b"value")
        seen.append(await stores.keyring.revision())
        await replace_key(stores, instance, "default", Purpose.KEY_ENCRYPTION)
        seen.append(await stores.keyring.revision())
        await start(stores, NEW, [OLD])
        seen.append(await stores.keyring.revision())
        assert len(set(seen)) == 5
        await start(stores, NEW)
        assert await stores.keyring.revision() == seen[-1]

    async def test_no_key_is_written_into_a_store_that_was_emptied(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        await stores.tamper.drop_entries()
        with pytest.raises(KtError, match="lost its first entries"):
            await instance.seal(b"value")
        assert await snapshot(stores) == []

    async def test_a_value_sealed_by_another_instance_opens(self, stores: Stores) -> None:
        one, other = await start(stores, OLD), await start(stores, OLD)
        sealed = await other.seal(b"value")
        assert (await one.open(sealed))[0] == {sealed.id: b"value"}

    async def test_a_key_retired_elsewhere_is_not_used_again_but_still_opens(self, stores: Stores) -> None:
        instance, other = await start(stores, OLD), await start(stores, OLD)
        old = await instance.seal(b"old")
        async with stores.keyring.writing() as keyring:
            await keyring.retire(old.key_id, other.forge.clock.now())
            replacement = other.forge.new_key("default", Purpose.KEY_ENCRYPTION)
            await keyring.add(replacement.entry)
        new = await instance.seal(b"new")
        assert new.key_id == replacement.entry.id
        assert (await instance.open(old, new))[0] == {old.id: b"old", new.id: b"new"}

    async def test_status_names_keys_their_master_and_what_depends_on_them(self, stores: Stores) -> None:
        instance = await start(stores, NEW, [OLD])
        await instance.seal(b"a")
        sealed = await instance.seal(b"b")
        await instance.seal(b"c", org="acme")
        status = await instance.status.of("default")
        assert (status.current, status.previous) == (NEW.fingerprint, (OLD.fingerprint,))
        assert {(use.entry.org, use.entry.purpose, use.sealed_values) for use in status.keys} == {
            ("*", "canary", 0),
            ("*", "transport", 0),
            ("default", "key-encryption", 2),
        }
        assert sealed.key_id in {use.entry.id for use in status.keys}

    async def test_no_wrapped_key_contains_key_material(self, stores: Stores) -> None:
        instance = await start(stores, OLD)
        key = await instance.keyring.current("default", Purpose.KEY_ENCRYPTION)
        stored = b"".join(e.wrapped + e.public for e in await stores.keyring.entries())
        assert key.material.reveal() not in stored
        assert Secret(b"") != key.material
