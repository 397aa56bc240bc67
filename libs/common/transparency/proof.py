"""One entry of a log with its proof, in one file that says everything (C2SP tlog-proof).

The entry's bytes are in the ``extra`` line. Nothing is believed for standing there: they are hashed, and the hash is
led to the root of the signed checkpoint.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from libs.common.transparency.merkle import HASH_BYTES, NotProven, leaf_hash, verify_inclusion
from libs.common.transparency.note import (
    Checkpoint,
    Note,
    VerifierKey,
    bytes_of_base64,
    number_of,
    verified_checkpoint,
)

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_PATH: Final = 63
_HEADER: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class EntryProof:
    """``entry`` is at ``index`` of the log whose checkpoint is the signed ``note``."""

    entry: bytes
    index: int
    path: tuple[bytes, ...]
    note: bytes

    def encoded(self) -> bytes:
        lines = [
            _HEADER,
            f"extra {_base64(self.entry)}",
            f"index {self.index}",
            *map(_base64, self.path),
            "",
            "",
        ]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """
        Raises:
            NotProven: it is no proof file; it is read to its last byte.
        """
        if len(raw) > MAX_FILE_BYTES:
            raise NotProven(f"the file is longer than {MAX_FILE_BYTES} bytes")
        head, separator, note = raw.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            lines = []
        if not separator or len(lines) < 3 or lines[0] != _HEADER:  # noqa: PLR2004
            raise NotProven(f"the file does not begin with {_HEADER}, an entry and its index")
        Note.parse(note)
        path = tuple(bytes_of_base64(line, "a hash of the inclusion proof") for line in lines[3:])
        if len(path) > MAX_PATH or any(len(hash_) != HASH_BYTES for hash_ in path):
            raise NotProven(f"the inclusion proof is not at most {MAX_PATH} hashes of {HASH_BYTES} bytes")
        return cls(
            entry=_entry(_after("extra ", lines[1])),
            index=number_of(_after("index ", lines[2]), "the index"),
            path=path,
            note=note,
        )

    def verify(self, keys: Sequence[VerifierKey]) -> Checkpoint:
        """The checkpoint that holds the entry.

        Raises:
            NotProven: what part of it does not hold: the checkpoint, or the way from the entry to it.
        """
        checkpoint = verified_checkpoint(self.note, keys)
        verify_inclusion(leaf_hash(self.entry), self.index, checkpoint.size, self.path, checkpoint.root)
        return checkpoint


def _after(prefix: str, line: str) -> str:
    if not line.startswith(prefix):
        raise NotProven(f"a line of the file does not begin with {prefix.strip()}")
    return line.removeprefix(prefix)


def _entry(text: str) -> bytes:
    return bytes_of_base64(text, "the entry") if text else b""


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
