"""Which keys there are, which master key they are wrapped under, and how much depends on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.keys.application.ports import KeyringStore
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry
from services.keys.domain.master import MasterKey


@dataclass(frozen=True, slots=True)
class KeyUse:
    """An entry and how many sealed values have their data key wrapped under it."""

    entry: KeyringEntry
    sealed_values: int


@dataclass(frozen=True, slots=True)
class KeysStatus:
    """``previous`` are the superseded master keys this process was given."""

    current: str
    previous: tuple[str, ...]
    keys: tuple[KeyUse, ...]


class Status:
    def __init__(self, store: KeyringStore, current: MasterKey, previous: Sequence[MasterKey]) -> None:
        self._store = store
        self._current = current.fingerprint
        self._previous = tuple(master.fingerprint for master in previous)

    async def of(self, org: str) -> KeysStatus:
        """The keys of an org and those that belong to none, oldest first."""
        counts = await self._store.values_by_key()
        entries = [entry for entry in await self._store.entries() if entry.org in (org, SYSTEM_WIDE)]
        return KeysStatus(
            self._current, self._previous, tuple(KeyUse(entry, counts.get(entry.id, 0)) for entry in entries)
        )
