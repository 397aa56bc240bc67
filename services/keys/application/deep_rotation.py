"""Deep rotation: new keys first, then every data key wrapped anew in the background, then the old keys destroyed.

All state is in the stores. An instance that dies leaves a batch that was committed or was not; whichever leads next
goes on. New values are sealed under the new key from the first moment, and old ones open under both all the time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from libs.common.errors import KtError
from services.keys.application.forge import Forge
from services.keys.application.keyring import Keyring
from services.keys.application.ports import DeepRotationLead, DeepRotations, KeyringStore, KeyringTransaction
from services.keys.domain.damage import Damage
from services.keys.domain.deep_rotation import DeepRotation, Requester, move, unused
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry, Purpose
from services.keys.domain.sealed import KeyEncryptionKey, SealedValue, is_sealed_id

log = logging.getLogger(__name__)

BATCH: Final = 200
LOOK_EVERY_S: Final = 1.0
SETTLE_S: Final = 0.2
"""Between two looks for stragglers."""

REST: Final = 1.0
"""How long to rest after a batch, as a share of what it took: reads and writes have at least half of the machine."""

LONGEST_REST_S: Final = 1.0
_YIELD_EVERY: Final = 20

TRANSPORT_GRACE: Final = timedelta(minutes=15)
"""How long a retired transport key still opens boxes. The api service asks for the key every five minutes."""

_REPLACED: Final = (Purpose.TRANSPORT, Purpose.CHECKPOINT_SIGNING)
"""Keys of the whole system that a deep rotation replaces too. The one that signs is made on its next use."""

_FIRST: Final = "00000000-0000-0000-0000-000000000000"


class DeepRotator:
    """Starts deep rotations, and does their work on whichever instance leads."""

    def __init__(
        self,
        keyring: Keyring,
        store: KeyringStore,
        rotations: DeepRotations,
        forge: Forge,
        *,
        batch: int = BATCH,
        rest: float = REST,
    ) -> None:
        self._keyring = keyring
        self._store = store
        self._rotations = rotations
        self._forge = forge
        self._batch = batch
        self._rest = rest
        self._wake = asyncio.Event()

    async def start(self, rotation_id: str, org: str, requester: Requester) -> DeepRotation:
        """Give the org a new key-encryption key and the system a new transport key, and return what is to be done.

        A repeated call finds its first outcome, and a call while one runs the one that runs.

        Raises:
            Declined: by a superseded instance; nothing is changed then.
        """
        async with self._store.writing() as keyring:
            known = await keyring.deep_rotation(rotation_id)
            if known is not None and known.org == org:
                return known
            running = await keyring.running_deep_rotation(org)
            forge = await self._keyring.forge_in(keyring)
            entries = await keyring.entries()
            if running is not None and self._keyring.can_read(entries, running.new_key):
                return running
            wanted = running or DeepRotation.wanted(rotation_id, org, requester, forge.clock.now())
            rotation = await self._with_new_keys(keyring, forge, entries, wanted)
        await self._keyring.reload()
        self._wake.set()
        log.info(
            "deep_rotation.started", extra={"rotation": rotation.id, "org": org, "data_keys": rotation.data_keys}
        )
        return rotation

    async def find(self, org: str, rotation_id: str) -> DeepRotation:
        """Raises: KtError ``not_found``."""
        found = await self._rotations.find(org, rotation_id) if is_sealed_id(rotation_id) else None
        if found is None:
            raise KtError("not_found", "There is no such deep rotation.", "`kt keys status` shows the latest one.")
        return found

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Do what is due, until cancelled."""
        while True:
            try:
                await self.work()
            except KtError as error:
                log.warning("deep_rotation.waiting", extra={"code": error.code, "why": error.detail})
            try:
                async with asyncio.timeout(every_s):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def work(self) -> None:
        """Finish the deep rotations that run, then destroy the retired keys that can go. Nothing while superseded, or
        while another instance does it."""
        now = self._forge.clock.now()
        if self._keyring.superseded is not None or not await self._rotations.is_work_due(now - TRANSPORT_GRACE):
            return
        async with self._rotations.leading() as lead:
            if lead is None:
                return
            for rotation in await lead.running():
                await self._rotate(lead, rotation)
            await self._tidy()

    async def _with_new_keys(
        self, keyring: KeyringTransaction, forge: Forge, entries: Sequence[KeyringEntry], wanted: DeepRotation
    ) -> DeepRotation:
        old = [e.id for e in entries if (e.org, e.purpose) == (wanted.org, Purpose.KEY_ENCRYPTION)]
        for entry in entries:
            if entry.id in old or (entry.org == SYSTEM_WIDE and entry.purpose in _REPLACED):
                await keyring.retire(entry.id, forge.clock.now())
        new = forge.new_key(wanted.org, Purpose.KEY_ENCRYPTION)
        transport = forge.new_key(SYSTEM_WIDE, Purpose.TRANSPORT)
        for key in (new, transport):
            await keyring.add(key.entry)
        rotation = replace(
            wanted,
            new_key=new.entry.id,
            old_keys=tuple(old),
            transport_key=transport.entry.id,
            data_keys=sum((await keyring.values_under(old)).values()),
            rewrapped=0,
        )
        await keyring.begin(rotation)
        return rotation

    async def _rotate(self, lead: DeepRotationLead, rotation: DeepRotation) -> None:
        await self._keyring.reload()
        new = self._keyring.key_encryption_key(rotation.new_key)
        if new is None:
            # Superseded, or damaged since; the status says so, and starting the rotation again makes another.
            log.error("deep_rotation.stuck", extra={"rotation": rotation.id, "key": rotation.new_key})
            return
        old = [key for key_id in rotation.old_keys if (key := self._keyring.key_encryption_key(key_id)) is not None]
        while True:
            for key in old:
                await self._move_all(lead, rotation, key, new)
            if await self._finish(rotation, [key.id for key in old]):
                return
            await asyncio.sleep(SETTLE_S)

    async def _move_all(
        self, lead: DeepRotationLead, rotation: DeepRotation, key: KeyEncryptionKey, to: KeyEncryptionKey
    ) -> None:
        after = _FIRST
        while True:
            began = time.monotonic()
            async with lead.batch(rotation.id, key.id, after, self._batch) as batch:
                if not batch.values:
                    return
                after = batch.values[-1].binding.sealed_id
                await batch.save(*await self._moved(rotation.org, batch.values, key, to))
            await asyncio.sleep(min((time.monotonic() - began) * self._rest, LONGEST_REST_S))

    async def _moved(
        self, org: str, values: Sequence[SealedValue], key: KeyEncryptionKey, to: KeyEncryptionKey
    ) -> tuple[list[SealedValue], list[Damage]]:
        moved, damages = [], []
        for number, value in enumerate(values):
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)  # requests are answered in between
            anew, flaw = move(value, key, to, self._forge.nonce())
            if anew is not None:
                moved.append(anew)
            if flaw:
                place = value.binding
                log.warning("sealed_value.damaged", extra={"sealed_id": place.sealed_id, "org": org, "why": flaw})
                now = self._forge.clock.now()
                damages.append(Damage(place.sealed_id, org, place.kind, place.name, flaw, now))
        return moved, damages

    async def _finish(self, rotation: DeepRotation, readable: Sequence[str]) -> bool:
        """Destroy the old keys that nothing depends on, and close the rotation. False while there is more to do."""
        async with self._store.writing() as keyring:
            running = await keyring.deep_rotation(rotation.id)
            if running is None or running.completed_at is not None or running.new_key != rotation.new_key:
                return True
            if not await keyring.is_settled(running, readable):
                return False
            left = await keyring.values_under(running.old_keys)
            destroyed = unused(running.old_keys, left)
            for key_id in destroyed:
                await keyring.destroy(key_id)
            damaged = sum(left.values()) + await keyring.damaged_under(running.new_key)
            await keyring.complete(running.completed(destroyed, damaged, self._forge.clock.now()))
        await self._keyring.reload()
        log.info(
            "deep_rotation.completed",
            extra={
                "rotation": running.id,
                "rewrapped": running.rewrapped,
                "damaged": damaged,
                "destroyed": destroyed,
            },
        )
        return True

    async def _tidy(self) -> None:
        """Destroy retired keys: of transport after a grace, of orgs once what was damaged under them is gone."""
        before = self._forge.clock.now() - TRANSPORT_GRACE
        async with self._store.writing() as keyring:
            retired = [entry for entry in await keyring.entries() if entry.retired_at is not None]
            of_orgs = [entry for entry in retired if entry.purpose == Purpose.KEY_ENCRYPTION]
            left = await keyring.values_under([entry.id for entry in of_orgs])
            idle = [e for e in of_orgs if await keyring.running_deep_rotation(e.org) is None and not left.get(e.id)]
            late = [e for e in retired if e.purpose == Purpose.TRANSPORT and e.retired_at and e.retired_at < before]
            for entry in (*idle, *late):
                await keyring.destroy(entry.id)
                log.info("keyring.key_destroyed", extra={"key": entry.id, "purpose": entry.purpose})
