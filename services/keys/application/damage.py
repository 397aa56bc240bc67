"""Values that were found damaged: remembered when they are met, looked at again when they are listed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from services.keys.application.opening import Rejected, SealedReference, Unsealer
from services.keys.application.ports import DamagedValues
from services.keys.domain.damage import Damage
from services.keys.domain.sealed import Binding, SealedValue, is_sealed_id

log = logging.getLogger(__name__)

MAX_LISTED: Final = 100
MAX_WAITING: Final = 1000
"""More than that at once is not one damaged value after the other, and the log has them all."""

WRITE_EVERY_S: Final = 1.0


class Damages:
    """Implements ``DamageNotes``."""

    def __init__(self, store: DamagedValues, unsealer: Unsealer, clock: Clock) -> None:
        self._store = store
        self._unsealer = unsealer
        self._clock = clock
        self._waiting: dict[str, Damage] = {}

    def note(self, place: Binding, digest: str, why: str) -> None:
        log.warning("sealed_value.undecryptable", extra={"sealed_id": place.sealed_id, "why": why})
        if is_sealed_id(place.sealed_id) and len(self._waiting) < MAX_WAITING:
            damage = Damage(place.sealed_id, place.org, place.kind, place.name, why, self._clock.now(), digest)
            self._waiting[place.sealed_id] = damage

    async def run(self, every_s: float = WRITE_EVERY_S) -> None:
        """Write what was noted, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.write()
            except KtError as error:
                log.warning("damage.not_written", extra={"code": error.code})

    async def write(self) -> None:
        written = list(self._waiting.values())
        if written:
            await self._store.report(written)
            for damage in written:
                if self._waiting.get(damage.sealed_id) is damage:
                    del self._waiting[damage.sealed_id]

    async def of(self, org: str) -> Sequence[Damage]:
        """The damaged values of an org, at most ``MAX_LISTED``. Each is tried again; a repaired one is forgotten."""
        listed = await self._store.listed(org, MAX_LISTED)
        found = await self._unsealer.fetch([damage.sealed_id for damage in listed])
        repaired = [d.sealed_id for d in listed if self._opens(d, found.get(d.sealed_id))]
        if repaired:
            await self._store.forget(repaired)
        return [damage for damage in listed if damage.sealed_id not in repaired]

    def _opens(self, damage: Damage, stored: SealedValue | None) -> bool:
        if stored is None:
            return False
        reference = SealedReference(damage.sealed_id, damage.digest or stored.digest)
        try:
            self._unsealer.unseal(stored, reference, damage.org, damage.kind, damage.name)
        except Rejected:
            return False
        return True
