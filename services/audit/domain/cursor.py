"""Cursors: opaque to their holder, bound to the org and filter they were made for.

Base64url of one kind byte, the place (big-endian integers) and a checksum over all of it with org and filter. The
checksum finds mistakes, not forgers: a forged cursor shows nothing but another place in the holder's own log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Final

from libs.common.errors import KtError
from services.audit.domain.page import EntryKey, Positions
from services.audit.domain.streams import STREAM_NAMES

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CHECKSUM_BYTES: Final = 16
_OLDER: Final = struct.Struct(">cqHq")
_NEWER: Final = struct.Struct(f">c{len(STREAM_NAMES)}q")


def older_than(key: EntryKey, org: str, filter_text: str) -> str:
    """Continue a listing, newest first, behind this entry."""
    micros = (key.recorded_at - _EPOCH) // _MICROSECOND
    return _encode(_OLDER.pack(b"o", micros, key.stream, key.sequence), org, filter_text)


def newer_than(positions: Positions, org: str, filter_text: str) -> str:
    """Follow the log from behind these sequences."""
    return _encode(_NEWER.pack(b"n", *(positions[number] for number in STREAM_NAMES)), org, filter_text)


def read_older_than(cursor: str, org: str, filter_text: str) -> EntryKey:
    """
    Raises:
        KtError: ``invalid_cursor``.
    """
    _, micros, stream, sequence = _decode(cursor, _OLDER, b"o", org, filter_text)
    try:
        return EntryKey(_EPOCH + micros * _MICROSECOND, stream, sequence)
    except OverflowError:
        raise _invalid() from None


def read_newer_than(cursor: str, org: str, filter_text: str) -> Positions:
    """
    Raises:
        KtError: ``invalid_cursor``.
    """
    _, *sequences = _decode(cursor, _NEWER, b"n", org, filter_text)
    return dict(zip(STREAM_NAMES, sequences, strict=True))


def _encode(place: bytes, org: str, filter_text: str) -> str:
    return base64.urlsafe_b64encode(place + _checksum(place, org, filter_text)).rstrip(b"=").decode()


def _decode(cursor: str, form: struct.Struct, kind: bytes, org: str, filter_text: str) -> tuple[int, ...]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _invalid() from None
    place, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(place) != form.size or place[:1] != kind or checksum != _checksum(place, org, filter_text):
        raise _invalid()
    if _encode(place, org, filter_text) != cursor:  # spare bits of base64 give other spellings
        raise _invalid()
    return form.unpack(place)


def _checksum(place: bytes, org: str, filter_text: str) -> bytes:
    digest = hashlib.sha256(b"kt/cursor/v1")
    for part in (place, org.encode(), filter_text.encode()):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()[:_CHECKSUM_BYTES]


def _invalid() -> KtError:
    return KtError(
        "invalid_cursor",
        "The cursor does not belong to this listing: it was made for another filter, org or order, or was changed.",
        "Begin again without a cursor.",
    )
