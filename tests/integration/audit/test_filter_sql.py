"""A filter finds in PostgreSQL what it means."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.audit.adapters.entries_reader import after_query, newest_query
from services.audit.domain.filter import Field, Filter
from tests.engines import PostgresEngine
from tests.unit.audit.filters import Searchable, filters, holds

START = datetime(2026, 10, 30, tzinfo=UTC)
VALUES = ("", "resolve", "rotate", "success", "kt.a.b.v1", "kt.config_variable.resolved.v1", "config_variable", "OPENAI_",
    "OPENAI_API_KEY", 'O"P\\E%_', "%", "_", "ü", "edge-1")  # fmt: skip
INSERT = """INSERT INTO entries VALUES (%s, %s, %s, '', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '')"""
ORDER = (
    Field.TYPE,
    Field.CATEGORY,
    Field.ACTION,
    Field.OUTCOME,
    Field.ACTOR,
    Field.RESOURCE_TYPE,
    Field.RESOURCE,
    Field.GATEWAY,
    Field.CORRELATION,
)


def entry(number: int) -> Searchable:
    """Every field takes every value. The gateway is the actor, the resource or nobody, as it always is."""
    fields = {field: VALUES[(number * (3 + 2 * place) + place) % len(VALUES)] for place, field in enumerate(ORDER)}
    fields[Field.GATEWAY] = (fields[Field.ACTOR], fields[Field.RESOURCE], "")[number % 3]
    return Searchable(START + timedelta(hours=number), fields)


ENTRIES = [entry(number) for number in range(120)]


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresEngine) -> Iterator[psycopg.Connection]:
    with (
        postgres_server.database() as database,
        psycopg.connect(database.dsn("audit"), autocommit=True, options="-c search_path=audit") as connection,
    ):
        connection.execute("CREATE TABLE entries_all PARTITION OF entries DEFAULT")
        for org, (number, entry) in itertools.product(("acme", "other"), enumerate(ENTRIES)):
            sequence = number + 1 + 1000 * (org == "other")
            fields = [entry.fields[field] for field in ORDER]
            connection.execute(INSERT, (number % 2 + 1, sequence, entry.recorded_at, org, *fields))
        yield connection


times = st.builds(
    lambda hours, micros: START + timedelta(hours=hours, microseconds=micros),
    st.integers(-1, 121),
    st.integers(-1, 1),
)
sample_filters = filters(st.sampled_from(VALUES) | st.sampled_from(VALUES).map(lambda v: v[:3]), times, max_terms=3)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(filter_=sample_filters)
def test_a_filter_finds_exactly_the_entries_it_holds_for(connection: psycopg.Connection, filter_: Filter) -> None:
    expected = [number + 1 for number, entry in enumerate(ENTRIES) if holds(filter_, entry)]
    query, parameters = newest_query("acme", filter_, 1000, None, None)
    assert [row[2] for row in connection.execute(query, parameters)] == expected[::-1]
    found = []
    for stream in (1, 2):
        query, parameters = after_query("acme", filter_, 1000, stream=stream, after=0, up_to=1000)
        found += [row[2] for row in connection.execute(query, parameters)]
    assert sorted(found) == expected
