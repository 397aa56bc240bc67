"""The file: a tar (POSIX ustar) that has exactly one form, so that no byte of it can change unnoticed.

Each member is a header that follows from name and size alone, the content, and zeros up to a multiple of 512. The
last member, ``SHA256SUMS``, holds the SHA-256 of every other; two blocks of zeros end the file.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Self

import orjson

from libs.common.errors import KtError

SUMS: Final = "SHA256SUMS"
BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK)
CHUNK: Final = 1024 * 1024
MAX_LINE: Final = 1024 * 1024
"""Bytes in one line of a member of lines; a sealed value with its place has at most 90,000."""

_MAX_SMALL: Final = 16 * 1024 * 1024
_MAX_MEMBERS: Final = 1000
_GZIP: Final = 16 + zlib.MAX_WBITS
_FASTEST: Final = 1
_SUM: Final = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9_./-]{1,90})\n")


def damaged(what: str) -> KtError:
    return KtError(
        "backup_damaged",
        f"The archive is damaged: {what}. Nothing was changed.",
        "Use another copy of it, or another backup; `kt recover` may still find single values in this one.",
    )


@dataclass(frozen=True, slots=True)
class Member:
    """Where the content of a member lies."""

    name: str
    offset: int
    size: int

    @property
    def content_end(self) -> int:
        return self.offset + self.size

    @property
    def end(self) -> int:
        return self.content_end + -self.size % BLOCK


class PartWriter:
    """Takes the content of one member."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)


class LineWriter:
    """Takes the documents of a member of lines: one JSON document a line, compressed with gzip (RFC 1952)."""

    def __init__(self, part: PartWriter) -> None:
        self._part = part
        self._packer = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
        self._waiting = bytearray()
        self.count = 0

    def write(self, document: dict[str, Any]) -> None:
        self._waiting += orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
        self.count += 1
        if len(self._waiting) >= CHUNK:
            self._part.write(self._packer.compress(self._waiting))
            self._waiting.clear()

    def finish(self) -> None:
        self._part.write(self._packer.compress(self._waiting) + self._packer.flush())


