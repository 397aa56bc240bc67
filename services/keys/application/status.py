"""Which keys there are, which master key they are wrapped under, what depends on each, and what is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from services.keys.application.damage import Damages
from services.keys.application.ports import DeepRotations, KeyringStore
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry, Purpose, unwrap_with_any
from services.keys.domain.master import MasterKey
from services.keys.domain.status import KeysStatus, KeyState, KeyUse, MasterUse


class Status:
    """``masters``: what this process was given, the current one first."""

    def __init__(
        self, store: KeyringStore, rotations: DeepRotations, damages: Damages, masters: Sequence[MasterKey]
    ) -> None:
        self._store = store
        self._rotations = rotations
        self._damages = damages
        self._masters = tuple(masters)

    async def of(self, org: str) -> KeysStatus:
        """The keys of an org and those that belong to none, oldest first."""
        entries = await self._store.entries()
        own = [entry for entry in entries if entry.org in (org, SYSTEM_WIDE)]
        counts = await self._store.values_under([e.id for e in own if e.purpose == Purpose.KEY_ENCRYPTION])
        return KeysStatus(
            wrapped_under=next((e.master_fingerprint for e in entries if _is_canary(e)), ""),
            masters=self._uses(entries),
            keys=tuple(KeyUse(entry, self._state(entry), counts.get(entry.id, 0)) for entry in own),
            deep_rotation=await self._rotations.latest(org),
            damaged=tuple(await self._damages.of(org)),
        )

    def _uses(self, entries: Sequence[KeyringEntry]) -> tuple[MasterUse, ...]:
        given = dict.fromkeys((master.fingerprint for master in self._masters), "previous")
        given[self._masters[0].fingerprint] = "current"
        keys = Counter(entry.master_fingerprint for entry in entries)
        named = [*given, *sorted(keys.keys() - given.keys())]
        return tuple(MasterUse(name, given.get(name, ""), keys[name]) for name in named)

    def _state(self, entry: KeyringEntry) -> KeyState:
        if unwrap_with_any(entry, self._masters) is None:
            known = entry.master_fingerprint in {master.fingerprint for master in self._masters}
            return KeyState.DAMAGED if known else KeyState.FOREIGN
        return KeyState.CURRENT if entry.retired_at is None else KeyState.RETIRED


def _is_canary(entry: KeyringEntry) -> bool:
    return entry.purpose == Purpose.CANARY and entry.retired_at is None
