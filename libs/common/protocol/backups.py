"""What is said of backups: by who takes one to the key service, and by that to the command service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from libs.common.ids import derived_id
from libs.common.messaging.rpc import Endpoint, Message
from libs.common.protocol.command import Recorded
from libs.common.protocol.parties import Caller

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def archive_id(manifest_sha256: str) -> str:
    """How an archive is named: an id that follows from the digest of its manifest."""
    return derived_id("backup", manifest_sha256)


class ArchiveEnd(Message):
    """The archive holds a stream up to the sequence ``last``."""

    stream: str
    last: int


class AuthenticateBackup(Message):
    """An archive that is whole but for its mark. ``manifest_sha256`` is the SHA-256, in hex, of its manifest, which
    says the same as the other fields."""

    manifest_sha256: Sha256
    taken_at: str
    streams: tuple[ArchiveEnd, ...]
    values: int
    master_fingerprints: tuple[str, ...]


class AuthenticateBackupReply(Message):
    """``mac``, in hex, shows whoever has the master key that this system made the archive."""

    algorithm: str
    master_fingerprint: str
    mac: str


class RecordBackup(Message):
    """Put on record that an archive is made, before it is marked."""

    command_id: str
    caller: Caller
    archive_id: str
    made: AuthenticateBackup


class RecordRestore(Message):
    """Put on record that the system was made of an archive."""

    command_id: str
    caller: Caller
    archive_id: str
    manifest_sha256: Sha256
    taken_at: str
    restored_at: str
    into: Literal["home", "engines"]


AUTHENTICATE_BACKUP = Endpoint(
    "kt.keys.v1.authenticate_backup",
    "keys",
    AuthenticateBackup,
    AuthenticateBackupReply,
    "Put a backup on record, and a mark on it",
)
RECORD_BACKUP = Endpoint("kt.cmd.v1.backup.created", "command", RecordBackup, Recorded, "Record a backup")
RECORD_RESTORE = Endpoint("kt.cmd.v1.backup.restored", "command", RecordRestore, Recorded, "Record a restore")
