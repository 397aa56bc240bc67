"""``kt events verify DIRECTORY``: an export checked with nothing but its files and a public key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import zstandard

from libs.common.errors import KtError
from libs.common.transparency.export_rows import ContiguousRows, ProvenRows, body_of
from libs.common.transparency.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    ExportedFile,
    ExportedLog,
    Format,
    Manifest,
    names_of,
    verified_log,
    verified_manifest,
)
from libs.common.transparency.merkle import NotProven, leaf_hash
from libs.common.transparency.note import MAX_NOTE_BYTES, Checkpoint, VerifierKey

CHUNK: Final = 1024 * 1024
MAX_LINE: Final = 64 * 1024 * 1024

Moved = Callable[[int], None]
"""Takes how many bytes of files were read."""


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """What was shown of one stream; ``checkpoint`` is None when it has no entries."""

    log: ExportedLog
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class VerifiedExport:
    manifest: Manifest
    logs: tuple[VerifiedLog, ...]


class ExportDirectory:
    """The directory of an export."""

    def __init__(self, path: Path, keys: Sequence[VerifierKey]) -> None:
        """Raises: NotProven when it has no manifest that one of the keys signed."""
        self._path = path
        self._keys = keys
        raw, note = self._read(MANIFEST, MAX_MANIFEST_BYTES), self._read(SIGNATURE, MAX_NOTE_BYTES)
        self.manifest = verified_manifest(raw, note, keys)

    @property
    def size(self) -> int:
        """Bytes of all files that are read."""
        files = self.manifest.files
        return sum(file.bytes for file in files) + sum(file.proofs.bytes for file in files if file.proofs)

    def verify(self, moved: Moved) -> VerifiedExport:
        """
        Raises:
            NotProven: naming the first thing that is wrong.
        """
        self._check_names()
        checked = {}
        for log in self.manifest.logs:
            checkpoint = verified_log(self.manifest, log, self._keys) if log.checkpoint else None
            if checkpoint is None and log.rows:
                raise NotProven(f"the manifest has no checkpoint of {log.stream}")
            checked[log.stream] = VerifiedLog(log, checkpoint)
        for file in self.manifest.files:
            found = checked[file.stream].checkpoint
            if found is not None:
                self._check_file(file, found, moved)
        return VerifiedExport(self.manifest, tuple(checked.values()))

    def _check_names(self) -> None:
        expected = {MANIFEST, SIGNATURE, *(name for file in self.manifest.files for name in names_of(file))}
        present = {entry.name for entry in self._path.iterdir()}
        for name in sorted(expected - present):
            raise NotProven(f"the file {name} is missing")
        for name in sorted(present - expected):
            raise NotProven(f"the file {name!r} is not in the manifest: it does not belong to the export")

    def _check_file(self, file: ExportedFile, checkpoint: Checkpoint, moved: Moved) -> None:
        content = Content(self._path / file.name, file.bytes, file.sha256, moved)
        if self.manifest.format != Format.NDJSON:
            for _ in content:
                pass
            if file.proofs is not None:
                for _ in Content(self._path / file.proofs.name, file.proofs.bytes, file.proofs.sha256, moved):
                    pass
            return
        batches = _batches(content)
        if file.proofs is None:
            rows = ContiguousRows(file, checkpoint)
            for lines in batches:
                rows.take(lines)
            rows.finish()
            return
        proven = ProvenRows(file, checkpoint)
        proofs = self._proofs(file, moved)
        for lines in batches:
            for line in lines:
                proven.take(leaf_hash(body_of(line)), next(proofs, b""))
        _check_over(proofs)
        proven.finish()

    def _proofs(self, file: ExportedFile, moved: Moved) -> Iterator[bytes]:
        if file.proofs is None:
            return
        content = Content(self._path / file.proofs.name, file.proofs.bytes, file.proofs.sha256, moved)
        for lines in _batches(content):
            yield from lines

    def _read(self, name: str, limit: int) -> bytes:
        try:
            with (self._path / name).open("rb") as file:
                return file.read(limit + 1)
        except FileNotFoundError:
            raise NotProven(f"the file {name} is missing: the export is not complete") from None
        except OSError as error:
            raise KtError("usage", f"{self._path / name} can't be read: {error.strerror}.") from None


class Content:
    """The bytes of a file, whose size and hash are checked before and while they are handed out."""

    def __init__(self, path: Path, size: int, digest: str, moved: Moved) -> None:
        self.name = path.name
        self._path = path
        self._size = size
        self._digest = digest
        self._moved = moved

    def __iter__(self) -> Iterator[bytes]:
        """
        Raises:
            NotProven: the file has another size or content.
        """
        name, actual = self.name, sha256()
        try:
            found = self._path.stat()
            if found.st_size != self._size:
                how = "was cut" if found.st_size < self._size else "has bytes behind its end"
                raise NotProven(f"the file {name} {how}: it has {found.st_size} bytes, not {self._size}")
            with self._path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    actual.update(chunk)
                    yield chunk
                    self._moved(len(chunk))
        except OSError as error:
            raise KtError("usage", f"{self._path} can't be read: {error.strerror}.") from None
        if actual.hexdigest() != self._digest:
            raise NotProven(f"the file {name} was changed")


def _batches(content: Content) -> Iterator[list[bytes]]:
    """Whole lines of a file of zstd frames."""
    rest = b""
    for block in _plain(content):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE:
            raise NotProven(f"{content.name}: a line is longer than {MAX_LINE} bytes")
        if lines:
            yield lines
    if rest:
        raise NotProven(f"{content.name}: the last line is not complete")


def _plain(content: Content) -> Iterator[bytes]:
    """The content of one zstd frame."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for chunk in content:
        if decompressor.eof:
            raise _beyond(content)
        try:
            yield decompressor.decompress(chunk)
        except zstandard.ZstdError:
            raise NotProven(f"the file {content.name} was changed: zstd (RFC 8878) can't read it") from None
        if decompressor.unused_data:
            raise _beyond(content)
    if not decompressor.eof:
        raise NotProven(f"the file {content.name} breaks off")


def _beyond(content: Content) -> NotProven:
    return NotProven(f"the file {content.name} goes on behind the end of its content")


def _check_over(lines: Iterator[bytes]) -> None:
    if next(lines, None) is not None:
        raise NotProven("there are more proofs than rows")
