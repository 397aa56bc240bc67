"""Manifests of exports: what an export holds, signed, so that a directory can be checked with a public key alone.

An export is a directory: the files that the manifest names, ``manifest.json`` (canonical JSON) and ``manifest.note``,
a signed note (C2SP signed-note) over its digest. The note is signed under a name of its own, which is that of no log,
so that it can't pass for a checkpoint nor a checkpoint for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libs.common.canonical import canonical_json
from libs.common.transparency.merkle import HASH_BYTES, NotProven
from libs.common.transparency.note import (
    ED25519,
    Checkpoint,
    Note,
    VerifierKey,
    bytes_of_base64,
    signers,
    verified_checkpoint,
)
from libs.common.transparency.origin import ALL_ORGS, LogOrigin, export_origin

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.note"
VERSION: Final = "keeptrusts-export/v1"
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024

_TEXT: Final = "export manifest v1"
_SHA256 = r"^[0-9a-f]{64}$"
_SEQUENCE_DIGITS: Final = 12


class Format(StrEnum):
    """NDJSON holds the stored bytes, one document a line; the others are made from them."""

    NDJSON = "ndjson"
    OCSF = "ocsf"
    CSV = "csv"
    PARQUET = "parquet"


EXTENSIONS: Final = {
    Format.NDJSON: "ndjson.zst",
    Format.OCSF: "ocsf.ndjson.zst",
    Format.CSV: "csv",
    Format.PARQUET: "parquet",
}
PROOFS: Final = "proofs.ndjson.zst"
_NAME: Final = re.compile(
    rf"(KT_[A-Z]+)-([0-9]{{{_SEQUENCE_DIGITS},16}})-([0-9]{{{_SEQUENCE_DIGITS},16}})\.([a-z.]+)", re.ASCII
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


Count = Annotated[int, Field(ge=0, le=2**53 - 1)]


class ProofsFile(_Part):
    """Inclusion proofs of a file's rows, in their order: one ``{"path":[…],"sequence":…}`` a line, zstd."""

    name: str
    bytes: Count
    sha256: str = Field(pattern=_SHA256)


class ExportedFile(_Part):
    """The rows of a stream from ``first`` up to ``last``.

    ``contiguous``: it holds every one of them, and ``left`` and ``right`` (base64) are the hashes of the perfect
    subtrees before and behind them, which lead to the checkpoint's root. Otherwise each row has its own proof.
    """

    name: str
    stream: str
    first: int = Field(ge=1)
    last: int = Field(ge=1)
    rows: Count
    bytes: Count
    sha256: str = Field(pattern=_SHA256)
    contiguous: bool
    left: list[str]
    right: list[str]
    proofs: ProofsFile | None


class ExportedLog(_Part):
    """What is meant of one stream: sequences from ``first`` up to ``last``; nothing when that is smaller.

    ``checkpoint`` is the signed note that covers them, empty for a stream that has no entries. Entries whose index
    (sequence - 1) is below ``minimum`` are not kept any more.
    """

    stream: str
    first: Count
    last: Count
    rows: Count
    minimum: Count
    checkpoint: str


class Requester(_Part):
    type: str
    id: str


class Manifest(_Part):
    """``complete``: no filter, and every entry of the ranges is there. ``begins`` and ``ends`` are as they were asked
    for, RFC 3339 or empty; the range holds at least what was recorded from ``begins`` until before ``ends``."""

    version: str = Field(pattern=rf"^{VERSION}$")
    id: str
    installation: str
    org: str
    format: str
    schema_version: str
    filter: str
    begins: str
    ends: str
    requested_at: str
    requester: Requester
    complete: bool
    logs: list[ExportedLog]
    files: list[ExportedFile]

    def encoded(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """
        Raises:
            NotProven: it is no manifest; bytes in front of it or behind it make it none.
        """
        if len(raw) > MAX_MANIFEST_BYTES:
            raise NotProven(f"the manifest is longer than {MAX_MANIFEST_BYTES} bytes")
        try:
            found = cls.model_validate_json(raw)
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_input=False, include_context=False)[0]["loc"]))
            raise NotProven(f"the manifest has not the form of one{f', at {place}' if place else ''}") from None
        if found.encoded() != raw:
            raise NotProven("the manifest is not the one canonical form of its content")
        found.check()
        return found

    def check(self) -> None:
        """That its parts fit together.

        Raises:
            NotProven: naming what does not.
        """
        if self.format not in set(Format):
            raise NotProven("the manifest names a format that is not known here")
        names = [name for file in self.files for name in names_of(file)]
        if len(set(names)) != len(names):
            raise NotProven("the manifest names a file twice")
        streams = [log.stream for log in self.logs]
        if len(set(streams)) != len(streams) or not {file.stream for file in self.files} <= set(streams):
            raise NotProven("the manifest's files and logs do not belong together")
        for log in self.logs:
            self._check_log(log, [file for file in self.files if file.stream == log.stream])
        whole = not self.filter and all(self._holds_all_of(log) for log in self.logs)
        if self.complete != whole:
            raise NotProven("the manifest claims to be complete and is not, or the other way round")

    def _check_log(self, log: ExportedLog, files: Sequence[ExportedFile]) -> None:
        extension, before = EXTENSIONS[Format(self.format)], log.first - 1
        for file in files:
            if file.name != file_name(file.stream, file.first, file.last, extension):
                raise NotProven("a file's name is not that of its rows")
            if not before < file.first <= file.last <= log.last:
                raise NotProven(f"the file {file.name} does not lie behind the one before it, or beyond its log")
            if not 0 < file.rows <= file.last - file.first + 1:
                raise NotProven(f"the file {file.name} can't hold so many rows")
            if file.contiguous != (file.rows == file.last - file.first + 1) or file.contiguous != (
                file.proofs is None
            ):
                raise NotProven(f"the file {file.name} has the wrong kind of proof")
            if file.proofs is not None and file.proofs.name != proofs_name(file.name):
                raise NotProven(f"the proofs of {file.name} have another name than theirs")
            before = file.last
        if sum(file.rows for file in files) != log.rows:
            raise NotProven(f"the files of {log.stream} do not hold as many rows as the manifest says")

    def _holds_all_of(self, log: ExportedLog) -> bool:
        return log.rows == max(0, log.last - log.first + 1)

    def log_of(self, stream: str) -> ExportedLog:
        return next(log for log in self.logs if log.stream == stream)


