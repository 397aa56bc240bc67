"""Copies of everything: taken out of the system, and put back into one."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The archive holds ``stream`` up to the sequence ``last``; 0 for an empty one."""

    stream: str
    last: int


@REGISTRY.event("kt.backup.created.v1", action="back_up")
@dataclass(frozen=True, slots=True)
class BackupCreated:
    """An archive of both streams and the sealed store was made. This is on record before the archive has its name.

    ``manifest_sha256`` (hex) is that of the archive's ``manifest.json``; ``taken_at`` (RFC 3339) when the backup
    began; ``values`` how many sealed values are in it, of all orgs, which only the master keys of
    ``master_fingerprints`` open.
    """

    manifest_sha256: str
    taken_at: str
    streams: tuple[StreamEnd, ...]
    values: int
    master_fingerprints: tuple[str, ...]


@REGISTRY.event("kt.backup.restored.v1", action="restore")
@dataclass(frozen=True, slots=True)
class BackupRestored:
    """This system was made of an archive. No value was sealed or opened between the archive's last event and this.

    ``manifest_sha256`` and ``taken_at`` are those of the archive; ``into`` is home or engines; ``restored_at`` (RFC
    3339) when the restore began, which is before the system's first start.
    """

    manifest_sha256: str
    taken_at: str
    restored_at: str
    into: str


BackupEvent = BackupCreated | BackupRestored
