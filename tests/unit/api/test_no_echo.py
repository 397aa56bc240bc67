"""Whatever is sent, the answer is no server failure and repeats none of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.api.http import Answer, request
from tests.unit.api.system import System, token_for

SYSTEM = System()
CANARY = "canary4711"
ADMIN = {"Authorization": f"Bearer {token_for('admin')}"}
JSON = {**ADMIN, "Content-Type": "application/json"}
ROUTES = [
    ("POST", "/v1/config-variables"),
    ("PATCH", "/v1/config-variables/A"),
    ("POST", "/v1/config-variables/A/rotate"),
    ("POST", "/v1/config-variables/A/rollback"),
    ("POST", "/v1/machine/resolve"),
    ("POST", "/v1/machine/bus-identity"),
    ("POST", "/v1/tokens"),
    ("POST", "/v1/tokens/introspect"),
]
FIELDS = ["value", "token", "version", "recipient_key", "ttl", "ttl_seconds", "role", "user_public_key", "references"]

planted = st.one_of(
    st.just(CANARY),
    st.text(max_size=20).map(lambda text: f"{text}{CANARY}"),
    st.sampled_from([f"a/{CANARY}", f"{CANARY} ", f"{CANARY}\0", f"********{CANARY}", CANARY * 10_000]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**17, 10**40),
    st.floats(allow_nan=False),
    planted,
    st.sampled_from(["A", "*", "********", ""]),
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | planted, inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(FIELDS) | planted, trees, max_size=6) | trees


def ask(method: str, target: str, headers: Any, body: bytes) -> Answer:
    async def once() -> Answer:
        return await request(SYSTEM.app, method, target, headers, body)

    return asyncio.run(once())


def assert_harmless(answer: Answer) -> None:
    assert answer.status < 500 or answer.code in ("unavailable", "overloaded")
    assert CANARY.encode() not in answer.everything
    if answer.status >= 400:
        assert answer.code
    SYSTEM.bus.asked.clear()


@pytest.mark.parametrize(("method", "path"), ROUTES)
@settings(max_examples=60, deadline=None)
@given(document=documents)
def test_no_document_is_echoed_or_fails_inside(method: str, path: str, document: object) -> None:
    assert_harmless(ask(method, path, JSON, json.dumps(document).encode()))


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=200).map(lambda raw: raw + CANARY.encode()),
    media=st.sampled_from(["application/json", CANARY]),
)
def test_no_bytes_are_echoed_or_fail_inside(body: bytes, media: str) -> None:
    assert_harmless(ask("POST", "/v1/config-variables", {**ADMIN, "Content-Type": media}, body))


HEADERS = [
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Content-Type",
    "User-Agent",
    "Content-Length",
]
LATIN = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=30)


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), LATIN.map(lambda text: CANARY + text)), max_size=5),
    signed=st.booleans(),
)
def test_no_header_is_echoed_or_fails_inside(method: str, headers: list[tuple[str, str]], signed: bool) -> None:
    sent = [*ADMIN.items(), *headers] if signed else headers

    assert_harmless(ask(method, "/v1/config-variables/A", sent, b"{}"))


@settings(max_examples=200, deadline=None)
@given(
    base=st.sampled_from(
        ["/v1/config-variables", "/v1/events", "/v1/config-variables/A", "/v1/machine/config-variables/A"]
    ),
    query=st.lists(
        st.tuples(st.sampled_from(["limit", "prefix", "cursor", "filter", "follow", CANARY]), planted), max_size=3
    ),
)
def test_no_query_is_echoed_or_fails_inside(base: str, query: list[tuple[str, str]]) -> None:
    from urllib.parse import urlencode  # noqa: PLC0415 - only here

    text = urlencode(query, errors="replace")[:5000]

    assert_harmless(ask("GET", f"{base}?{text}", ADMIN, b""))


@settings(max_examples=100, deadline=None)
@given(path=st.text(max_size=30))
def test_no_path_is_echoed_or_fails_inside(path: str) -> None:
    for prefix in ("/v1/config-variables/", "/v1/machine/config-variables/", "/"):
        assert_harmless(ask("GET", f"{prefix}{path.replace('?', '')} {CANARY}", ADMIN, b""))


@settings(max_examples=200, deadline=None)
@given(
    token=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=60)
    | st.binary(max_size=60).map(lambda b: b.hex())
)
def test_no_token_is_echoed_or_fails_inside(token: str) -> None:
    answer = ask("GET", "/v1/config-variables/A", {"Authorization": f"Bearer {CANARY}.{token}.{CANARY}"}, b"")

    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert_harmless(answer)
