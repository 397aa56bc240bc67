"""Keys of the keyring and the tokens they sign."""

from __future__ import annotations

from dataclasses import replace

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.hpke import BoxPrivateKey
from libs.common.secret import Secret
from services.keys.domain import client_tokens
from services.keys.domain.aead import NotAuthentic
from services.keys.domain.keyring import Purpose, UnwrappedKey, inspect, material_bytes, new_key, unwrap, wrap
from tests.unit.keys.support import START, flipped, master

ONE, TWO, THREE = master(1), master(2), master(3)
NONCE = b"n" * 12


def key(purpose: Purpose, material: bytes = b"") -> UnwrappedKey:
    return new_key(
        purpose,
        key_id="0193a5c2-7b1e-7c4d-9f3a-2b6d8e0f1a3c",
        org="default",
        material=Secret(material or b"m" * material_bytes(purpose)),
        nonce=NONCE,
        master=ONE,
        now=START,
    )


@given(st.sampled_from(Purpose), st.data())
def test_a_key_unwraps_to_its_material_under_its_master_key_only(purpose: Purpose, data: st.DataObject) -> None:
    size = material_bytes(purpose)
    made = key(purpose, data.draw(st.binary(min_size=size, max_size=size)))
    assert unwrap(made.entry, ONE).material == made.material
    with pytest.raises(NotAuthentic):
        unwrap(made.entry, TWO)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_key_takes_exactly_its_bytes_of_randomness(purpose: Purpose) -> None:
    with pytest.raises(ValueError, match="random bytes"):
        key(purpose, b"m" * (material_bytes(purpose) - 1))


def test_public_halves_belong_to_their_keys() -> None:
    transport = key(Purpose.TRANSPORT)
    assert transport.entry.public == BoxPrivateKey(transport.material).public.encoded
    signing = key(Purpose.CLIENT_TOKEN)
    assert signing.entry.public == client_tokens.public_key(signing.material)
    assert key(Purpose.KEY_ENCRYPTION).entry.public == b""


def test_inspection_sorts_entries_by_what_the_given_keys_make_of_them() -> None:
    made = key(Purpose.CANARY)
    current, old, foreign = made.entry, wrap(made, NONCE, TWO).entry, wrap(made, NONCE, THREE).entry
    changed = replace(current, wrapped=flipped(current.wrapped))
    found = inspect([current, old, foreign, changed], ONE, [TWO])
    assert [k.entry for k in found.current] == [current]
    assert [k.entry for k in found.superseded] == [old]
    assert (found.foreign, found.damaged) == ((foreign,), (changed,))


def test_a_client_token_verifies_with_its_json_web_key() -> None:
    material = Secret(b"s" * 32)
    token = client_tokens.sign({"sub": "app"}, material, "kid-1")
    published = client_tokens.json_web_key(client_tokens.public_key(material), "kid-1")
    assert published.keys() == {"kty", "crv", "alg", "use", "kid", "x"}
    assert jwt.decode(token, jwt.PyJWK(published), algorithms=["EdDSA"]) == {"sub": "app"}
    assert jwt.get_unverified_header(token)["kid"] == "kid-1"


def test_the_json_web_key_is_that_of_rfc_8037_appendix_a() -> None:
    material = Secret(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    published = client_tokens.json_web_key(client_tokens.public_key(material), "k")
    assert published["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
