"""The time of one resolution over the bus, beside a bare request/reply of the same sizes on the same server.

A resolution checks the end of the event stream, stores an access record durably, and has the value opened and sealed
to the gateway; the bare request does nothing. Both its ends are nats-py on uvloop, as the services are.
"""

from __future__ import annotations

from bench.bus import ECHO, bench_user, portable
from bench.record import Bound, Record, alternating
from bench.resolving import asking
from bench.system import System, progress
from bench.worker import Worker

BOUND = Bound(6.0, "ratio", "at most")
TIMES = 400
WARM_UP = 200


def measure(system: System, rounds: int = 7) -> Record:
    with asking(system, "bench-latency", variables=1) as asker, Worker("echo") as echo:
        body = asker.body(asker.names[0])
        resolve = {"client": "gateway", "subject": asker.subject, "body": body}
        bare = {"client": "bench", "subject": ECHO, "body": body}
        size = asker.worker.ask("request", **resolve, times=WARM_UP)["size"]
        identity = portable(bench_user(system.home))
        echo.ask("start", url=system.nats_url, identity=identity, subject=ECHO, size=size)
        asker.worker.ask("request", **bare, times=WARM_UP)

        def p50(request: dict[str, str], what: str) -> float:
            progress(f"resolve_latency: {what}")
            return float(asker.worker.ask("request", **request, times=TIMES)["p50_ms"])

        measured = alternating(rounds, lambda: p50(resolve, "resolutions"), lambda: p50(bare, "bare requests"))
    return Record.of_rounds("resolve_latency", "ms", BOUND, measured)
