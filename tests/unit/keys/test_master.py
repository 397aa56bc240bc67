"""The master key: what is taken, what is refused, what follows from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.keys.domain.master import VARIABLE, parse_master_key, parse_previous_keys

MATERIAL = random.Random(1).randbytes(32)
random_material = st.builds(
    lambda seed, size: random.Random(seed).randbytes(size), st.integers(0), st.integers(32, 64)
)


def hkdf(material: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 by the letter, for a length of at most one hash."""
    extracted = hmac.digest(b"\0" * 32, material, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)[:length]


def refusal(text: bytes) -> KtError:
    with pytest.raises(KtError) as refused:
        parse_master_key(Secret(text))
    assert refused.value.code == "weak_master_key"
    assert "openssl rand -base64 32" in refused.value.hint
    return refused.value


@given(random_material)
def test_every_spelling_of_the_same_material_is_the_same_key(material: bytes) -> None:
    standard = base64.b64encode(material)
    spellings = [
        standard,
        standard.rstrip(b"="),
        base64.urlsafe_b64encode(material),
        base64.urlsafe_b64encode(material).rstrip(b"="),
        material.hex().encode(),
        material.hex().upper().encode(),
    ]
    keys = [parse_master_key(Secret(text)) for text in spellings]
    assert len({key.fingerprint for key in keys}) == 1
    assert all(key.wrapping_key == keys[0].wrapping_key for key in keys)


def test_the_derived_keys_follow_rfc_5869_with_a_label_each() -> None:
    key = parse_master_key(Secret(base64.b64encode(MATERIAL)))
    assert key.wrapping_key.reveal() == hkdf(MATERIAL, b"keeptrusts/v1/wrap", 32)
    assert key.fingerprint == "mk-" + hkdf(MATERIAL, b"keeptrusts/v1/fingerprint", 8).hex()


@given(st.binary(max_size=31))
def test_less_than_256_bits_are_refused(material: bytes) -> None:
    refusal(base64.b64encode(material))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "empty"),
        (b"   ", "empty"),
        (b" " + base64.b64encode(MATERIAL), "white space"),
        (base64.b64encode(MATERIAL) + b"\n", "white space"),
        (b'"' + base64.b64encode(MATERIAL) + b'"', "quotes"),
        (b"'" + base64.b64encode(MATERIAL), "quotes"),
        ("\u201c".encode() + base64.b64encode(MATERIAL), "ASCII"),
        (MATERIAL, "ASCII"),
        (b"correct horse battery staple, and then some more", "neither base64 nor hex"),
        (b"correcthorsebatterystaplecorrecthorsebatterystaple", "passphrase"),
        (b"KEEPTRUSTS_SECRET_ENCRYPTION_KEY=" + base64.b64encode(MATERIAL), "neither base64 nor hex"),
        (base64.b64encode(MATERIAL)[:-1] + b"==", "padding"),
        (base64.b64encode(MATERIAL)[:-3], "complete base64"),
        (base64.b64encode(MATERIAL)[:-4], "30 bytes"),
        (MATERIAL.hex().encode()[:-1], "odd number"),
        (MATERIAL.hex().encode()[:-2], "31 bytes"),
        (b"0" * 64, "pattern"),
        (base64.b64encode(b"\xff" * 32), "passphrase"),
        (bytes(range(32)).hex().encode(), "pattern"),
        (base64.b64encode(MATERIAL[:16] * 2), "pattern"),
        (base64.b64encode(bytes(random.Random(2).choices(range(0, 256, 16), k=32))), "few different bytes"),
        (base64.b64encode(base64.b64encode(MATERIAL)), "decodes to text"),
        (base64.b64encode(b"Correct horse battery staple, and more!"), "decodes to text"),
        (base64.b64encode(random.Random(3).randbytes(4096)), "longer than"),
    ],
)
def test_a_weak_or_mangled_key_is_refused_with_what_is_wrong(text: bytes, why: str) -> None:
    error = refusal(text)
    assert why in error.detail
    assert error.detail.startswith(VARIABLE)


@given(st.binary(min_size=6, max_size=60))
def test_no_refusal_repeats_what_was_given(text: bytes) -> None:
    try:
        parse_master_key(Secret(text))
    except KtError as error:
        assert text.decode("latin-1") not in str(error)  # noqa: PT017 - most inputs are refused, not all


@given(random_material)
def test_a_good_key_is_never_called_weak(material: bytes) -> None:
    assert parse_master_key(Secret(base64.b64encode(material))).fingerprint.startswith("mk-")


def test_previous_keys_are_a_list_the_latest_first() -> None:
    texts = [base64.b64encode(random.Random(seed).randbytes(32)) for seed in (5, 6, 7)]
    current = parse_master_key(Secret(texts[0]))
    previous = parse_previous_keys(Secret(b",".join(texts[1:])), current)
    assert [key.fingerprint for key in previous] == [parse_master_key(Secret(t)).fingerprint for t in texts[1:]]


@pytest.mark.parametrize("seeds", [(5,), (6, 6), (6, 5)])
def test_the_same_key_given_twice_is_refused_by_fingerprint(seeds: tuple[int, ...]) -> None:
    current = parse_master_key(Secret(base64.b64encode(random.Random(5).randbytes(32))))
    text = b",".join(base64.b64encode(random.Random(seed).randbytes(32)) for seed in seeds)
    with pytest.raises(KtError, match="mk-") as refused:
        parse_previous_keys(Secret(text), current)
    assert refused.value.code == "misconfigured"


def test_a_weak_previous_key_is_refused_by_its_own_name() -> None:
    current = parse_master_key(Secret(base64.b64encode(MATERIAL)))
    with pytest.raises(KtError, match="KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS") as refused:
        parse_previous_keys(Secret(b"too-short"), current)
    assert refused.value.code == "weak_master_key"
