"""Opening the keyring at start: the first keys of an empty store, the re-wrap after the master key was changed,
or a refusal that names the key that is needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.errors import KtError
from services.keys.application.forge import Forge
from services.keys.application.notices import rotation_notices
from services.keys.application.ports import KeyringStore, KeyringTransaction
from services.keys.domain.keyring import SYSTEM_WIDE, Inspection, Purpose, UnwrappedKey, inspect
from services.keys.domain.master import VARIABLE, MasterKey

log = logging.getLogger(__name__)

_ALWAYS_THERE = (Purpose.CANARY, Purpose.TRANSPORT)
"""Keys every store has. Nothing at rest depends on them, so a damaged one is replaced."""


@dataclass(frozen=True, slots=True)
class OpenedKeyring:
    """The keys that open, and what was done: how many keys of which master keys were wrapped anew."""

    keys: tuple[UnwrappedKey, ...]
    rewrapped: int
    superseded: tuple[str, ...]


async def open_keyring(store: KeyringStore, forge: Forge, previous: Sequence[MasterKey] = ()) -> OpenedKeyring:
    """Open every entry with the current or a previous master key and leave all of them under the current one.

    One transaction under the keyring's lock: of several processes that start at once with different master keys on
    an empty store, one makes the keys and the others are refused. A damaged entry is logged and left alone, and so is
    one under a key that was not given while most others open: the keyring is only ever wrapped anew as a whole, so
    somebody put that one back.

    Raises:
        KtError: ``wrong_master_key`` when half of the entries or more are wrapped under a key that was not given;
            ``undecryptable`` when the keyring is lost or damaged throughout. Nothing is written then.
    """
    async with store.writing() as keyring:
        entries = await keyring.entries()
        found = inspect(entries, forge.master, previous)
        _refuse_foreign(found, forge.master)
        if not found.current and not found.superseded and (entries or await keyring.has_sealed_values()):
            raise _lost(bool(entries))
        rewrapped = [forge.wrap(key) for key in found.superseded]
        for key in rewrapped:
            await keyring.rewrap(key.entry)
        for notice in rotation_notices(found.superseded, forge):
            await keyring.notice(notice)
        opened = [*found.current, *rewrapped]
        opened += [await _replace(keyring, forge, purpose, found) for purpose in _missing(opened)]
    for event, left_alone in (("keyring.entry_damaged", found.damaged), ("keyring.entry_foreign", found.foreign)):
        for entry in left_alone:
            told = {"key": entry.id, "org": entry.org, "purpose": entry.purpose, "master": entry.master_fingerprint}
            log.error(event, extra=told)
    return OpenedKeyring(
        keys=tuple(opened),
        rewrapped=len(rewrapped),
        superseded=tuple(sorted({key.entry.master_fingerprint for key in found.superseded})),
    )


def _missing(keys: Sequence[UnwrappedKey]) -> list[Purpose]:
    usable = {key.entry.purpose for key in keys if key.entry.retired_at is None}
    return [purpose for purpose in _ALWAYS_THERE if purpose not in usable]


async def _replace(keyring: KeyringTransaction, forge: Forge, purpose: Purpose, found: Inspection) -> UnwrappedKey:
    for entry in (*found.damaged, *found.foreign):
        if entry.purpose == purpose and entry.retired_at is None:
            await keyring.retire(entry.id, forge.clock.now())
    key = forge.new_key(SYSTEM_WIDE, purpose)
    await keyring.add(key.entry)
    return key


def _refuse_foreign(found: Inspection, given: MasterKey) -> None:
    opened = len(found.current) + len(found.superseded)
    if found.foreign and len(found.foreign) >= opened:
        raise _wrong_master_key(sorted({entry.master_fingerprint for entry in found.foreign}), given)


def _wrong_master_key(needed: Sequence[str], given: MasterKey) -> KtError:
    """The refusal; fingerprints name keys and reveal nothing of them."""
    names = " and ".join(needed)
    return KtError(
        "wrong_master_key",
        f"The keyring is wrapped under the master key {names}; the key given is {given.fingerprint}."
        " Nothing was changed.",
        f"Set {VARIABLE} to the key {names}. To change the master key, set {VARIABLE} to the new one and"
        f" {VARIABLE}_PREVIOUS to {names}.",
        extra={"needed": list(needed), "given": given.fingerprint},
    )


def _lost(damaged: bool) -> KtError:
    state = (
        "no entry of the keyring can be opened, although it names the given master key"
        if damaged
        else ("the keyring is empty, but there are sealed values")
    )
    return KtError(
        "undecryptable",
        f"The sealed store is damaged: {state}. Nothing was changed.",
        "Restore the key service's schema from a backup; new keys could not read what is there.",
    )
