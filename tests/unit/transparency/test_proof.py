"""An entry with its proof, as a file."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.transparency.merkle import NotProven, inclusion_path, leaf_hash, root_of
from libs.common.transparency.note import Note
from libs.common.transparency.origin import LogOrigin
from libs.common.transparency.proof import EntryProof
from tests.unit.transparency.signing import ORIGIN, Signer
from tests.unit.transparency.test_merkle import proof_of

LOG = Signer()


def proof_for(index: int, entries: list[bytes]) -> EntryProof:
    leaves = [leaf_hash(entry) for entry in entries]
    note = str(LOG.checkpoint(len(leaves), root_of(leaves))).encode()
    path = proof_of(inclusion_path(index, len(leaves)), leaves)
    return EntryProof(entries[index], index, tuple(path), note)


@given(entries=st.lists(st.binary(max_size=60), min_size=1, max_size=20), data=st.data())
def test_a_proof_is_read_as_it_was_written_and_verifies(entries: list[bytes], data: st.DataObject) -> None:
    proof = proof_for(data.draw(st.integers(0, len(entries) - 1)), entries)
    read = EntryProof.parse(proof.encoded())
    assert read == proof
    assert read.verify([LOG.key]).size == len(entries)


ENTRIES = [b'{"n":%d}' % number for number in range(11)]
PROOF = proof_for(6, ENTRIES)


def test_not_one_byte_of_a_file_can_be_changed() -> None:
    raw = PROOF.encoded()
    for place in range(len(raw)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(raw)
            changed[place] ^= bit
            with pytest.raises(NotProven):
                EntryProof.parse(bytes(changed)).verify([LOG.key])


def test_not_one_byte_can_be_added_or_left_out() -> None:
    raw = PROOF.encoded()
    for other in (raw + b"\n", raw + b"x", b"\n" + raw, raw[:-1], raw[1:], raw + raw, raw.replace(b"\n", b"\r\n")):
        with pytest.raises(NotProven):
            EntryProof.parse(other).verify([LOG.key])
    for place in range(len(raw)):
        with pytest.raises(NotProven):
            EntryProof.parse(raw[:place] + raw[place + 1 :]).verify([LOG.key])


CHANGED = {
    "entry": (replace(PROOF, entry=b"{}"), "inclusion proof leads to another root"),
    "index": (replace(PROOF, index=7), "inclusion proof"),
    "index beyond": (replace(PROOF, index=11), "outside"),
    "path": (replace(PROOF, path=PROOF.path[::-1]), "inclusion proof"),
    "path cut": (replace(PROOF, path=PROOF.path[:-1]), "has 3 hashes"),
    "another tree": (replace(PROOF, note=proof_for(0, ENTRIES[:9]).note), "inclusion proof"),
    "a stranger's note": (replace(PROOF, note=str(Signer(seed=4).checkpoint(11, bytes(32))).encode()), "stranger"),
    "a note that was changed": (replace(PROOF, note=PROOF.note.replace(b"\n11\n", b"\n12\n")), "does not hold"),
}


@pytest.mark.parametrize(("proof", "said"), CHANGED.values(), ids=CHANGED.keys())
def test_what_was_changed_is_named(proof: EntryProof, said: str) -> None:
    with pytest.raises(NotProven, match=said):
        EntryProof.parse(proof.encoded()).verify([LOG.key])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proof_or_refused(raw: bytes) -> None:
    with pytest.raises(NotProven):
        EntryProof.parse(raw)


def test_a_file_that_is_too_long_is_refused() -> None:
    with pytest.raises(NotProven, match="longer"):
        EntryProof.parse(PROOF.encoded() + b"x" * (5 << 20))


def test_the_origin_names_installation_org_and_stream() -> None:
    origin = LogOrigin.parse(Note.parse(PROOF.note).text.split("\n")[0])
    assert (origin.org, origin.stream, str(origin)) == ("*", "KT_EVENTS", ORIGIN)
    for text in ("", "keeptrusts/x", ORIGIN + "/more", ORIGIN.replace("keeptrusts", "other"), ORIGIN.lower()):
        with pytest.raises(NotProven):
            LogOrigin.parse(text)
