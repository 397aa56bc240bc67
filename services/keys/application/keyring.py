"""The keyring in memory: unwrapped keys by id and by use, made on first use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import KtError
from libs.common.hpke import BoxPrivateKey
from libs.common.messaging.rpc import Declined
from services.keys.application.forge import Forge
from services.keys.application.ports import KeyringStore, KeyringTransaction
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry, Purpose, UnwrappedKey, unwrap_with_any
from services.keys.domain.master import VARIABLE, MasterKey
from services.keys.domain.sealed import KeyEncryptionKey

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransportKey:
    """The private half of what callers box values for; it is the same in every instance."""

    id: str
    private: BoxPrivateKey


class Keyring:
    """The keys this process works with. Built from what ``open_keyring`` returned.

    An instance is *superseded* once another one has wrapped the keyring under a master key that this one was not
    given. It goes on with the keys it has in memory and declines what takes others.
    """

    def __init__(
        self, store: KeyringStore, forge: Forge, keys: Iterable[UnwrappedKey], previous: Sequence[MasterKey] = ()
    ) -> None:
        self._store = store
        self._forge = forge
        self._masters = (forge.master, *previous)
        self._creating = asyncio.Lock()
        self._boxes: dict[str, BoxPrivateKey] = {}
        self._needed = ""
        self._take(keys)

    @property
    def superseded(self) -> Declined | None:
        """The refusal of what this instance can't do, while it is superseded."""
        given = [master.fingerprint for master in self._masters]
        return _superseded(self._needed, given) if self._needed else None

    @property
    def fingerprint(self) -> str:
        """That of the current master key of this process."""
        return self._forge.master.fingerprint

    async def transport(self) -> TransportKey:
        """The key that values are to be boxed for."""
        key = await self.current(SYSTEM_WIDE, Purpose.TRANSPORT)
        return TransportKey(key.entry.id, self._box_key(key))

    async def transport_key(self, key_id: str) -> BoxPrivateKey:
        """The transport key with this id, current or retired, this instance's or another's.

        Raises:
            KtError: ``undecryptable`` when there is none.
        """
        if key_id not in self._by_id:
            await self.reload()
        key = self._by_id.get(key_id)
        if key is None or key.entry.purpose != Purpose.TRANSPORT:
            self.decline_if_superseded()
            raise KtError(
                "undecryptable",
                "The value was boxed for a transport key that does not exist.",
                "Ask for the transport key again and repeat the request.",
            )
        return self._box_key(key)

    def key_encryption_key(self, key_id: str) -> KeyEncryptionKey | None:
        """The key with this id, current or retired, if it is known in this process."""
        return self._key_encryption.get(key_id)

    def retired(self, org: str, purpose: Purpose, since: datetime) -> list[UnwrappedKey]:
        """Keys that were in use until then or later, the newest first."""
        found = [
            (key.entry.retired_at, key)
            for key in self._by_id.values()
            if (key.entry.org, key.entry.purpose) == (org, purpose)
        ]
        late = [(moment, key) for moment, key in found if moment is not None and moment >= since]
        return [key for _, key in sorted(late, key=lambda pair: pair[0], reverse=True)]

    async def current(self, org: str, purpose: Purpose) -> UnwrappedKey:
        """The org's key for new work, made and stored on first use.

        Raises:
            Declined: it takes a master key that this instance was not given.
            KtError: ``undecryptable`` when what is stored is damaged. Nothing is written, either way.
        """
        key = self._current.get((org, purpose))
        if key is None:
            async with self._creating:
                key = self._current.get((org, purpose)) or await self._find_or_create(org, purpose)
        return key

    async def reload(self) -> None:
        """Learn what other instances added, retired, destroyed, or wrapped anew."""
        keys, unreadable = [], []
        entries = await self._store.entries()
        for entry in entries:
            known = self._by_id.get(entry.id)
            opened = unwrap_with_any(entry, self._masters) if known is None else None
            if known is not None:
                keys.append(replace(known, entry=entry))
            elif opened is not None:
                keys.append(opened[0])
            else:
                unreadable.append(entry)
        self._look_at_canary(next((e for e in entries if _is_canary(e)), None))
        for entry in unreadable if self.superseded is None else ():
            log.warning("keyring.entry_unreadable", extra={"key": entry.id, "org": entry.org})
        self._take(keys)

    def decline_if_superseded(self) -> None:
        """Raises: Declined."""
        refusal = self.superseded
        if refusal is not None:
            raise refusal

    def can_read(self, entries: Iterable[KeyringEntry], key_id: str) -> bool:
        """Whether there is an entry with this id among these, and it opens."""
        return any(e.id == key_id and unwrap_with_any(e, self._masters) is not None for e in entries)

    async def forge_in(self, keyring: KeyringTransaction) -> Forge:
        """What makes new keys for the keyring as it is in this transaction: under the master key it is wrapped under.

        Raises:
            Declined: this process was not given that master key.
            KtError: ``undecryptable`` when the keyring is lost or damaged.
        """
        canary = await keyring.current(SYSTEM_WIDE, Purpose.CANARY)
        master = self._look_at_canary(canary)
        self.decline_if_superseded()
        if master is None:
            raise _lost(canary)
        return replace(self._forge, master=master)

    async def _find_or_create(self, org: str, purpose: Purpose) -> UnwrappedKey:
        async with self._store.writing() as keyring:
            entry = await keyring.current(org, purpose)
            if entry is None:
                key = (await self.forge_in(keyring)).new_key(org, purpose)
                await keyring.add(key.entry)
            else:
                self._look_at_canary(await keyring.current(SYSTEM_WIDE, Purpose.CANARY))
                key = self._unwrap(entry)
        self._take([*self._by_id.values(), key])
        return key

    def _unwrap(self, entry: KeyringEntry) -> UnwrappedKey:
        opened = unwrap_with_any(entry, self._masters)
        if opened is None:
            self.decline_if_superseded()
            raise _unreadable(entry, self._masters)
        return opened[0]

    def _look_at_canary(self, canary: KeyringEntry | None) -> MasterKey | None:
        """The master key the keyring is wrapped under, if this process has it."""
        opened = None if canary is None else unwrap_with_any(canary, self._masters)
        given = [master.fingerprint for master in self._masters]
        needed = "" if canary is None or opened is not None else canary.master_fingerprint
        if needed in given:
            needed = ""  # damaged, not wrapped anew
        if needed and needed != self._needed:
            log.warning("keyring.superseded", extra={"needed": needed, "given": given})
        elif self._needed and not needed:
            log.info("keyring.not_superseded", extra={"given": given})
        self._needed = needed
        return opened[1] if opened else None

    def _take(self, keys: Iterable[UnwrappedKey]) -> None:
        self._by_id = {key.entry.id: key for key in keys}
        self._key_encryption = {
            key_id: KeyEncryptionKey(key_id, key.material)
            for key_id, key in self._by_id.items()
            if key.entry.purpose == Purpose.KEY_ENCRYPTION
        }
        self._current = {
            (key.entry.org, key.entry.purpose): key for key in self._by_id.values() if key.entry.retired_at is None
        }
        self._boxes = {key_id: box for key_id, box in self._boxes.items() if key_id in self._by_id}

    def _box_key(self, key: UnwrappedKey) -> BoxPrivateKey:
        # Reading an ML-KEM key takes longer than opening a box with it.
        known = self._boxes.get(key.entry.id)
        if known is None:
            known = self._boxes[key.entry.id] = BoxPrivateKey(key.material)
        return known