def names_of(file: ExportedFile) -> list[str]:
    return [file.name] if file.proofs is None else [file.name, file.proofs.name]


def file_name(stream: str, first: int, last: int, extension: str) -> str:
    return f"{stream}-{first:0{_SEQUENCE_DIGITS}}-{last:0{_SEQUENCE_DIGITS}}.{extension}"


def proofs_name(name: str) -> str:
    """The file with the proofs of a file's rows."""
    return f"{name.partition('.')[0]}.{PROOFS}"


def is_file_name(name: str) -> bool:
    """Whether a file of an export can have this name; such a name stays in its directory."""
    found = _NAME.fullmatch(name)
    return name in (MANIFEST, SIGNATURE) or (found is not None and found[4] in {*EXTENSIONS.values(), PROOFS})


def sequences_of(name: str) -> tuple[str, int, int] | None:
    """Stream, first and last sequence of a file of rows; None for another file."""
    found = _NAME.fullmatch(name)
    return None if found is None or found[4] == PROOFS else (found[1], int(found[2]), int(found[3]))


def note_text(installation: str, manifest: bytes) -> str:
    """What is signed of a manifest."""
    return digest_text(installation, sha256(manifest).hexdigest())


def digest_text(installation: str, manifest_sha256: str) -> str:
    """The same from the manifest's SHA-256 in hex."""
    return f"{export_origin(installation)}\n{_TEXT}\nsha256 {manifest_sha256}\n"


def verified_manifest(raw: bytes, note: bytes, keys: Sequence[VerifierKey]) -> Manifest:
    """The manifest that one of the keys signed. ``keys`` are those of any log of the installation.

    Raises:
        NotProven: malformed, changed, or signed by a stranger.
    """
    found = Note.parse(note)
    manifest = Manifest.parse(raw)
    if found.text != note_text(manifest.installation, raw):
        raise NotProven("the manifest is not the one that was signed: it was changed")
    if not signers(found, renamed(keys, manifest.installation, export_origin(manifest.installation))):
        raise NotProven(
            "the manifest is not signed by one of the given keys: it comes from another system, or from a stranger"
        )
    return manifest


def verified_log(manifest: Manifest, log: ExportedLog, keys: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint that the proofs of a log's files lead to.

    Raises:
        NotProven: it is not signed by one of the keys, is that of another log, or does not cover the range.
    """
    origin = str(LogOrigin(manifest.installation, ALL_ORGS, log.stream))
    checkpoint = verified_checkpoint(log.checkpoint.encode(), renamed(keys, manifest.installation, origin))
    if checkpoint.origin != origin:
        raise NotProven(f"the checkpoint in the manifest is not that of {log.stream}")
    if log.last > checkpoint.size:
        raise NotProven(f"the checkpoint of {log.stream} covers {checkpoint.size} entries, and more were exported")
    return checkpoint


def renamed(keys: Iterable[VerifierKey], installation: str, name: str) -> list[VerifierKey]:
    """The installation's keys as they sign under another of its names: all its logs have the same keys."""
    found = {key.public: None for key in keys if key.algorithm == ED25519 and _installation(key) == installation}
    return [VerifierKey(name, public) for public in found]


def _installation(key: VerifierKey) -> str:
    try:
        return LogOrigin.parse(key.name).installation
    except NotProven:
        return ""


def hashes_of(texts: Sequence[str], what: str) -> list[bytes]:
    """Hashes of Merkle trees from their base64.

    Raises:
        NotProven: naming ``what`` is malformed.
    """
    hashes = [bytes_of_base64(text, what) for text in texts]
    if any(len(hash_) != HASH_BYTES for hash_ in hashes):
        raise NotProven(f"{what} is not of {HASH_BYTES} bytes")
    return hashes
