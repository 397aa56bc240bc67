"""Rotations of keys on their way to the record.

What has to be told commits with the change, so a rotation is on record even when the process dies right behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from services.keys.application.forge import Forge
from services.keys.application.ports import (
    DeepRotationRecorder,
    DeepRotations,
    RotationNotice,
    RotationNotices,
    RotationRecorder,
)
from services.keys.domain.keyring import SYSTEM_WIDE, UnwrappedKey

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
LOOK_EVERY_S: Final = 1.0
FIRST_ORG: Final = "default"
"""Whose record tells of a rotation before any org has a key."""


def rotation_notices(superseded: Sequence[UnwrappedKey], forge: Forge) -> list[RotationNotice]:
    """One notice for each org with keys and each master key they were wrapped under before."""
    counts = Counter((key.entry.master_fingerprint, key.entry.org) for key in superseded)
    notices = []
    for fingerprint in sorted({before for before, _ in counts}):
        system_wide = counts[fingerprint, SYSTEM_WIDE]
        orgs = sorted(org for before, org in counts if before == fingerprint and org != SYSTEM_WIDE) or [FIRST_ORG]
        for org in orgs:
            rewrapped = counts[fingerprint, org] + system_wide
            notices.append(RotationNotice(forge.ids.new(), org, fingerprint, forge.master.fingerprint, rewrapped))
    return notices


@dataclass(frozen=True, slots=True)
class NoticeSender:
    notices: RotationNotices
    recorder: RotationRecorder

    async def run(self, retry_s: float = RETRY_S) -> None:
        """Put every pending notice on record, then wait to be cancelled: new ones only come with a start."""
        while True:
            try:
                for notice in await self.notices.pending():
                    await self.recorder.record(notice)
                    await self.notices.done(notice.id)
                break
            except KtError as error:
                log.info("rotation_notice.waiting", extra={"code": error.code})
                await asyncio.sleep(retry_s)
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class DeepRotationSender:
    """Puts the start and the completion of deep rotations on record, in this order."""

    rotations: DeepRotations
    recorder: DeepRotationRecorder

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.send()
            except KtError as error:
                log.info("deep_rotation.record_waiting", extra={"code": error.code})
            await asyncio.sleep(every_s)

    async def send(self) -> None:
        for stage in await self.rotations.unrecorded():
            await self.recorder.record_deep_rotation(stage)
            await self.rotations.recorded(stage)
