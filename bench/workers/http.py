"""Load over HTTP on loopback."""

from __future__ import annotations

import base64
import itertools
import time
from typing import Any

from bench.http_client import Run, start
from bench.record import percentile
from bench.worker import serve

_numbers = itertools.count()
_LONGEST_S = 120.0
_under_way: list[Run] = []


async def load(host: str, port: int, request: str, connections: int, seconds: float) -> dict[str, Any]:
    """Requests answered a second, as fast as it goes, and how often each status came; ``request`` is base64."""
    began = time.perf_counter()
    raw = base64.b64decode(request)
    run = await start(host, port, raw, connections=connections, seconds=seconds, numbers=_numbers)
    statuses = await run.end()
    return {"per_second": statuses.total() / (time.perf_counter() - began), "statuses": dict(statuses)}


async def offer(
    host: str, port: int, request: str, *, connections: int, rate: float, seconds: float
) -> dict[str, Any]:
    """Send ``rate`` requests a second for so long; their statuses, and p50 and p99 of their times in milliseconds."""
    raw = base64.b64decode(request)
    run = await start(host, port, raw, connections=connections, seconds=seconds, rate=rate)
    statuses = await run.end()
    times = [latency * 1000 for latency in run.load.latencies]
    return {"statuses": dict(statuses), "p50_ms": percentile(times, 50), "p99_ms": percentile(times, 99)}


async def begin(host: str, port: int, request: str, connections: int, rate: float) -> None:
    """Send ``rate`` requests a second until :func:`end`."""
    raw = base64.b64decode(request)
    _under_way.append(await start(host, port, raw, connections=connections, seconds=_LONGEST_S, rate=rate))


async def end() -> dict[int, int]:
    """How often each status came since :func:`begin`."""
    run = _under_way.pop()
    run.load.deadline = 0.0
    return dict(await run.end())


TASKS: dict[str, Any] = {"load": load, "offer": offer, "begin": begin, "end": end}

if __name__ == "__main__":
    serve(TASKS)
