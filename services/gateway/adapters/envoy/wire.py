"""Protocol buffers' wire format, as far as it takes to step over what is not wanted.

A field is a varint of number and type, then a varint, eight bytes, a length and as many bytes, or four bytes
(protobuf.dev, "Encoding").
"""

from __future__ import annotations

from typing import Final

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_LAST_BYTE: Final = 0x7F
"""A byte of a varint above it is followed by another one."""


def field(data: bytes, wanted: int, at: int, end: int) -> tuple[int, int]:
    """Begin and end of the next field of this number, which has to be one with a length, from ``at`` on and before
    ``end``; ``(end, end)`` when there is none. One loop over bytes: thousands of entries a second are read with it.

    Raises:
        IndexError, KeyError: it is no message.
    """
    key_wanted = wanted << 3 | _BYTES
    while at < end:
        key = data[at]
        at += 1
        if key > _LAST_BYTE:
            key, at = _continued(data, key, at)
        kind = key & 7
        if kind == _BYTES:
            length = data[at]
            at += 1
            if length > _LAST_BYTE:
                length, at = _continued(data, length, at)
            if key == key_wanted:
                return at, at + length
            at += length
        elif kind == _VARINT:
            while data[at] > _LAST_BYTE:
                at += 1
            at += 1
        else:
            at += _FIXED_SIZES[kind]
    return end, end


def _continued(data: bytes, first: int, at: int) -> tuple[int, int]:
    """A varint whose first byte says that it goes on."""
    value, shift = first & _LAST_BYTE, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & _LAST_BYTE) << shift
        if byte <= _LAST_BYTE:
            return value, at
        shift += 7
