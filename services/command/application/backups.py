"""Commands that put on record what became of everything at once: archives that were made and restored."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events import Resource
from libs.common.events.backup import BackupCreated, BackupEvent, BackupRestored, StreamEnd
from libs.common.names import checked_identity
from libs.common.protocol.backups import RecordBackup, RecordRestore
from libs.common.protocol.command import Recorded
from services.command.application.aggregates import Aggregates
from services.command.domain import backup


@dataclass(frozen=True, slots=True)
class Backups:
    aggregates: Aggregates

    async def record_backup(self, _subject: str, request: RecordBackup) -> Recorded:
        made = request.made
        event = BackupCreated(
            manifest_sha256=made.manifest_sha256,
            taken_at=made.taken_at,
            streams=tuple(StreamEnd(end.stream, end.last) for end in made.streams),
            values=made.values,
            master_fingerprints=made.master_fingerprints,
        )
        return await self._record(event, request)

    async def record_restore(self, _subject: str, request: RecordRestore) -> Recorded:
        event = BackupRestored(request.manifest_sha256, request.taken_at, request.restored_at, request.into)
        return await self._record(event, request)

    async def _record(self, event: BackupEvent, request: RecordBackup | RecordRestore) -> Recorded:
        resource = Resource("backup", checked_identity(request.archive_id))
        sequence = await self.aggregates.carry_out(
            backup.BACKUP, backup.RecordBackup(event), resource, request.caller, request.command_id
        )
        return Recorded(sequence=sequence)
