"""The signing keys as they are given: what is taken exactly as written, and each way of being refused."""

from __future__ import annotations

import string
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.auth.token_keys import MAX_KEYS, TokenKeys
from libs.common.errors import KtError
from libs.common.secret import Secret

ONE = "q8Zt-mWc5yRb2xNe7uJf4sLd9gPh1oTa6iVkK3v0Q_s"
TWO = "Yb3mTf7hSg1dUe5aC4vt8ZqL2wXk6RjN9pAo0iBcDeF="
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
CLAIMS: dict[str, Any] = {"iss": "keeptrusts", "sub": "a", "jti": "1", "iat": 1, "exp": 2**33}

VISIBLE = "".join(c for c in string.printable if c.isprintable() and c not in " ,")
IDS = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
SECRETS = st.lists(st.sampled_from(VISIBLE.translate({ord(c): None for c in "\"'`"})), min_size=48, max_size=80).map(
    "".join
)


def parsed(text: str | bytes, place: str = "THE_KEYS") -> TokenKeys:
    return TokenKeys.parse(Secret(text.encode() if isinstance(text, str) else text), place)


def refusal(text: str | bytes) -> str:
    with pytest.raises(KtError) as caught:
        parsed(text)
    assert caught.value.code == "misconfigured"
    assert caught.value.detail.startswith("THE_KEYS can't be used: ")
    return str(caught.value)