class ArchiveWriter:
    """Writes members one after the other; ``file`` must be seekable, because a header holds the size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sums: dict[str, str] = {}
        self.sizes: dict[str, int] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[PartWriter]:
        start = self._file.tell()
        self._file.write(bytes(BLOCK))
        part = PartWriter(self._file)
        yield part
        self._file.write(bytes(-part.size % BLOCK))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_header(name, part.size))
        self._file.seek(end)
        self.sums[name], self.sizes[name] = part.digest.hexdigest(), part.size

    @contextmanager
    def lines(self, name: str) -> Iterator[LineWriter]:
        with self.part(name) as part:
            lines = LineWriter(part)
            yield lines
            lines.finish()

    def small(self, name: str, content: bytes) -> None:
        """A whole member."""
        with self.part(name) as part:
            part.write(content)

    def finish(self) -> None:
        """Write the sums and the end."""
        self.small(SUMS, b"".join(f"{digest}  {name}\n".encode() for name, digest in self.sums.items()))
        self._file.write(END)


class Archive:
    """An archive whose form is whole. What is in a member is checked as it is read; :meth:`verify` reads them all.

    ``flaw`` says what is wrong with one that was opened leniently: then ``members`` are those in front of the damage,
    and nothing read from it is checked.
    """

    def __init__(self, file: BinaryIO, members: dict[str, Member], sums: dict[str, str], flaw: str = "") -> None:
        self._file = file
        self.members = members
        self.flaw = flaw
        self._sums = sums

    @classmethod
    def read(cls, file: BinaryIO) -> Self:
        """Look through the form of a file.

        Raises:
            KtError: ``backup_damaged``: cut short, changed, longer than it should be, or no such archive.
        """
        members: dict[str, Member] = {}
        for member in _scan(file):
            members[member.name] = member
        archive = cls(file, members, {})
        archive._sums = archive._read_sums()
        return archive

    @classmethod
    def read_leniently(cls, file: BinaryIO) -> Self:
        """Take what can be found, for who needs a single value of it."""
        members: dict[str, Member] = {}
        try:
            for member in _scan(file):
                members[member.name] = member
            archive = cls(file, members, {})
            archive._sums = archive._read_sums()
        except KtError as error:
            return cls(file, members, {}, error.detail)
        return archive

    @property
    def size(self) -> int:
        """Bytes of all contents together."""
        return sum(member.size for member in self.members.values())

    def digest(self, name: str) -> str:
        """The SHA-256 that the archive names for a member, in hex."""
        return self._sums.get(name, "")

    def small(self, name: str) -> bytes:
        """The content of a member that fits into memory, checked.

        Raises:
            KtError: ``backup_damaged``.
        """
        member = self._member(name)
        if member.size > _MAX_SMALL:
            raise damaged(f"{name} is too large")
        return b"".join(self.chunks(name))

    def chunks(self, name: str, size: int = CHUNK) -> Iterator[bytes]:
        """The content of a member in pieces. Only when all were taken it is known to be unchanged.

        Raises:
            KtError: ``backup_damaged``.
        """
        member, digest = self._member(name), hashlib.sha256()
        position = member.offset
        while position < member.content_end:
            self._file.seek(position)
            chunk = self._file.read(min(size, member.content_end - position))
            if not chunk:
                raise damaged(f"it ends inside {name}")
            digest.update(chunk)
            position += len(chunk)
            yield chunk
        if not self.flaw and digest.hexdigest() != self._sums.get(name):
            raise damaged(f"{name} is not what was written")

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The documents of a member of lines.

        Raises:
            KtError: ``backup_damaged``.
        """
        unpacker, rest = zlib.decompressobj(_GZIP), b""
        try:
            for chunk in self.chunks(name, 64 * 1024):
                whole = rest + unpacker.decompress(chunk)
                *lines, rest = whole.split(b"\n")
                if len(rest) > MAX_LINE:
                    raise damaged(f"{name} has a line without an end")
                yield from map(orjson.loads, lines)
        except (zlib.error, orjson.JSONDecodeError):
            raise damaged(f"{name} can't be read") from None
        if rest or not unpacker.eof or unpacker.unused_data:
            raise damaged(f"{name} does not end where it should")

    def verify(self) -> Iterator[int]:
        """Read everything, yielding the bytes of each piece.

        Raises:
            KtError: ``backup_damaged``.
        """
        for name in self.members:
            if name != SUMS:
                for chunk in self.chunks(name):
                    yield len(chunk)

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise damaged(f"it holds no {name}")
        return self.members[name]

    def _read_sums(self) -> dict[str, str]:
        member = self._member(SUMS)
        if member.size > _MAX_SMALL:
            raise damaged(f"{SUMS} is too large")
        self._file.seek(member.offset)
        content = self._file.read(member.size)
        sums = {name.decode(): digest.decode() for digest, name in _SUM.findall(content)}
        written = b"".join(f"{digest}  {name}\n".encode() for name, digest in sums.items())
        if written != content or [*sums, SUMS] != list(self.members):
            raise damaged(f"{SUMS} does not name what is in it")
        return sums


def _scan(file: BinaryIO) -> Iterator[Member]:
    """The members, in the order of the file; the last one was yielded when the file is found to end behind it."""
    size, position = file.seek(0, io.SEEK_END), 0
    names: set[str] = set()
    while True:
        file.seek(position)
        head = file.read(BLOCK)
        if head == bytes(BLOCK) and names:
            if head + file.read(BLOCK + 1) != END:
                raise damaged("it does not end where it should")
            return
        member = _parse(head, position + BLOCK, size)
        if member.name in names or len(names) == _MAX_MEMBERS:
            raise damaged(f"it holds {member.name} twice" if member.name in names else "it has too many members")
        if member.end > size:
            raise damaged(f"it is cut short inside {member.name}, after {size:,} bytes")
        file.seek(member.content_end)
        if file.read(member.end - member.content_end).strip(b"\0"):
            raise damaged(f"there is something behind {member.name}")
        names.add(member.name)
        yield member
        position = member.end


def _parse(head: bytes, offset: int, size: int) -> Member:
    if len(head) < BLOCK:
        raise damaged(f"it is cut short after {size:,} bytes")
    try:
        found = tarfile.TarInfo.frombuf(head, "ascii", "strict")
        if head == _header(found.name, found.size):
            return Member(found.name, offset, found.size)
    except (tarfile.TarError, ValueError):
        pass
    where = f"the header at byte {offset - BLOCK:,} was changed" if offset > BLOCK else "it is no keeptrusts backup"
    raise damaged(where)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, 0
    return info.tobuf(tarfile.GNU_FORMAT if size >= 8**11 else tarfile.USTAR_FORMAT, "ascii", "strict")
