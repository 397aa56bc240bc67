"""Packs: every object once, whatever it is stored as; nothing beyond the limits; damage is told."""

from __future__ import annotations

import hashlib
import zlib
from io import BytesIO
from typing import Any

import pytest
from dulwich.objects import Blob
from dulwich.pack import OFS_DELTA, REF_DELTA, create_delta
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.adapters.git.pack import DamagedPack, Pack, PackTooLarge, apply_delta

BLOB = 3
BASE = Blob.from_string(b"one line\n" * 200)
CHANGED = Blob.from_string(b"one line\n" * 100 + b"another\n" + b"one line\n" * 100)


def number(value: int, first: int = 7) -> bytes:
    """A size as packs write it: the low bits first, the highest bit of each byte set while more follow."""
    out, bits = bytearray(), first
    while True:
        part, value, bits = value & (1 << bits) - 1, value >> bits, 7
        out.append(part | (0x80 if value else 0))
        if not value:
            return bytes(out)


def entry(kind: int, data: bytes, base: bytes = b"", size: int | None = None) -> bytes:
    head = bytearray(number(len(data) if size is None else size, first=4))
    head[0] |= kind << 4
    return bytes(head) + base + zlib.compress(data)


def pack_of(*entries: bytes, count: int | None = None) -> bytes:
    body = b"PACK\0\0\0\2" + (len(entries) if count is None else count).to_bytes(4, "big") + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def delta(base: bytes, target: bytes) -> bytes:
    return b"".join(create_delta(base, target))


def content(pack: Pack, blob: Blob) -> Any:
    found = pack.get(blob.id)
    return found.as_raw_string() if found else None


def test_whole_objects_are_found_by_their_hash() -> None:
    pack = Pack(pack_of(entry(BLOB, BASE.data), entry(BLOB, b"")))
    assert content(pack, BASE) == BASE.data
    assert content(pack, Blob.from_string(b"")) == b""
    assert pack.get(b"0" * 40) is None


def test_a_delta_may_come_before_its_base_and_build_on_another() -> None:
    last = Blob.from_string(CHANGED.data + b"end\n")
    by_id = [
        entry(REF_DELTA, delta(CHANGED.data, last.data), base=bytes.fromhex(CHANGED.id.decode())),
        entry(REF_DELTA, delta(BASE.data, CHANGED.data), base=bytes.fromhex(BASE.id.decode())),
        entry(BLOB, BASE.data),
    ]
    pack = Pack(pack_of(*by_id))
    assert [content(pack, blob) for blob in (BASE, CHANGED, last)] == [BASE.data, CHANGED.data, last.data]


def test_a_delta_names_its_base_by_offset_too() -> None:
    first = entry(BLOB, BASE.data)
    assert len(first) < 128
    second = entry(OFS_DELTA, delta(BASE.data, CHANGED.data), base=bytes([len(first)]))
    assert content(Pack(pack_of(first, second)), CHANGED) == CHANGED.data


def test_a_delta_without_its_base_is_left_out() -> None:
    lost = entry(REF_DELTA, delta(BASE.data, CHANGED.data), base=bytes(20))
    pack = Pack(pack_of(lost, entry(BLOB, BASE.data)))
    assert (content(pack, CHANGED), content(pack, BASE)) == (None, BASE.data)


@pytest.mark.parametrize("broken", [b"", b"PACK", pack_of(entry(BLOB, b"x"))[:-1], b"JUNK" + pack_of()[4:]])
def test_what_is_no_whole_pack_is_damaged(broken: bytes) -> None:
    with pytest.raises(DamagedPack):
        Pack(broken)


@pytest.mark.parametrize("place", range(8, 60, 3))
def test_a_flipped_bit_is_noticed(place: int) -> None:
    raw = bytearray(pack_of(entry(BLOB, BASE.data)))
    raw[place] ^= 1
    with pytest.raises(DamagedPack):
        Pack(bytes(raw))


def test_a_size_is_checked_before_anything_is_inflated() -> None:
    with pytest.raises(PackTooLarge):
        Pack(pack_of(entry(BLOB, b"x", size=1 << 40)), max_bytes=1000)
    bomb = entry(BLOB, b"\0" * 100_000, size=10)
    with pytest.raises(zlib.error):
        Pack(pack_of(bomb), max_bytes=1000)


def test_a_delta_makes_no_more_than_there_is_room_for() -> None:
    copies = number(len(BASE.data)) + number(1 << 40) + b"\x90\xff" * 100
    bomb = entry(REF_DELTA, copies, base=bytes.fromhex(BASE.id.decode()))
    with pytest.raises(PackTooLarge):
        Pack(pack_of(entry(BLOB, BASE.data), bomb))
    longer_than_said = number(len(BASE.data)) + number(10) + b"\x90\xff" * 100
    with pytest.raises(DamagedPack):
        Pack(pack_of(entry(BLOB, BASE.data), entry(REF_DELTA, longer_than_said, bytes.fromhex(BASE.id.decode()))))


def test_more_objects_than_there_is_room_for_are_refused_at_once() -> None:
    with pytest.raises(PackTooLarge):
        Pack(pack_of(count=1 << 31))


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_a_delta_gives_what_it_was_made_for(base: bytes, target: bytes) -> None:
    instructions = BytesIO(delta(base, target))
    skipped = len(number(len(base))) + len(number(len(target)))
    assert apply_delta(base, instructions.getvalue()[skipped:], len(target)) == target


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0, 300))
def test_no_instructions_make_more_than_was_said(base: bytes, instructions: bytes, size: int) -> None:
    try:
        made = apply_delta(base, instructions, size)
    except DamagedPack:
        return
    assert len(made) == size
