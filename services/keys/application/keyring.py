"""The keyring in memory: unwrapped keys by id and by use, made on first use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from libs.common.errors import KtError
from libs.common.hpke import BoxPrivateKey
from services.keys.application.forge import Forge
from services.keys.application.open_keyring import wrong_master_key
from services.keys.application.ports import KeyringStore
from services.keys.domain.aead import NotAuthentic
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry, Purpose, UnwrappedKey, unwrap
from services.keys.domain.sealed import KeyEncryptionKey

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransportKey:
    """The private half of what callers box values for; it is the same in every instance."""

    id: str
    private: BoxPrivateKey


class Keyring:
    """The keys this process works with. Built from what ``open_keyring`` returned."""

    def __init__(self, store: KeyringStore, forge: Forge, keys: Iterable[UnwrappedKey]) -> None:
        self._store = store
        self._forge = forge
        self._creating = asyncio.Lock()
        self._boxes: dict[str, BoxPrivateKey] = {}
        self._take(keys)

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
            raise KtError(
                "undecryptable",
                "The value was boxed for a transport key that does not exist.",
                "Ask for the transport key again and repeat the request.",
            )
        return self._box_key(key)

    def key_encryption_key(self, key_id: str) -> KeyEncryptionKey | None:
        """The key with this id, current or retired, if it is known in this process."""
        return self._key_encryption.get(key_id)

    async def current(self, org: str, purpose: Purpose) -> UnwrappedKey:
        """The org's key for new work, made and stored on first use.

        Raises:
            KtError: ``wrong_master_key`` or ``undecryptable`` when this process could not read what is stored: then
                nothing is written.
        """
        key = self._current.get((org, purpose))
        if key is None:
            async with self._creating:
                key = self._current.get((org, purpose)) or await self._find_or_create(org, purpose)
        return key

    async def reload(self) -> None:
        """Learn what other instances added or retired."""
        keys = []
        for entry in await self._store.entries():
            known = self._by_id.get(entry.id)
            try:
                keys.append(replace(known, entry=entry) if known else unwrap(entry, self._forge.master))
            except NotAuthentic:
                log.warning("keyring.entry_unreadable", extra={"key": entry.id, "org": entry.org})
        self._take(keys)

    async def _find_or_create(self, org: str, purpose: Purpose) -> UnwrappedKey:
        async with self._store.writing() as keyring:
            entry = await keyring.current(org, purpose)
            if entry is None:
                self._unwrap(await keyring.current(SYSTEM_WIDE, Purpose.CANARY))
                key = self._forge.new_key(org, purpose)
                await keyring.add(key.entry)
            else:
                key = self._unwrap(entry)
        self._take([*self._by_id.values(), key])
        return key

    def _unwrap(self, entry: KeyringEntry | None) -> UnwrappedKey:
        if entry is None:
            raise KtError(
                "undecryptable",
                "The keyring has lost its first entries since this process opened it. Nothing was written.",
                "Restore the key service's schema from a backup, then restart the key service.",
            )
        try:
            return unwrap(entry, self._forge.master)
        except NotAuthentic:
            if entry.master_fingerprint != self._forge.master.fingerprint:
                raise wrong_master_key([entry.master_fingerprint], self._forge.master) from None
            raise KtError(
                "undecryptable",
                f"The key {entry.id} ({entry.purpose}) is damaged and can't be opened. Nothing was written.",
                "Restore the key service's schema from a backup.",
            ) from None

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

    def _box_key(self, key: UnwrappedKey) -> BoxPrivateKey:
        # Reading an ML-KEM key takes longer than opening a box with it.
        known = self._boxes.get(key.entry.id)
        if known is None:
            known = self._boxes[key.entry.id] = BoxPrivateKey(key.material)
        return known
