"""``kt events verify DIRECTORY``: an export checked with nothing but its files and a public key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.cli.export_files import Content, Leaves, Moved, batches, leaves_in
from libs.common.errors import KtError
from libs.common.transparency.export_rows import ContiguousRows, ProvenRows, sequence_of
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
from libs.common.transparency.merkle import NotProven
from libs.common.transparency.note import MAX_NOTE_BYTES, Checkpoint, VerifierKey


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

    def rows(self) -> Iterator[tuple[ExportedFile, int, bytes]]:
        """Each row of an NDJSON export with its file and sequence: the line as it was written."""
        for file in self.manifest.files:
            content = Content(self._path / file.name, file.bytes, file.sha256, lambda _: None)
            lines = (line for batch in batches(content) for line in batch)
            for sequence, line in zip(self._sequences(file), lines, strict=True):
                yield file, sequence, line

    def _sequences(self, file: ExportedFile) -> Iterator[int]:
        if file.proofs is None:
            yield from range(file.first, file.last + 1)
            return
        content = Content(self._path / file.proofs.name, file.proofs.bytes, file.proofs.sha256, lambda _: None)
        for batch in batches(content):
            yield from map(sequence_of, batch)

    def _check_names(self) -> None:
        expected = {MANIFEST, SIGNATURE, *(name for file in self.manifest.files for name in names_of(file))}
        present = {entry.name for entry in self._path.iterdir()}
        for name in sorted(expected - present):
            raise NotProven(f"the file {name} is missing")
        for name in sorted(present - expected):
            raise NotProven(f"the file {name!r} is not in the manifest: it does not belong to the export")

    def _check_file(self, file: ExportedFile, checkpoint: Checkpoint, moved: Moved) -> None:
        content = Content(self._path / file.name, file.bytes, file.sha256, moved)
        proofs = None
        if file.proofs is not None:
            proofs = Content(self._path / file.proofs.name, file.proofs.bytes, file.proofs.sha256, moved)
        format_ = Format(self.manifest.format)
        if format_ is Format.CSV:  # does not hold the stored bytes: there is only to show which files were signed
            content.check()
            if proofs is not None:
                proofs.check()
        elif proofs is None:
            _check_contiguous(file, checkpoint, leaves_in(format_, file, content))
        else:
            _check_proven(file, checkpoint, leaves_in(format_, file, content), batches(proofs))

    def _read(self, name: str, limit: int) -> bytes:
        try:
            with (self._path / name).open("rb") as file:
                return file.read(limit + 1)
        except FileNotFoundError:
            raise NotProven(f"the file {name} is missing: the export is not complete") from None
        except OSError as error:
            raise KtError("usage", f"{self._path / name} can't be read: {error.strerror}.") from None


def _check_contiguous(file: ExportedFile, checkpoint: Checkpoint, found: Iterator[Leaves]) -> None:
    rows, following = ContiguousRows(file, checkpoint), file.first
    for leaves, sequences in found:
        if sequences is not None and sequences != list(range(following, following + len(leaves))):
            raise NotProven(f"{file.name}: a row names another sequence than its own")
        rows.take(leaves)
        following += len(leaves)
    rows.finish()


def _check_proven(
    file: ExportedFile, checkpoint: Checkpoint, found: Iterator[Leaves], proofs: Iterator[list[bytes]]
) -> None:
    rows, lines = ProvenRows(file, checkpoint), (line for batch in proofs for line in batch)
    for leaves, sequences in found:
        taken = [rows.take(leaf, next(lines, b"")) for leaf in leaves]
        if sequences not in (None, taken):
            raise NotProven(f"{file.name}: a row names another sequence than its own")
    if next(lines, None) is not None:
        raise NotProven(f"{file.name} has more proofs than rows")
    rows.finish()
