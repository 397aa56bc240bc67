"""Rows of an export: how stored bytes become lines, and the way from the lines back to a checkpoint's root."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import orjson

from libs.common.transparency.manifest import ExportedFile, hashes_of
from libs.common.transparency.merkle import CompactRange, NotProven, subtrees, verify_inclusion
from libs.common.transparency.note import Checkpoint

WRAPPER: Final = b'{"kt_body_base64":"'
"""How a line begins that holds, in base64, stored bytes that would not be a line of JSON themselves."""

_WRAPPER_END: Final = b'"}'


def line_of(body: bytes, *, is_event: bool) -> bytes:
    """The line for stored bytes, without its line break; :func:`body_of` gives back exactly these bytes."""
    if not is_event or b"\n" in body or body.startswith(WRAPPER):
        return WRAPPER + base64.b64encode(body) + _WRAPPER_END
    return body


def body_of(line: bytes) -> bytes:
    """
    Raises:
        NotProven: a wrapped line is malformed.
    """
    if not line.startswith(WRAPPER):
        return line
    try:
        body = base64.b64decode(line[len(WRAPPER) : -len(_WRAPPER_END)], validate=True)
    except binascii.Error:
        body = b""
    if WRAPPER + base64.b64encode(body) + _WRAPPER_END != line:
        raise NotProven("a line with bytes in base64 is malformed")
    return body


def leaves_of(lines: Sequence[bytes]) -> list[bytes]:
    """Leaf hashes of the stored bytes behind these lines."""
    return [
        sha256(b"\0" + (body_of(line) if line.startswith(WRAPPER) else line)).digest()  # a call a line costs a third
        for line in lines
    ]


def proof_line(sequence: int, path: Sequence[bytes]) -> bytes:
    """One row's place and inclusion proof (RFC 6962 section 2.1.1) as a line, without its line break."""
    return orjson.dumps({"path": [base64.b64encode(hash_).decode() for hash_ in path], "sequence": sequence})


def sequence_of(line: bytes) -> int:
    """The sequence that a line of proof is for.

    Raises:
        NotProven: it is none.
    """
    return _proof(line)[0]


class ContiguousRows:
    """Checks a file that holds every row of its range, in their order."""

    def __init__(self, file: ExportedFile, checkpoint: Checkpoint) -> None:
        """
        Raises:
            NotProven: the hashes around the rows are not those that their place takes.
        """
        self._file = file
        self._checkpoint = checkpoint
        self._right = hashes_of(file.right, "a hash behind the rows")
        try:
            self._tree = CompactRange(0, file.first - 1, hashes_of(file.left, "a hash before the rows"))
        except ValueError:
            self._tree = CompactRange()
        if self._tree.end != file.first - 1:
            raise NotProven(f"{file.name}: the manifest does not hold the hashes before its rows")

    def take(self, leaves: Sequence[bytes]) -> None:
        self._tree.extend(leaves)

    def finish(self) -> None:
        """
        Raises:
            NotProven: the rows are not those of the log.
        """
        if self._tree.end != self._file.last:
            raise NotProven(f"{self._file.name} holds {self._tree.end - self._file.first + 1} rows, not all of them")
        behind = list(subtrees(self._file.last, self._checkpoint.size))
        if len(behind) != len(self._right):
            raise NotProven(f"{self._file.name}: the manifest does not hold the hashes behind its rows")
        for node, hash_ in zip(behind, self._right, strict=True):
            self._tree.append(node, hash_)
        if self._tree.hash() != self._checkpoint.root:
            raise NotProven(
                f"{self._file.name} leads to another root than the one that was signed: a row was changed, left out,"
                " added or moved"
            )


class ProvenRows:
    """Checks rows that each have a proof."""

    def __init__(self, file: ExportedFile, checkpoint: Checkpoint) -> None:
        self._file = file
        self._checkpoint = checkpoint
        self._sequence = file.first - 1
        self._rows = 0

    def take(self, leaf: bytes, proof: bytes) -> int:
        """The row's sequence.

        Raises:
            NotProven: the row is not in the log at its place.
        """
        sequence, path = _proof(proof)
        if not self._sequence < sequence <= self._file.last:
            raise NotProven(f"{self._file.name}: the rows are not in the order of the log")
        try:
            verify_inclusion(leaf, sequence - 1, self._checkpoint.size, path, self._checkpoint.root)
        except NotProven as reason:
            raise NotProven(f"{self._file.name}: the row {sequence} is not proven: {reason}") from None
        self._sequence, self._rows = sequence, self._rows + 1
        return sequence

    def finish(self) -> None:
        """
        Raises:
            NotProven: there are more or fewer rows than the manifest says.
        """
        if self._rows != self._file.rows:
            raise NotProven(f"{self._file.name} holds {self._rows} rows; expected {self._file.rows}")


def _proof(line: bytes) -> tuple[int, list[bytes]]:
    try:
        document: Any = orjson.loads(line)
        sequence, path = document["sequence"], document["path"]
        if type(sequence) is not int or len(document) != 2 or not all(isinstance(text, str) for text in path):  # noqa: PLR2004
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise NotProven("a line of the proofs is malformed") from None
    return sequence, hashes_of(path, "a hash of a proof")
