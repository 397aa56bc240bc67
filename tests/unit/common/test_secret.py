"""A secret can't be shown, copied or compared by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.logging import JsonFormatter, redacted
from libs.common.names import checked_variable_name, looks_like_secret
from libs.common.secret import MAX_VALUE_BYTES, REDACTED, Secret, checked_value

PLAIN = "canary-plaintext"
SECRET = Secret.from_text(PLAIN)


@pytest.mark.parametrize(
    "shown", [str(SECRET), repr(SECRET), f"{SECRET}", f"{SECRET:>40}", f"{SECRET!r}", f"{[SECRET]}"]
)
def test_no_text_form_shows_it(shown: str) -> None:
    assert PLAIN not in shown


@pytest.mark.parametrize(
    "attempt", [pickle.dumps, copy.copy, copy.deepcopy, hash, iter, json.dumps, orjson.dumps, vars, bytes]
)
def test_what_would_copy_it_out_fails(attempt: object) -> None:
    with pytest.raises(TypeError):
        attempt(SECRET)  # type: ignore[operator]


def test_it_compares_by_value_with_its_own_kind_only() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "invalid_value"),
        ("a\0b", "invalid_value"),
        ("x" * (MAX_VALUE_BYTES + 1), "invalid_value"),
        ("é" * (MAX_VALUE_BYTES // 2 + 1), "invalid_value"),
        ("\ud800", "invalid_value"),
        (REDACTED, "redacted_value"),
        ("***", "redacted_value"),
        ("••••", "redacted_value"),
        ("[REDACTED]", "redacted_value"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused(value: str, code: str) -> None:
    with pytest.raises(KtError) as caught:
        checked_value(value)
    assert caught.value.code == code
    assert len(str(caught.value)) < 300


def test_the_largest_value_is_accepted() -> None:
    assert len(checked_value("x" * MAX_VALUE_BYTES)) == MAX_VALUE_BYTES


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "anthropic.production.key", "azure-openai-key-east-us", "provider_key_v2", "a", "x" * 128],
)
def test_the_names_of_the_field_are_accepted(name: str) -> None:
    assert checked_variable_name(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai/api/key", "slash at character 7"),
        ("my key", "space at character 3"),
        ("", "empty"),
        ("x" * 129, "129 characters; the limit is 128"),
        ("...", "dots only"),
        ("a\nb", "line break at character 2"),
        ("a\x07", "control character at character 2"),
        ("ΟPENAI", "U+039F"),  # a Greek capital omicron
        ("key\u200b", "U+200B"),
    ],
)
def test_other_names_are_refused_with_the_reason(name: str, said: str) -> None:
    with pytest.raises(KtError) as caught:
        checked_variable_name(name)
    assert caught.value.code == "invalid_name"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnop",
        "sk-ant-api03-abcdefghijklmnopqrst",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "0" * 32,
    ],
)
def test_a_key_in_the_place_of_a_name_is_refused_and_not_repeated(key: str) -> None:
    assert looks_like_secret(key)
    with pytest.raises(KtError) as caught:
        checked_variable_name(key)
    assert caught.value.code == "name_looks_like_secret"
    assert key not in str(caught.value.as_wire())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(SECRET),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["value", "api_token", "Authorization", "password", "plaintext"]))
def test_redaction_reaches_every_type_of_value(value: object, field: str) -> None:
    canary = "sk-proj-canarycanarycanary"
    for planted in ({"a": [value, canary]}, [canary.encode()], {"deep": {field: PLAIN}}, (value, {"x": (SECRET,)})):
        text = str(redacted(planted))
        assert canary not in text
        assert PLAIN not in text


def test_an_exception_in_the_log_shows_its_place_and_not_its_text() -> None:
    try:
        raise ValueError(PLAIN)
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "f", 1, "it.failed", None, sys.exc_info())
    line = JsonFormatter("test").format(record)
    assert PLAIN not in line
    assert "ValueError" in line
    assert "test_secret.py" in line
