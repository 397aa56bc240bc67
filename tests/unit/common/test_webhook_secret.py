"""Webhook secrets: what Standard Webhooks allows, and nothing that a receiver might read differently."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.names import looks_like_secret
from libs.common.secret import Secret
from libs.common.webhook_secret import generated, signing_key


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


GOOD = bytes(range(32))


def test_a_made_one_is_valid_and_never_the_same() -> None:
    one, two = generated(os.urandom), generated(os.urandom)
    assert one != two
    assert len(signing_key(one)) == 32
    assert looks_like_secret(one.reveal().decode()), "a log would redact it"


@given(st.binary(min_size=24, max_size=64).filter(lambda key: len(set(key)) >= 12))
def test_the_key_is_what_was_encoded_with_or_without_padding(key: bytes) -> None:
    assert signing_key(Secret.from_text(whsec(key))).reveal() == key
    assert signing_key(Secret.from_text(whsec(key).rstrip("="))).reveal() == key


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not begin"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin"),
        ("WHSEC_" + whsec(GOOD)[6:], "does not begin"),
        ("whsec_", "0 bytes"),
        (whsec(bytes(range(23))), "23 bytes"),
        (whsec(bytes(range(65))), "65 bytes"),
        (whsec(b"\xfb\xff\xfe" + GOOD).replace("+", "-").replace("/", "_"), "not base64"),
        (whsec(GOOD) + "\n", "not base64"),
        (whsec(GOOD)[:-3] + "é", "not base64"),
        ("whsec_correct horse battery staple", "not base64"),
        (whsec(b"a" * 32), "too regular"),
    ],
)
def test_any_other_is_refused_and_never_repeated(text: str, problem: str) -> None:
    with pytest.raises(KtError, match=problem) as caught:
        signing_key(Secret.from_text(text))
    assert caught.value.code == "invalid_value"
    assert len(text) < 8 or text[6:] not in str(caught.value)
