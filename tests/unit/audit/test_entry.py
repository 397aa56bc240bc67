"""What is searched for in a message, and that no message is beyond it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import REGISTRY, Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableResolveFailed, ConfigVariableRotated
from libs.common.events.gateway import GatewayEnrolled
from libs.common.events.secret import SealedRef
from services.audit.domain.entry import MAX_COLUMN_CHARACTERS, Columns, columns_of

SUBJECT = "kt.access.v1.acme.config_variable.A"


def encoded(event: object, resource: Resource, actor: Actor) -> bytes:
    metadata = Metadata("e-1", "2026-11-23T07:39:03.192164Z", "acme", "keeptrusts/test", actor, Origin("r-1"))
    return encode(event, resource, metadata, REGISTRY)[1]


def altered(change: dict[str, Any], data: dict[str, Any]) -> bytes:
    body = encoded(GatewayEnrolled("t1", ()), Resource("gateway", "edge-1"), Actor("admin", "alice"))
    document = orjson.loads(body)
    return orjson.dumps({**document, **change, "data": {**document["data"], **data}})


def test_the_columns_of_a_change() -> None:
    event = ConfigVariableRotated(2, SealedRef("s", "d"))
    body = encoded(event, Resource("config_variable", "OPENAI_API_KEY", 2), Actor("admin", "alice"))
    assert columns_of(SUBJECT, body) == Columns(
        event_id="e-1",
        org="acme",
        type="kt.config_variable.rotated.v1",
        category="secret_management",
        action="rotate",
        outcome="success",
        actor="alice",
        resource_type="config_variable",
        resource_id="OPENAI_API_KEY",
        gateway="",
        correlation="r-1",
    )


def test_the_gateway_is_who_acted_or_what_was_acted_on() -> None:
    event = ConfigVariableResolveFailed("not_found", "startup")
    by_gateway = encoded(event, Resource("config_variable", "A"), Actor("gateway", "edge-1"))
    on_gateway = encoded(GatewayEnrolled("t1", ()), Resource("gateway", "edge-2"), Actor("admin", "alice"))
    assert columns_of(SUBJECT, by_gateway).gateway == "edge-1"
    assert columns_of(SUBJECT, by_gateway).outcome == "failure"
    assert columns_of(SUBJECT, on_gateway).gateway == "edge-2"


def test_an_event_of_a_type_unknown_here_keeps_its_columns() -> None:
    columns = columns_of(SUBJECT, altered({"type": "kt.future.happened.v9"}, {}))
    assert (columns.type, columns.actor) == ("kt.future.happened.v9", "alice")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"17",
        b'"text"',
        b"{}",
        b'{"data":[]}',
        b"[" * 5000,
        b'{"id":"\\ud800"}',
        altered({"id": 7}, {}),
        altered({}, {"actor": None}),
        altered({}, {"resource": {"id": ["x"], "type": "t"}}),
    ],
)
def test_what_is_no_event_has_an_org_and_no_type(body: bytes) -> None:
    assert columns_of(SUBJECT, body) == Columns("", "acme", "", "", "", "", "", "", "", "", "")


def test_text_that_postgresql_can_not_store_or_index_is_made_to_fit() -> None:
    columns = columns_of(SUBJECT, altered({}, {"actor": {"type": "admin", "id": "a\0b" + "ü" * 15_000}}))
    assert columns.actor == ("a\N{REPLACEMENT CHARACTER}b" + "ü" * 15_000)[:MAX_COLUMN_CHARACTERS]
    assert columns.resource_id == "edge-1"


@given(st.binary(max_size=200))
def test_no_bytes_are_beyond_it(body: bytes) -> None:
    assert columns_of(SUBJECT, body).org == "acme"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(("id", "org", "type")), json_values), st.data())
def test_no_document_is_beyond_it(change: dict[str, Any], data: st.DataObject) -> None:
    members = st.sampled_from(("category", "action", "outcome", "actor", "resource", "request"))
    columns = columns_of(SUBJECT, altered(change, data.draw(st.dictionaries(members, json_values))))
    for column in columns:
        assert "\0" not in column
    indexed = (columns.resource_id, columns.actor, columns.category, columns.correlation, columns.gateway)
    assert all(len((columns.org + column).encode()) < 2600 for column in indexed)
