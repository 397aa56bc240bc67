"""The status in words: what can be removed, what still needs what, what is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from services.keys.domain.damage import Damage
from services.keys.domain.deep_rotation import DeepRotation, Requester
from services.keys.domain.keyring import KeyringEntry, Purpose
from services.keys.domain.status import KeysStatus, KeyState, KeyUse, MasterUse, summary
from tests.unit.keys.support import Memory, flipped, master, start

NOW = datetime(2026, 11, 23, tzinfo=UTC)
OLD, NEW = master(1), master(2)


def status(*masters: MasterUse, keys: tuple[KeyUse, ...] = (), wrapped_under: str = "mk-new") -> KeysStatus:
    return KeysStatus(wrapped_under, masters, keys, None, ())


def key(state: KeyState, values: int, purpose: Purpose = Purpose.KEY_ENCRYPTION) -> KeyUse:
    entry = KeyringEntry("key-1", "default", purpose, "AES-256-GCM-SIV", b"", b"", "mk-new", NOW)
    return KeyUse(entry, state, values)


CURRENT = MasterUse("mk-new", "current", 3)


def words(found: KeysStatus) -> str:
    return "\n".join(summary(found))


def test_without_anything_to_do_it_says_what_wraps_what() -> None:
    assert summary(status(CURRENT)) == ("3 keys are wrapped under the master key mk-new.",)


def test_a_previous_key_that_nothing_needs_can_be_removed_but_older_backups_need_it() -> None:
    said = words(status(CURRENT, MasterUse("mk-old", "previous", 0)))
    assert "Nothing needs the previous master key mk-old any more: it can be removed from" in said
    assert "KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS" in said
    assert "Backups of the sealed store from before the rotation open with it and with no other key" in said


def test_a_previous_key_that_is_needed_says_by_how_many_keys() -> None:
    said = words(status(CURRENT, MasterUse("mk-old", "previous", 1)))
    assert "1 key is wrapped under mk-old, which is still needed" in said
    assert "can be removed" not in said


def test_after_a_rotation_was_taken_back_elsewhere_the_instance_left_with_both_keys_says_so() -> None:
    masters = (MasterUse("mk-new", "current", 0), MasterUse("mk-old", "previous", 3))
    said = words(status(*masters, wrapped_under="mk-old"))
    assert "3 keys are wrapped under the master key mk-old." in said
    assert "taken the last rotation back" in said
    assert "Nothing is wrapped under the master key mk-new yet." in said
    assert "can be removed" not in said


def test_a_key_under_a_master_that_was_not_given_is_named() -> None:
    said = words(status(CURRENT, MasterUse("mk-lost", "", 2)))
    assert "2 keys are wrapped under the master key mk-lost, which the key service was not given" in said


def test_damaged_and_kept_keys_say_how_many_values_they_take_with_them() -> None:
    assert "key-1 (key-encryption) is damaged: 12 values under it" in words(
        status(CURRENT, keys=(key(KeyState.DAMAGED, 12),))
    )
    assert "retired key key-1 is kept for 1 value still under it" in words(
        status(CURRENT, keys=(key(KeyState.RETIRED, 1),))
    )


def test_a_running_deep_rotation_says_how_far_it_is_and_its_old_keys_are_not_kept() -> None:
    rotation = DeepRotation("r", "default", "key-2", ("key-1",), "t", 1200, Requester("admin", "a", "q"), NOW, 450)
    found = replace(status(CURRENT, keys=(key(KeyState.RETIRED, 750),)), deep_rotation=rotation)
    assert "A deep rotation is running: 450 of 1,200 data keys wrapped anew." in words(found)
    assert "kept" not in words(found)
    assert "running" not in words(replace(found, deep_rotation=replace(rotation, completed_at=NOW)))


def test_damaged_values_are_counted() -> None:
    damage = Damage("id", "default", "config_variable", "A", "cut short", NOW)
    assert "2 values can't be opened" in words(replace(status(CURRENT), damaged=(damage, damage)))


async def test_the_status_of_a_rotated_keyring_with_a_damaged_and_a_foreign_key() -> None:
    memory = Memory()
    first = await start(memory.stores(), OLD)
    for org in ("default", "acme", "beta"):
        await first.seal(b"value", org=org)
    entries = {entry.org: entry for entry in memory.entries_.values() if entry.purpose == Purpose.KEY_ENCRYPTION}
    instance = await start(memory.stores(), NEW, [OLD])
    await memory.entry(entries["default"].id, wrapped=entries["default"].wrapped, master_fingerprint=OLD.fingerprint)
    await memory.entry(entries["acme"].id, wrapped=flipped(memory.entries_[entries["acme"].id].wrapped))
    alone = await start(memory.stores(), NEW)
    found = await alone.status.of("default")
    assert [(use.fingerprint, use.given, use.keys) for use in found.masters] == [
        (NEW.fingerprint, "current", 4),
        (OLD.fingerprint, "", 1),
    ]
    states = {use.entry.purpose: use.state for use in found.keys}
    assert states == {"canary": "current", "transport": "current", "key-encryption": "foreign"}
    assert [use.state for use in (await alone.status.of("acme")).keys][-1] == "damaged"
    assert "1 key is wrapped under" in words(await instance.status.of("default"))
