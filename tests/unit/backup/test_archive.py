"""No byte of an archive can be missing, added or changed without being noticed."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.backup.archive import BLOCK, Archive, ArchiveWriter, _header
from libs.backup.manifest import INDEX, MANIFEST, VALUES, read_manifest
from libs.common.errors import KtError
from tests.unit.backup.samples import archive

WHOLE = archive()


def verified(content: bytes) -> None:
    found = Archive.read(io.BytesIO(content))
    read_manifest(found)
    assert sum(found.verify()) == sum(member.size for name, member in found.members.items() if name != "SHA256SUMS")


def refused(content: bytes) -> KtError:
    with pytest.raises(KtError) as caught:
        verified(content)
    assert caught.value.code == "backup_damaged"
    return caught.value


def test_a_whole_archive_is_verified_and_is_a_tar_that_others_read() -> None:
    verified(WHOLE)
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar:
        assert [member.name for member in tar] == list(Archive.read(io.BytesIO(WHOLE)).members)
        assert {(member.mode, member.mtime, member.uid) for member in tar} == {(0o600, 0, 0)}


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_noticed_wherever_it_is(position: int, bit: int) -> None:
    flipped = bytearray(WHOLE)
    flipped[position] ^= 1 << bit
    refused(bytes(flipped))


def test_every_byte_of_headers_padding_and_end_counts() -> None:
    members = Archive.read(io.BytesIO(WHOLE)).members.values()
    outside = {
        position for m in members for position in (*range(m.offset - BLOCK, m.offset), *range(m.content_end, m.end))
    }
    outside |= set(range(max(m.end for m in members), len(WHOLE)))
    for position in sorted(outside)[::7]:
        changed = bytearray(WHOLE)
        changed[position] ^= 0xFF
        refused(bytes(changed))


@given(st.integers(0, len(WHOLE) - 1))
def test_an_archive_cut_short_is_refused_wherever_it_ends(length: int) -> None:
    refused(WHOLE[:length])


@pytest.mark.parametrize("more", [b"\0", bytes(BLOCK), bytes(10240), b"x", WHOLE])
def test_an_archive_with_something_behind_it_is_refused(more: bytes) -> None:
    assert "end" in refused(WHOLE + more).detail


@pytest.mark.parametrize("content", [b"", b"x" * 2000, bytes(2048), b"PK\x03\x04" + bytes(600)])
def test_another_file_is_refused(content: bytes) -> None:
    refused(content)


def test_a_tar_that_was_packed_again_is_refused() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar, tarfile.open(fileobj=packed, mode="w") as again:
        for member in tar:
            again.addfile(member, tar.extractfile(member))
    refused(packed.getvalue())


def written(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for name, content in members:
        writer.small(name, content)
    writer.finish()
    return file.getvalue()


def test_members_twice_or_too_many_are_refused() -> None:
    assert "twice" in refused(written(("a", b"1"), ("a", b"2"))).detail
    assert "too many" in refused(written(*((str(number), b"") for number in range(1001)))).detail


def test_a_manifest_that_tells_of_other_members_is_refused() -> None:
    found = Archive.read(io.BytesIO(WHOLE))
    contents = {name: found.small(name) for name in found.members if name != "SHA256SUMS"}
    verified(written(*contents.items()))
    assert "does not describe" in refused(written(*(contents | {VALUES: contents[INDEX]}).items())).detail
    assert "does not describe" in refused(written(*((n, c) for n, c in contents.items() if n != INDEX))).detail
    assert MANIFEST in refused(written(*(contents | {MANIFEST: b"{}"}).items())).detail


def test_an_archive_of_a_newer_form_says_so() -> None:
    with pytest.raises(KtError, match="form 2") as caught:
        verified(written(("backup.json", b'{"format":"keeptrusts-backup","version":2}')))
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1, 8**11, 2**50])
def test_a_header_holds_any_size(size: int) -> None:
    head = _header("streams/KT_EVENTS.snapshot", size)
    assert len(head) == BLOCK
    assert tarfile.TarInfo.frombuf(head, "ascii", "strict").size == size


@given(st.lists(st.fixed_dictionaries({"n": st.integers(), "text": st.text()}), max_size=50))
def test_lines_come_back_as_they_were(documents: list[dict[str, Any]]) -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    bounded = [d for d in documents if abs(d["n"]) < 2**53]
    with writer.lines("lines") as lines:
        for document in bounded:
            lines.write(document)
    writer.finish()
    assert list(Archive.read(file).lines("lines")) == bounded


def test_what_is_in_front_of_the_damage_can_be_read_leniently() -> None:
    members = Archive.read(io.BytesIO(WHOLE)).members
    cut = Archive.read_leniently(io.BytesIO(WHOLE[: members[VALUES].offset + 10]))
    assert INDEX in cut.members
    assert VALUES not in cut.members
    assert "cut short" in cut.flaw
    assert len(list(cut.lines(INDEX))) == 3
    whole = Archive.read_leniently(io.BytesIO(WHOLE))
    assert whole.flaw == ""
    assert list(whole.members) == list(members)
