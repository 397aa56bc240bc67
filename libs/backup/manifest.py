"""What an archive says of itself. The members are described in docs/reference/backup-format.md."""

from __future__ import annotations

from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from libs.backup.archive import Archive, damaged
from libs.common.errors import KtError

FORMAT: Final = "keeptrusts-backup"
VERSION: Final = 1

HEADER: Final = "backup.json"
MANIFEST: Final = "manifest.json"
AUTHENTICATION: Final = "authentication.json"
INDEX: Final = "sealed-store/index.jsonl.gz"
KEYRING: Final = "sealed-store/keyring.jsonl.gz"
VALUES: Final = "sealed-store/values.jsonl.gz"


def snapshot_member(stream: str) -> str:
    return f"streams/{stream}.snapshot"


class _Document(BaseModel):
    """Members that a later release adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Header(_Document):
    format: str = FORMAT
    version: int = VERSION


class Segment(_Document):
    """``sha256`` is over the messages from ``first`` to ``through`` (libs.backup.streams.ContentDigest)."""

    first: int
    through: int
    sha256: str


class StreamPart(_Document):
    """A stream as of ``last_sequence``. An empty one has ``first_sequence`` one above it."""

    name: str
    member: str
    first_sequence: int
    last_sequence: int
    messages: int
    state: dict[str, object]
    segments: tuple[Segment, ...]


class SealedStorePart(_Document):
    """The sealed store as of the event with the sequence ``as_of_sequence``, which is behind the stream's end."""

    as_of_sequence: int
    keys: int
    values: int
    indexed: int
    """How many values the events name; what is indexed and has no value was destroyed."""
    unreadable_events: int
    master_fingerprints: tuple[str, ...]
    """Of the master keys that the keyring is wrapped under; without them no value can be read."""


class Part(_Document):
    member: str
    bytes: int
    sha256: str


class Manifest(_Document):
    format: str = FORMAT
    version: int = VERSION
    created_at: str
    software_version: str
    streams: tuple[StreamPart, ...]
    sealed_store: SealedStorePart
    parts: tuple[Part, ...]

    def stream(self, name: str) -> StreamPart:
        """Raises: KtError ``backup_damaged`` when there is none of this name."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise damaged(f"it holds no stream {name}")

    def to_json(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


class Authentication(_Document):
    """Who made the archive: HMAC-SHA-256 over the manifest, under a key that follows from the master key."""

    algorithm: str
    master_fingerprint: str
    mac: str


def read_manifest(archive: Archive) -> Manifest:
    """
    Raises:
        KtError: ``backup_damaged``; ``invalid_request`` for an archive of a newer form.
    """
    check_version(archive)
    try:
        manifest = Manifest.model_validate_json(archive.small(MANIFEST))
    except ValidationError:
        raise damaged(f"{MANIFEST} can't be read") from None
    described = {part.member: (part.bytes, part.sha256) for part in manifest.parts}
    found = {name: (member.size, archive.digest(name)) for name, member in archive.members.items()}
    if any(found.get(name) != part for name, part in described.items()):
        raise damaged(f"{MANIFEST} does not describe what is in it")
    return manifest


def check_version(archive: Archive) -> None:
    """Raises: as :func:`read_manifest`."""
    try:
        header = Header.model_validate_json(archive.small(HEADER))
    except ValidationError:
        raise damaged(f"{HEADER} can't be read") from None
    if header.format != FORMAT:
        raise damaged(f"{HEADER} names another format")
    if header.version != VERSION:
        raise KtError(
            "invalid_request",
            f"The archive has the form {header.version}; this release reads form {VERSION}.",
            "Use the release that made it, or a newer one.",
        )


def read_authentication(archive: Archive) -> Authentication:
    """Raises: KtError ``backup_damaged``."""
    try:
        return Authentication.model_validate_json(archive.small(AUTHENTICATION))
    except ValidationError:
        raise damaged(f"{AUTHENTICATION} can't be read") from None
