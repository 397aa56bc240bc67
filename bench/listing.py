"""p99 of one page of the audit log at the service: the newest 50 entries of a category, among a million others.

The same question to a tenth of the rows is the reference: finding a page must not depend on how much there is.
"""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import uvloop

from bench.projector import engines
from bench.record import Bound, Record, percentile
from bench.system import progress
from libs.common.calendar import Month
from libs.common.clock import SystemClock
from libs.common.postgres import Pool
from libs.common.protocol.audit import ListEvents
from services.audit.adapters.entries_projection import TABLE
from services.audit.adapters.entries_reader import PostgresEntryReader
from services.audit.adapters.partitions import Partitions
from services.audit.application.list_events import ListEventsHandler

BOUND = Bound(0.010, "value", "at most")
RATIO = 1.5
ROWS = 1_000_000
PAGES = 300
ROUNDS = 5
FILTERS = ("category=secret_management", "category=access_management")
"""Nearly all of the log, and one entry in a thousand."""

_FILL: LiteralString = """
INSERT INTO entries
SELECT 2, n, now() - (%s - n) * interval '2 ms', 'e-' || n, 'default',
    CASE WHEN n %% 1000 = 0 THEN 'kt.token.issued.v1' ELSE 'kt.config_variable.resolved.v1' END,
    CASE WHEN n %% 1000 = 0 THEN 'access_management' ELSE 'secret_management' END,
    CASE WHEN n %% 1000 = 0 THEN 'issue' ELSE 'resolve' END, 'success', 'edge-' || n %% 20, 'config_variable',
    'PROVIDER_' || n %% 50, 'edge-' || n %% 20, 'r-' || n, convert_to(repeat('x', 560), 'UTF8')
FROM generate_series(%s::bigint, %s::bigint) AS n"""


class _AlwaysFresh:
    async def caught_up(self, _within_s: float) -> bool:
        return True


def measure(rows: int = ROWS, rounds: int = ROUNDS) -> Record:
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as directory:
        return uvloop.run(_measure(Path(directory), rows, rounds))


async def _measure(directory: Path, rows: int, rounds: int) -> Record:
    async with engines(directory) as there:
        await _fill(there.admin, rows, 1, rows // 10)
        few = [await _p99(there.pool) for _ in range(rounds)]
        progress(f"listing: {rows:,} rows")
        await _fill(there.admin, rows, rows // 10 + 1, rows)
        many = [await _p99(there.pool) for _ in range(rounds)]
    measured = list(zip(sorted(many), sorted(few), strict=True))
    record = Record.of_rounds("listing", "s", BOUND, measured, remark=f"{rows:,} rows, beside a tenth of them")
    if record.ratio > RATIO:
        return Record.of_rounds("listing", "s", BOUND, measured, flaw=f"more than {RATIO} times as slow as a tenth")
    return record


async def _fill(admin: psycopg.AsyncConnection[Any], of: int, first: int, last: int) -> None:
    async with admin.transaction():
        now = SystemClock().now()
        await Partitions(TABLE).ensure(admin, {Month.of(now - timedelta(hours=1)), Month.of(now)})
        await admin.execute(_FILL, (of, first, last))
    await admin.execute("ANALYZE entries")


async def _p99(pool: Pool) -> float:
    handler = ListEventsHandler(PostgresEntryReader(pool), _AlwaysFresh())
    took = []
    for number in range(PAGES):
        request = ListEvents(org="default", filter=FILTERS[number % len(FILTERS)], limit=50, cursor="", follow=False)
        began = time.perf_counter()
        page = await handler("", request)
        took.append(time.perf_counter() - began)
        if len(page.items) != request.limit:
            raise RuntimeError(f"expected {request.limit} entries, got {len(page.items)}")
    return percentile(took[len(FILTERS) :], 99)


if __name__ == "__main__":
    print(measure().as_document())