def _is_canary(entry: KeyringEntry) -> bool:
    return entry.purpose == Purpose.CANARY and entry.retired_at is None


def _superseded(needed: str, given: Sequence[str]) -> Declined:
    return Declined(
        "unavailable",
        f"This instance of the key service was given the master key {' and '.join(given)}; the keyring is wrapped"
        f" under {needed} by now.",
        f"Restart it with {VARIABLE} set to the key {needed}.",
        extra={"needed": [needed], "given": given[0]},
    )


def _lost(canary: KeyringEntry | None) -> KtError:
    what = "lost its first entries" if canary is None else "been damaged"
    return KtError(
        "undecryptable",
        f"The keyring has {what} since this process opened it. Nothing was written.",
        "Restore the key service's schema from a backup, then restart the key service.",
    )


def _unreadable(entry: KeyringEntry, masters: Sequence[MasterKey]) -> KtError:
    name = f"The key {entry.id} ({entry.purpose})"
    if entry.master_fingerprint in [master.fingerprint for master in masters]:
        return KtError(
            "undecryptable",
            f"{name} is damaged and can't be opened. Nothing was written.",
            "Restore the key service's schema from a backup.",
        )
    return KtError(
        "undecryptable",
        f"{name} is wrapped under the master key {entry.master_fingerprint}, unlike the rest of the keyring."
        " Nothing was written.",
        f"If it was put back from a backup, restart the key service with {entry.master_fingerprint} among"
        f" {VARIABLE}_PREVIOUS.",
    )
