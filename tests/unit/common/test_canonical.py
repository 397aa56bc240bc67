"""One document has one byte sequence."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.canonical import canonical_json

ascii_keys = st.text(st.characters(max_codepoint=127, min_codepoint=32), max_size=8)
documents = st.dictionaries(
    ascii_keys,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)


@given(documents)
def test_reading_and_writing_again_gives_the_same_bytes(document: dict[str, Any]) -> None:
    first = canonical_json(document)
    assert canonical_json(orjson.loads(first)) == first


@given(documents)
def test_the_order_of_members_does_not_matter(document: dict[str, Any]) -> None:
    assert canonical_json(dict(reversed(document.items()))) == canonical_json(document)


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, {"é": 1}, {1: 2}, [{"a": [0.1]}]])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="canonical JSON"):
        canonical_json({"a": value})
