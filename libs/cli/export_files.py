"""The files of an export: their bytes against what was signed, and the leaf hashes of their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import zstandard

from libs.common.errors import KtError
from libs.common.transparency.export_rows import leaves_of
from libs.common.transparency.manifest import ExportedFile, Format
from libs.common.transparency.merkle import NotProven, leaf_hash
from libs.exports import ocsf
from libs.exports.flat import flat
from libs.exports.parquet_table import rows_of

CHUNK: Final = 1024 * 1024
MAX_LINE: Final = 64 * 1024 * 1024

Moved = Callable[[int], None]
"""Takes how many bytes of files were read."""

Leaves = tuple[list[bytes], list[int] | None]
"""Leaf hashes of rows, and the sequences that the rows themselves name, if they do."""


class Content:
    """The bytes of a file, whose size and hash are checked before and while they are handed out."""

    def __init__(self, path: Path, size: int, digest: str, moved: Moved) -> None:
        self.name = path.name
        self._path = path
        self._size = size
        self._digest = digest
        self._moved = moved

    def check(self) -> None:
        """Read it all."""
        for _ in self:
            pass

    @property
    def path(self) -> Path:
        return self._path

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


def leaves_in(format_: Format, file: ExportedFile, content: Content) -> Iterator[Leaves]:
    """The rows of a file. What was made from the stored bytes is made again and compared.

    Raises:
        NotProven: the file or a row was changed.
    """
    if format_ is Format.NDJSON:
        for lines in batches(content):
            yield leaves_of(lines), None
    elif format_ is Format.OCSF:
        for lines in batches(content):
            yield _of_ocsf(file, lines)
    else:
        content.check()
        yield from _of_parquet(file, content)


def _of_ocsf(file: ExportedFile, lines: list[bytes]) -> Leaves:
    leaves, sequences = [], []
    for line in lines:
        found = ocsf.source_of(line)
        if found is None:
            raise NotProven(f"{file.name}: a row is no event in OCSF {ocsf.VERSION}")
        sequence, body, is_event = found
        if ocsf.line(file.stream, sequence, body, is_event=is_event) != line:
            raise NotProven(f"{file.name}: the row {sequence} is not what the stored event gives")
        leaves.append(leaf_hash(body))
        sequences.append(sequence)
    return leaves, sequences


def _of_parquet(file: ExportedFile, content: Content) -> Iterator[Leaves]:
    try:
        for rows, bodies in rows_of(content.path):
            for row, body in zip(rows, bodies, strict=True):
                made = (flat(file.stream, row.sequence, body, is_event=is_event) for is_event in (True, False))
                if row not in made:
                    raise NotProven(f"{file.name}: the row {row.sequence} is not what the stored event gives")
            yield [leaf_hash(body) for body in bodies], [row.sequence for row in rows]
    except ValueError:
        raise NotProven(f"the file {file.name} is not a table of events") from None


def batches(content: Content) -> Iterator[list[bytes]]:
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
