"""Sealed values: what went in comes out, and nothing that was changed, moved or swapped does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.keys.domain.aead import NONCE_BYTES, OVERHEAD_BYTES, NotAuthentic, associated_data, decrypt, encrypt
from services.keys.domain.sealed import (
    FRESH_BYTES,
    Binding,
    Fresh,
    KeyEncryptionKey,
    SealedValue,
    rewrap,
    seal,
    unseal,
)

fields = st.lists(st.one_of(st.text(max_size=8), st.binary(max_size=8)), max_size=5)
keys = st.builds(KeyEncryptionKey, st.uuids().map(str), st.binary(min_size=32, max_size=32).map(Secret))
fresh = st.binary(min_size=FRESH_BYTES, max_size=FRESH_BYTES).map(Fresh.from_bytes)
values = st.binary(min_size=1, max_size=300)
bindings = st.builds(
    Binding,
    org=st.from_regex(r"[a-z0-9][a-z0-9-]{0,5}", fullmatch=True),
    kind=st.sampled_from(["config_variable", "git_token"]),
    name=st.from_regex(r"[A-Z_]{1,6}", fullmatch=True),
    sealed_id=st.uuids().map(str),
)


@st.composite
def sealed_values(draw: st.DrawFn) -> tuple[bytes, SealedValue, KeyEncryptionKey]:
    value, key = draw(values), draw(keys)
    return value, seal(Secret(value), draw(bindings), key, draw(fresh)), key


def encoded(sequence: list[str | bytes]) -> list[bytes]:
    return [field.encode() if isinstance(field, str) else field for field in sequence]


@given(fields, fields)
def test_different_fields_never_encode_alike(one: list[str | bytes], other: list[str | bytes]) -> None:
    assert (associated_data(*one) == associated_data(*other)) == (encoded(one) == encoded(other))


@given(st.binary(max_size=50), st.binary(max_size=20))
def test_the_layout_is_format_nonce_ciphertext_tag(plaintext: bytes, associated: bytes) -> None:
    key, nonce = Secret(b"k" * 32), b"n" * NONCE_BYTES
    sealed = encrypt(key, nonce, Secret(plaintext), associated)
    assert sealed[:1] == b"\x01"
    assert sealed[1:13] == nonce
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert decrypt(key, sealed, associated).reveal() == plaintext


@given(sealed_values())
def test_a_sealed_value_opens_in_its_place(case: tuple[bytes, SealedValue, KeyEncryptionKey]) -> None:
    value, sealed, key = case
    assert unseal(sealed, key).reveal() == value
    assert sealed.plaintext_bytes == len(value)


@given(sealed_values(), st.data())
def test_any_changed_byte_is_refused(case: tuple[bytes, SealedValue, KeyEncryptionKey], data: st.DataObject) -> None:
    _, sealed, key = case
    part = data.draw(st.sampled_from(["wrapped_data_key", "ciphertext"]))
    raw = bytearray(getattr(sealed, part))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    parts: dict[str, Any] = {part: bytes(raw)}
    changed = replace(sealed, **parts)
    with pytest.raises(NotAuthentic):
        unseal(changed, key)
    assert (changed.digest == sealed.digest) == (part == "wrapped_data_key")


@given(sealed_values(), st.data())
def test_any_cut_is_refused(case: tuple[bytes, SealedValue, KeyEncryptionKey], data: st.DataObject) -> None:
    _, sealed, key = case
    part = data.draw(st.sampled_from(["wrapped_data_key", "ciphertext"]))
    raw = getattr(sealed, part)
    kept = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(NotAuthentic):
        unseal(replace(sealed, **{part: raw[:kept]}), key)


@given(sealed_values(), bindings, st.sampled_from(["org", "kind", "name", "sealed_id"]))
def test_a_row_moved_to_another_place_is_refused(
    case: tuple[bytes, SealedValue, KeyEncryptionKey], other: Binding, field: str
) -> None:
    _, sealed, key = case
    assume(getattr(sealed.binding, field) != getattr(other, field))
    moved = replace(sealed, binding=replace(sealed.binding, **{field: getattr(other, field)}))
    assert moved.digest != sealed.digest
    with pytest.raises(NotAuthentic):
        unseal(moved, key)


@given(bindings, bindings, keys, fresh, fresh)
def test_parts_of_two_rows_do_not_mix(
    here: Binding, there: Binding, key: KeyEncryptionKey, first: Fresh, second: Fresh
) -> None:
    assume(here != there and first != second)
    a, b = seal(Secret(b"one"), here, key, first), seal(Secret(b"other"), there, key, second)
    for mixed in (
        replace(a, wrapped_data_key=b.wrapped_data_key),
        replace(a, ciphertext=b.ciphertext),
        replace(a, binding=b.binding),
    ):
        with pytest.raises(NotAuthentic):
            unseal(mixed, key)


@given(sealed_values(), keys)
def test_another_key_is_refused(case: tuple[bytes, SealedValue, KeyEncryptionKey], other: KeyEncryptionKey) -> None:
    _, sealed, key = case
    assume(other.material != key.material)
    with pytest.raises(NotAuthentic):
        unseal(sealed, other)
    with pytest.raises(NotAuthentic):
        unseal(sealed, replace(other, id=key.id))


@given(sealed_values(), keys, st.binary(min_size=12, max_size=12))
def test_wrapping_the_data_key_anew_keeps_ciphertext_and_digest(
    case: tuple[bytes, SealedValue, KeyEncryptionKey], to: KeyEncryptionKey, nonce: bytes
) -> None:
    value, sealed, key = case
    assume(to.id != key.id)
    moved = rewrap(sealed, key, to, nonce)
    assert (moved.ciphertext, moved.digest, moved.key_id) == (sealed.ciphertext, sealed.digest, to.id)
    assert unseal(moved, to).reveal() == value
    with pytest.raises(NotAuthentic):
        unseal(moved, key)


def test_nothing_of_a_value_or_key_shows_in_print() -> None:
    key = KeyEncryptionKey("id", Secret(b"K" * 32))
    made = Fresh.from_bytes(b"F" * FRESH_BYTES)
    text = f"{key!r} {replace(made, value_nonce=b'', key_nonce=b'')!r}"
    assert "KKK" not in text
    assert "FFF" not in text


@pytest.mark.parametrize(
    ("org", "kind", "name", "sealed_id"),
    [
        ("Default", "config_variable", "A", "0190a0b0-0000-7000-8000-000000000000"),
        ("default\0", "config_variable", "A", "0190a0b0-0000-7000-8000-000000000000"),
        ("default", "config\0variable", "A", "0190a0b0-0000-7000-8000-000000000000"),
        ("default", "", "A", "0190a0b0-0000-7000-8000-000000000000"),
        ("default", "config_variable", "", "0190a0b0-0000-7000-8000-000000000000"),
        ("default", "config_variable", "A\0B", "0190a0b0-0000-7000-8000-000000000000"),
        ("default", "config_variable", "A" * 129, "0190a0b0-0000-7000-8000-000000000000"),
        ("default", "config_variable", "A", "0190A0B0-0000-7000-8000-000000000000"),
        ("default", "config_variable", "A", "not-a-uuid"),
        ("default", "config_variable", "A", "0190a0b0-0000-7000-8000-000000000000\n"),
    ],
)
def test_a_place_that_is_not_well_formed_is_refused(org: str, kind: str, name: str, sealed_id: str) -> None:
    with pytest.raises(KtError) as refused:
        Binding.checked(org, kind, name, sealed_id)
    assert refused.value.code in {"invalid_request", "invalid_name"}
