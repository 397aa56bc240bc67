"""Every documented filter is answered along an index, without reading or sorting a partition."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from services.audit.adapters.entries_reader import after_query, newest_query
from services.audit.domain.filter_text import parse
from services.audit.domain.page import EntryKey
from tests.engines import PostgresEngine

ROWS = 100_000
FILL = """
INSERT INTO entries SELECT
    2, n, timestamptz '2026-09-01 00:00:00Z' + n * interval '90 days' / %(rows)s,
    '', CASE WHEN n %% 50 = 0 THEN 'other' ELSE 'acme' END,
    CASE WHEN n = 5001 THEN 'kt.token.issued.v1' ELSE 'kt.config_variable.resolved.v1' END,
    CASE WHEN n %% 1000 = 1 THEN 'access_management' ELSE 'secret_management' END,
    CASE WHEN n = 5001 THEN 'issue' ELSE 'resolve' END,
    CASE WHEN n %% 500 = 1 THEN 'failure' ELSE 'success' END,
    CASE WHEN n < 99 THEN 'edge-old' ELSE 'edge-' || n %% 20 END,
    CASE WHEN n = 5001 THEN 'token' ELSE 'config_variable' END,
    CASE WHEN n < 99 THEN 'OLD_KEY' ELSE 'KEY_' || n %% 200 END,
    CASE WHEN n < 99 THEN 'edge-old' ELSE 'edge-' || n %% 20 END,
    'request-' || n,
    repeat('x', 100)::bytea
FROM generate_series(1, %(rows)s) n
"""


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresEngine) -> Iterator[psycopg.Connection]:
    with (
        postgres_server.database() as database,
        psycopg.connect(database.dsn("audit"), autocommit=True, options="-c search_path=audit") as connection,
    ):
        for first, last in (("2026-09", "2026-10"), ("2026-10", "2026-11"), ("2026-11", "2026-12")):
            connection.execute(
                f"CREATE TABLE entries_{first[-2:]} PARTITION OF entries FOR VALUES FROM ('{first}-01Z') TO ('{last}-01Z')"
            )
        connection.execute(FILL, {"rows": ROWS})
        connection.execute("ANALYZE entries")
        yield connection


def explained(connection: psycopg.Connection, query: sql.Composed, parameters: list[object]) -> str:
    statement = sql.SQL("EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF) ") + query
    return "\n".join(row[0] for row in connection.execute(statement, parameters))


def rows_touched(plan: str) -> int:
    """Rows that the scans returned or threw away."""
    scans = re.findall(r"(?:Scan|Heap).*?actual rows=([\d.]+) loops=1\)", plan)
    return sum(int(float(rows)) for rows in scans) + sum(map(int, re.findall(r"Removed by Filter: (\d+)", plan)))


@pytest.mark.parametrize(
    ("filter_text", "index"),
    [
        ("", "org_recorded_at"),
        ("category=secret_management", "org_(category_)?recorded_at"),
        ("category=access_management", "org_category"),
        ("resource=KEY_7", "org_resource_id"),
        ("resource=OLD_*", "org_resource_id"),
        ("actor=edge-3", "org_actor"),
        ("outcome=failure", "org_recorded_at_stream_sequence_idx1"),
        ("action=issue", "org_action"),
        ("action=resolve", "org_recorded_at"),
        ("type=kt.token.issued.v1", "org_type"),
        ("type=kt.token.*", "org_type"),
        ("resource_type=token", "org_resource_type"),
        ("gateway=edge-old", "org_actor"),
        ("gateway=edge-3", "org_recorded_at"),
        ("correlation=request-777", "correlation"),
        ("time>=2026-09-10 AND time<2026-09-11", "org_recorded_at"),
        (
            "category=secret_management AND outcome=failure AND time<2026-10-01",
            "org_recorded_at_stream_sequence_idx1",
        ),
    ],
)
def test_a_page_is_read_along_an_index(connection: psycopg.Connection, filter_text: str, index: str) -> None:
    plan = explained(connection, *newest_query("acme", parse(filter_text), 51, None, None))
    assert re.search(rf"entries_\d\d_{index}", plan), plan
    assert "Seq Scan" not in plan, plan
    assert 0 < rows_touched(plan) < 3000, plan


def test_a_later_page_leaves_out_the_months_behind_it(connection: psycopg.Connection) -> None:
    rows = connection.execute(*newest_query("acme", parse("time<2026-10-01"), 1, None, None)).fetchall()
    before = EntryKey(*rows[0][:3])
    plan = explained(connection, *newest_query("acme", parse(""), 51, before, None))
    assert "entries_11" not in plan
    assert rows_touched(plan) < 200, plan


@pytest.mark.parametrize("after", [0, ROWS // 2, ROWS - 20])
def test_following_reads_on_along_the_sequences(connection: psycopg.Connection, after: int) -> None:
    plan = explained(connection, *after_query("acme", parse(""), 51, stream=2, after=after, up_to=ROWS))
    assert "pkey" in plan
    assert "Seq Scan" not in plan
    assert rows_touched(plan) < 200, plan