def looks_random(secret: str) -> bool:
    return len(set(secret)) >= 8 and not any(secret[p:] == secret[:-p] for p in range(1, len(secret) // 2 + 1))


@given(st.dictionaries(IDS, SECRETS.filter(looks_random), min_size=1, max_size=5))
def test_each_secret_is_the_text_behind_the_first_colon_and_the_last_one_signs(entries: dict[str, str]) -> None:
    if len(set(entries.values())) < len(entries) or any(secret[0] == ":" for secret in entries.values()):
        return
    keys = parsed(",".join(f"{kid}:{secret}" for kid, secret in entries.items()))

    assert keys.kids == tuple(entries)
    token = keys.sign(CLAIMS)
    kid, secret = list(entries.items())[-1]
    assert jwt.get_unverified_header(token)["kid"] == keys.current == kid
    assert jwt.decode(token, secret, algorithms=["HS256"], issuer="keeptrusts") == CLAIMS
    for kid, secret in entries.items():
        assert keys.verify(jwt.encode(CLAIMS, secret, headers={"kid": kid})) == CLAIMS


@given(st.text(max_size=200) | st.text("kid12:,'\" \n" + ONE, max_size=200))
def test_whatever_is_written_there_it_is_taken_as_a_whole_or_refused_without_an_echo(text: str) -> None:
    told = ""
    try:
        assert len(parsed(text.encode(errors="replace")).kids) == text.count(",") + 1
    except KtError as error:
        told = str(error)
    assert not any(part in told for part in text.replace(":", ",").split(",") if len(part) > 20)


def test_a_colon_in_a_secret_is_part_of_it() -> None:
    secret = "c4Vt8:ZqL2wXk6:RjN9pYb3mTf7hSg1dUe5a::Qr0"
    token = parsed(f"kid1:{secret}").sign(CLAIMS)

    assert jwt.decode(token, secret, algorithms=["HS256"]) == CLAIMS
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, secret.partition(":")[2], algorithms=["HS256"])


@pytest.mark.parametrize(
    "secret",
    [
        ONE,
        TWO,
        HEX,
        HEX.upper(),
        "a passphrase of words".replace(" ", "-") + "!that,is.long;enough&has:signs".replace(",", ";"),
    ],
)
def test_256_bits_are_enough(secret: str) -> None:
    assert parsed(f"kid1:{secret}").current == "kid1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("just-a-secret", "entry 1 has no key id and colon"),
        (f":{ONE}", "entry 1 has an empty key id"),
        (f"k1:{ONE},:{TWO}", "entry 2 has an empty key id"),
        (f"k1:{ONE},", "entry 2 has no key id and colon"),
        (f"k1:{ONE},,k2:{TWO}", "entry 2 has no key id and colon"),
        (f"k1:{ONE},with-a-comma", "a secret can't hold a comma"),
        (f"k1:{ONE},k1:{TWO}", "entry 2 repeats a key id"),
        (f"k1:{ONE},k2:{ONE}", "entry 2 repeats the secret"),
        ("k1:", "entry 1 holds 0 bits"),
        (f"k1:{ONE},k2:tooshort", "the secret of entry 2 holds 48 bits of key material (8 characters of base64)"),
        (f"k1:{HEX[:32]}", "128 bits of key material (32 characters of hex)"),
        (f"k1:{HEX[:63]}", "252 bits"),
        (f"k1:{ONE[:42]}", "252 bits"),
        ("k1:" + "!%" * 19, "expected at least 256"),
        ("k1:" + "a" * 64, "repeats a pattern"),
        ("k1:" + "correct-horse-" * 5, "repeats a pattern"),
        (f"k1: {ONE}", "entry 1 has white space around"),
        (f"k1 :{ONE}", "entry 1 has white space around"),
        (f"k1:{ONE}, k2:{TWO}", "entry 2 has white space around"),
        (f"k1:{ONE},\nk2:{TWO}", "entry 2 has white space around"),
        (f"k1:{ONE} ,k2:{TWO}", "entry 1 has white space around"),
        (f"k1:{ONE}\n", "white space stands around the text"),
        (f" k1:{ONE}", "white space stands around the text"),
        (f"k1:{ONE[:20]} {ONE[20:]}", "entry 1 holds white space or a control character"),
        (f"k1:{ONE[:20]}\t{ONE[20:]}", "entry 1 holds white space or a control character"),
        (f"k1:{ONE}\0", "entry 1 holds white space or a control character"),
        (f'"k1:{ONE}"', "entry 1 has quotes"),
        (f'k1:"{ONE}"', "entry 1 has quotes"),
        (f"k1:'{ONE}'", "entry 1 has quotes"),
        (f"k1:{ONE}'", "entry 1 has quotes"),
        (f"k 1:{ONE}", "entry 1 holds white space"),
        (f"k/1:{ONE}", "the key id of entry 1 is not valid"),
        (f"-k1:{ONE}", "the key id of entry 1 is not valid"),
        (f"{'k' * 65}:{ONE}", "the key id of entry 1 is not valid"),
        (f"{HEX}:{ONE}", "nothing like a secret"),
        (f"k1:{ONE[:-1]}é", "wrongly encoded"),
        (b"\xef\xbb\xbfk1:" + ONE.encode(), "wrongly encoded"),
        (f"k1:{ONE}".encode("utf-16"), "wrongly encoded"),
        (f"k1:{ONE}".encode("utf-16-le"), "entry 1 holds white space or a control character"),
        (b"k1:" + bytes(range(128, 192)), "wrongly encoded"),
        (",".join(f"k{n}:{ONE}" for n in range(MAX_KEYS + 1)), "expected at most 32"),
    ],
)
def test_keys_that_can_not_be_used_are_refused_by_entry_and_reason(text: str | bytes, said: str) -> None:
    told = refusal(text)

    assert said in told
    assert "openssl rand" in told
    assert ONE not in told
    assert ONE[:20] not in told
    assert HEX[:20] not in told


def test_a_key_id_that_stands_for_another_secret_is_noticed() -> None:
    before = parsed(f"k1:{ONE}")

    assert parsed(f"k1:{TWO}").redefined(before)
    assert parsed(f"k1:{TWO},k2:{ONE}").redefined(before)
    assert not parsed(f"k1:{ONE},k2:{TWO}").redefined(before)
    assert not parsed(f"k2:{TWO}").redefined(before)
