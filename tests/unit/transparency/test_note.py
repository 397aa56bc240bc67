"""Signed notes: notes that others published, and no byte that could be another."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.transparency.merkle import EMPTY_ROOT, NotProven
from libs.common.transparency.note import (
    COSIGNATURE,
    Checkpoint,
    Note,
    Signature,
    VerifierKey,
    cosigned_at,
    signers,
    verified_checkpoint,
)
from tests.unit.transparency.signing import ORIGIN, Signer

NEUMANN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The note that documents the format's first implementation."""

GOLANG_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GOLANG = (
    "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
"""A checkpoint of a public log; C2SP tlog-checkpoint shows it under another origin."""

WITNESSED = (
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe"
    "+mbIUBkBIfZ+qnA=="
)
"""The cosignature of C2SP tlog-cosignature."""

ROOT = bytes(range(32))


@pytest.mark.parametrize(("text", "key"), [(NEUMANN, NEUMANN_KEY), (GOLANG, GOLANG_KEY)])
def test_notes_that_others_published_verify_and_are_written_as_they_were(text: str, key: str) -> None:
    note, verifier = Note.parse(text.encode()), VerifierKey.parse(key)
    assert signers(note, [verifier]) == (verifier,)
    assert str(note) == text
    assert str(verifier) == key


@pytest.mark.parametrize(("text", "key"), [(NEUMANN, NEUMANN_KEY), (GOLANG, GOLANG_KEY)])
def test_not_one_character_of_them_can_be_changed(text: str, key: str) -> None:
    verifier, raw = VerifierKey.parse(key), text.encode()
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        try:
            found = signers(Note.parse(bytes(changed)), [verifier])
        except NotProven:
            continue
        assert found == (), f"byte {place}"


def test_a_published_checkpoint_is_read() -> None:
    checkpoint = Checkpoint.parse(Note.parse(GOLANG.encode()).text)
    assert (checkpoint.origin, checkpoint.size) == ("go.sum database tree", 20852163)
    assert checkpoint.text == Note.parse(GOLANG.encode()).text


def test_the_time_of_a_published_cosignature_is_read() -> None:
    assert cosigned_at(Signature.parse(WITNESSED)) == 1_679_315_147
    assert str(Signature.parse(WITNESSED)) == f"{WITNESSED}\n"


def test_a_checkpoint_counts_when_the_log_signed_it() -> None:
    log = Signer()
    note = log.checkpoint(7, ROOT)
    assert verified_checkpoint(str(note).encode(), [Signer(seed=9).key, log.key]) == Checkpoint(ORIGIN, 7, ROOT)


def test_a_checkpoint_signed_by_a_stranger_is_refused() -> None:
    log, stranger = Signer(), Signer(seed=2)
    for note in (stranger.checkpoint(7, ROOT), Signer("elsewhere/log").checkpoint(7, ROOT)):
        with pytest.raises(NotProven, match="stranger"):
            verified_checkpoint(str(note).encode(), [log.key])
    claimed = Signature(log.key.name, log.key.key_id, stranger.sign(Checkpoint(ORIGIN, 7, ROOT).text).value)
    with pytest.raises(NotProven, match="does not hold"):
        verified_checkpoint(str(Note(Checkpoint(ORIGIN, 7, ROOT).text, (claimed,))).encode(), [log.key])


def test_the_key_of_another_log_signs_nothing_here() -> None:
    other = Signer("keeptrusts/019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11/*/KT_ACCESS")
    text = Checkpoint(ORIGIN, 7, ROOT).text
    with pytest.raises(NotProven, match="another log"):
        verified_checkpoint(str(Note(text, (other.sign(text),))).encode(), [other.key])


def test_a_witness_adds_its_signature_and_alone_is_not_enough() -> None:
    log, witness = Signer(), Signer("witness.example/w1", 3, COSIGNATURE)
    note = log.checkpoint(7, ROOT)
    both = note.with_signatures([witness.sign(note.text), *note.signatures])
    assert len(both.signatures) == 2
    assert signers(both, [log.key, witness.key]) == (log.key, witness.key)
    assert verified_checkpoint(str(both).encode(), [log.key]).size == 7
    with pytest.raises(NotProven):
        verified_checkpoint(str(Note(note.text, (witness.sign(note.text),))).encode(), [log.key, witness.key])


def test_a_cosignature_covers_its_time() -> None:
    witness = Signer("witness.example/w1", 3, COSIGNATURE)
    made = witness.sign("text\n", at=5)
    later = Signature(made.name, made.key_id, (6).to_bytes(8, "big") + made.value[8:])
    with pytest.raises(NotProven, match="does not hold"):
        witness.key.verify("text\n", later)
    with pytest.raises(NotProven, match="form"):
        witness.key.verify("text\n", Signature(made.name, made.key_id, made.value[8:]))


MALFORMED = {
    "nothing": "",
    "no signature": "text\n",
    "no empty line": "text\n— a AAAAAAA=\n",
    "no text": "\n\n— a AAAAAAA=\n",
    "no line break at the end": "text\n\n— a AAAAAAA=",
    "something behind it": "text\n\n— a AAAAAAA=\nmore",
    "an empty line behind it": "text\n\n— a AAAAAAA=\n\n",
    "a control character": "te\txt\n\n— a AAAAAAA=\n",
    "a carriage return": "text\r\n\n— a AAAAAAA=\n",
    "another dash": "text\n\n- a AAAAAAA=\n",
    "no name": "text\n\n—  AAAAAAA=\n",
    "a plus in the name": "text\n\n— a+b AAAAAAA=\n",
    "a wide space in the name": "text\n\n— a\N{IDEOGRAPHIC SPACE}b AAAAAAA=\n",
    "three words": "text\n\n— a AAAAAAA= b\n",
    "no signature bytes": "text\n\n— a AAAAAA==\n",
    "base64 with other padding bits": "text\n\n— a AAAAAAB=\n",
    "base64 without padding": "text\n\n— a AAAAAAA\n",
    "too many signatures": "text\n\n" + "— a AAAAAAA=\n" * 65,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NotProven):
        Note.parse(text.encode())


def test_bytes_that_are_no_text_and_too_many_bytes_are_refused() -> None:
    for raw in (b"\xff\n\n" + "— a AAAAAAA=\n".encode(), b"x" * 70_000 + GOLANG.encode()):
        with pytest.raises(NotProven):
            Note.parse(raw)


ENCODED = base64.b64encode(EMPTY_ROOT).decode()
NO_CHECKPOINTS = (
    "",
    "log\n",
    f"log\n1\n{ENCODED}",
    f"log\n01\n{ENCODED}\n",
    f"log\n-1\n{ENCODED}\n",
    f"log\n+1\n{ENCODED}\n",
    f"log\n1 \n{ENCODED}\n",
    f"log\n١\n{ENCODED}\n",
    f"log\n{'9' * 20}\n{ENCODED}\n",
    f"\n1\n{ENCODED}\n",
    "log\n1\nAAAA\n",
    f"log\n1\n{ENCODED}\nextension\n",
    f"log\n1\n{ENCODED}\n\n",
)


@pytest.mark.parametrize("text", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NotProven):
        Checkpoint.parse(text)


NO_KEYS = (
    "",
    "name",
    "name+c74f20a3",
    NEUMANN_KEY.replace("c74f", "c74e"),
    NEUMANN_KEY.replace("Peter", "Pete"),
    NEUMANN_KEY[:-4],
    NEUMANN_KEY + "+",
    NEUMANN_KEY.replace("+ARpc", "+AhpC"),
    "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
)


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NotProven):
        VerifierKey.parse(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_refused_and_a_note_has_one_form(raw: bytes) -> None:
    try:
        note = Note.parse(raw)
    except NotProven:
        return
    assert str(note).encode() == raw
