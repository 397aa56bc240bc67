"""Measure all figures, or those named: `python -m bench [NAME…]`.

Prints a table; with ``BENCH_JSON=path`` also writes one JSON object a line. Ends with 1 when a bound does not hold or
a figure could not be measured.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench import (
    access_log,
    creates,
    exports,
    gateway_throughput,
    listing,
    master_rotation,
    memory,
    projector,
    rebuild,
    resolve_batches,
    resolve_latency,
    rotation,
    startup,
)
from bench.record import Bound, Record
from bench.report import table, write_lines
from bench.system import System, progress, running_system
from bench.worker import WorkerFailed
from demo.stage import Surprise


def _projector() -> Record:
    progress("projector")
    return Record.of_document("projector", projector.measure(), Bound(projector.BOUND, "ratio", "at least"))


_ON_A_SYSTEM: Mapping[str, Callable[[System], Record]] = {
    "memory": memory.measure,  # first: before the raw publishes of the others have filled the bus server's caches
    "creates": creates.measure,
    "resolve_latency": resolve_latency.measure,
    "resolve_batches": resolve_batches.measure,
    "rotation": rotation.measure,
    "gateway_throughput": gateway_throughput.measure,
    "access_log": access_log.measure,
    "export": exports.measure_export,
    "offline_verify": exports.measure_verify,
}
_ALONE: Mapping[str, Callable[[], Record]] = {
    "projector": _projector,
    "rebuild": rebuild.measure,
    "listing": listing.measure,
    "second_start": startup.measure,
    "master_rotation": master_rotation.measure,
}
NAMES = (
    "creates",
    "resolve_latency",
    "resolve_batches",
    "rotation",
    "gateway_throughput",
    "access_log",
    "projector",
    "export",
    "offline_verify",
    "rebuild",
    "listing",
    "second_start",
    "memory",
    "master_rotation",
)


def run(names: Sequence[str]) -> Iterator[Record]:
    """The figures of these names, on one system as far as they need one; a figure that fails is left out."""
    yield from _measured({name: measure for name, measure in _ALONE.items() if name in names})
    wanted = {name: measure for name, measure in _ON_A_SYSTEM.items() if name in names}
    if wanted:
        with running_system() as system:
            yield from _measured({name: _on(system, measure) for name, measure in wanted.items()})


def _on(system: System, measure: Callable[[System], Record]) -> Callable[[], Record]:
    return lambda: measure(system)


def _measured(figures: Mapping[str, Callable[[], Record]]) -> Iterator[Record]:
    for name, measure in figures.items():
        try:
            yield measure()
        except (RuntimeError, OSError, Surprise, WorkerFailed) as error:
            progress(f"{name} could not be measured: {error}")


def main(arguments: Sequence[str]) -> int:
    names = arguments or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        progress(f"There is no figure {', '.join(unknown)}; there are {', '.join(NAMES)}.")
        return 2
    began = time.monotonic()
    records = sorted(run(names), key=lambda record: NAMES.index(record.name))
    progress(f"measured in {time.monotonic() - began:.0f} s")
    print(table(records))
    if path := os.environ.get("BENCH_JSON"):
        write_lines(Path(path), records)
    return 0 if len(records) == len(set(names)) and all(record.holds for record in records) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
