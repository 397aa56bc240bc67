"""A pack (gitformat-pack) in memory, within limits: what it says of sizes is checked before it is believed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from dulwich.objects import ObjectID, ShaFile
from dulwich.pack import OFS_DELTA, REF_DELTA, take_msb_bytes_at, unpack_object_at

MAX_UNPACKED_BYTES: Final = 128 * 1024 * 1024
MAX_OBJECTS: Final = 100_000
_HEADER_BYTES: Final = 12
_HASH_BYTES: Final = 20
_LONGEST_NUMBER: Final = 10
_DELTAS: Final = frozenset({OFS_DELTA, REF_DELTA})
_COPY: Final = 0x80
_COPY_BYTES: Final = 7
_COPY_WHOLE: Final = 0x10000

Base = int | bytes
"""What a delta is made from: the offset of an object, or its id in 20 bytes."""

Whole = tuple[int, bytes]
"""Type and content of an object."""


class DamagedPack(Exception):
    """It is not a pack, or not a whole one."""


class PackTooLarge(Exception):
    """Its objects are more, or have more bytes, than there is room for."""


@dataclass(frozen=True, slots=True)
class _Delta:
    offset: int
    data: bytes


class Pack:
    """The objects of a pack. A delta whose base was not sent is left out."""

    def __init__(self, raw: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
        """Raises: DamagedPack, PackTooLarge, and zlib.error for what can't be inflated."""
        self._left = max_bytes
        self._by_id: dict[bytes, Whole] = {}
        body, trailer = raw[:-_HASH_BYTES], raw[-_HASH_BYTES:]
        if raw[:8] != b"PACK\0\0\0\2" or hashlib.sha1(body, usedforsecurity=False).digest() != trailer:
            raise DamagedPack
        self._read(raw)

    def get(self, object_id: bytes) -> ShaFile | None:
        """The object with this id (hex), which is the SHA-1 of what it holds."""
        known = self._by_id.get(object_id)
        return ShaFile.from_raw_string(*known, sha=ObjectID(object_id)) if known else None

    def _read(self, raw: bytes) -> None:
        count, offset = int.from_bytes(raw[8:_HEADER_BYTES], "big"), _HEADER_BYTES
        if count > MAX_OBJECTS:
            raise PackTooLarge
        whole: list[tuple[int, Whole]] = []
        waiting: dict[Base, list[_Delta]] = defaultdict(list)
        for _ in range(count):
            self._reserve(_declared_size(raw, offset))
            found, end = unpack_object_at(raw, offset, hashlib.sha1)
            data = b"".join(found.decomp_chunks)
            if found.pack_type_num in _DELTAS:
                base = found.delta_base
                waiting[offset - base if isinstance(base, int) else base or b""].append(_Delta(offset, data))
            else:
                whole.append((offset, (found.pack_type_num, data)))
            offset = end
        self._resolve(whole, waiting)

    def _resolve(self, whole: list[tuple[int, Whole]], waiting: dict[Base, list[_Delta]]) -> None:
        while whole:
            offset, (kind, data) = whole.pop()
            object_id = ShaFile.from_raw_string(kind, data).id
            self._by_id[object_id] = kind, data
            for base in (offset, bytes.fromhex(object_id.decode())):
                deltas = waiting.pop(base, ())
                whole.extend((delta.offset, (kind, self._applied(data, delta.data))) for delta in deltas)

    def _applied(self, base: bytes, delta: bytes) -> bytes:
        base_size, position = _number(delta, 0)
        size, position = _number(delta, position)
        if base_size != len(base):
            raise DamagedPack
        self._reserve(size)
        return apply_delta(base, delta[position:], size)

    def _reserve(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise PackTooLarge


def apply_delta(base: bytes, instructions: bytes, size: int) -> bytes:
    """``size`` bytes made of copies from ``base`` and of new ones. It never gets longer than that on the way.

    Raises:
        DamagedPack: the instructions make something else.
    """
    out, position = bytearray(), 0
    while position < len(instructions):
        command = instructions[position]
        position += 1
        if command & _COPY:
            start, length, position = _copy(instructions, position, command)
            piece = base[start : start + length]
        else:
            length = command
            piece = instructions[position : position + length]
            position += length
        if not length or len(piece) != length or len(out) + length > size:
            raise DamagedPack
        out += piece
    if len(out) != size:
        raise DamagedPack
    return bytes(out)


def _copy(instructions: bytes, position: int, command: int) -> tuple[int, int, int]:
    """Offset and length of a copy, each bit of ``command`` saying whether its byte is there."""
    numbers = bytearray(_COPY_BYTES)
    for place in range(_COPY_BYTES):
        if command >> place & 1:
            if position >= len(instructions):
                raise DamagedPack
            numbers[place] = instructions[position]
            position += 1
    length = int.from_bytes(numbers[4:], "little")
    return int.from_bytes(numbers[:4], "little"), length or _COPY_WHOLE, position


def _declared_size(raw: bytes, offset: int) -> int:
    """The size an object is said to have: 4 bits of its first byte, then 7 of each further one."""
    parts, _, _ = take_msb_bytes_at(raw[offset : offset + _LONGEST_NUMBER], 0)
    return (parts[0] & 0x0F) + sum((byte & 0x7F) << (4 + 7 * place) for place, byte in enumerate(parts[1:]))


def _number(data: bytes, position: int) -> tuple[int, int]:
    """A size in the head of a delta, and where it ends."""
    parts, length, _ = take_msb_bytes_at(data[position : position + _LONGEST_NUMBER], 0)
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(parts)), position + length
