"""References a second, resolved in requests of 100, beside what the access log alone can put on record.

Every resolution is on record before it is answered, so the reference is the ceiling that durability sets.
"""

from __future__ import annotations

from bench.bus import SUBJECTS, make_stream
from bench.record import Bound, Record, alternating
from bench.resolving import asking
from bench.system import System, progress

BOUND = Bound(15_000, "value", "at least")
BATCH = 100
CONCURRENCY = (2, 4, 8)
VARIABLES = 200


def measure(system: System, rounds: int = 5, seconds: float = 1.5) -> Record:
    make_stream(system.home)
    with asking(system, "bench-batches", VARIABLES) as asker:
        bodies = [asker.body(*asker.names[at : at + BATCH]) for at in range(0, VARIABLES, BATCH)]

        def resolve(concurrent: int) -> float:
            progress(f"resolve_batches: {concurrent} requests of {BATCH} in flight")
            requests = asker.worker.ask(
                "resolve",
                client="gateway",
                subject=asker.subject,
                bodies=bodies,
                concurrent=concurrent,
                seconds=seconds,
            )
            return float(requests) * BATCH

        def store(concurrent: int) -> float:
            progress("resolve_batches: records alone")
            arguments = {"client": "bench", "subject": f"{SUBJECTS}.access", "batch": BATCH}
            return float(asker.worker.ask("record", **arguments, concurrent=concurrent, seconds=seconds))

        best = max(CONCURRENCY, key=resolve)
        measured = alternating(rounds, lambda: resolve(best), lambda: store(best))
    return Record.of_rounds(
        "resolve_batches", "references/s", BOUND, measured, remark=f"{best} requests of {BATCH} references in flight"
    )
