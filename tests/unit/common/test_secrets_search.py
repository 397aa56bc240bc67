"""The search of the canary test finds what it claims to find; otherwise its silence would mean nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.secrets_search import Search

SECRET = "cnry+path/with spaces&signs=0123456789"


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_it_finds_every_form_wherever_it_stands(before: bytes, after: bytes) -> None:
    raw = SECRET.encode()
    planted = [
        before + raw + after,
        base64.b64encode(before + raw + after),
        base64.urlsafe_b64encode(before + raw + after),
        (before + raw + after).hex().encode(),
        quote(before + raw + after, safe="").encode(),
    ]
    for content in planted:
        assert list(Search({"x": SECRET}).bytes(content, "here"))


@given(st.sets(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=6), st.binary(max_size=20))
def test_of_several_each_is_found_though_they_begin_alike(secrets: set[str], around: bytes) -> None:
    search = Search({secret: secret for secret in {*secrets, "long " * 500}})
    for secret in secrets:
        assert list(search.bytes(around + secret.encode() + around, "here"))


def test_it_says_what_it_found_and_where(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * (4 * 1024 * 1024 - 10) + SECRET.encode())
    (tmp_path / "b.log").write_text("nothing")
    assert list(Search({"create": SECRET}).files(tmp_path)) == ["a.log: the secret of `create` in clear"]


@pytest.mark.parametrize("content", [b"", b"cnry+path", SECRET.upper().encode()])
def test_it_does_not_find_what_is_not_there(content: bytes) -> None:
    assert list(Search({"x": SECRET}).bytes(content, "here")) == []
