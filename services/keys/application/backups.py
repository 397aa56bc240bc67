"""Backups and restores on their way to the record: of every org whose values are in the sealed store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.protocol.backups import AuthenticateBackup
from services.keys.application.notices import FIRST_ORG
from services.keys.application.ports import BackupRecorder, KeyringStore, RestoreNotices
from services.keys.domain.keyring import SYSTEM_WIDE

log = logging.getLogger(__name__)

RETRY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Backups:
    keyring: KeyringStore
    notices: RestoreNotices
    recorder: BackupRecorder

    async def record_made(self, made: AuthenticateBackup) -> None:
        """Raises: KtError when that it is on record is not sure; the archive must not come into being then."""
        for org in await self._orgs():
            await self.recorder.record_backup(org, made)

    async def record_restores(self, retry_s: float = RETRY_S) -> None:
        """Return once it is on record of what archive the system was made; at once where it was made of none.

        For the start, before anything is answered: a restored system opens no value that is not behind this event.
        """
        while True:
            try:
                for notice in await self.notices.pending_restores():
                    for org in await self._orgs():
                        await self.recorder.record_restore(org, notice)
                    await self.notices.restore_recorded(notice.id)
            except KtError as error:
                log.info("restore_notice.waiting", extra={"code": error.code})
                await asyncio.sleep(retry_s)
            else:
                return

    async def _orgs(self) -> Sequence[str]:
        entries = await self.keyring.entries()
        return sorted({entry.org for entry in entries} - {SYSTEM_WIDE}) or [FIRST_ORG]
