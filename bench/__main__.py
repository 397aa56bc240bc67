"""Measure all figures, or those named: `python -m bench [NAME…]`.

Prints a table; with ``BENCH_JSON=path`` also writes one JSON object a line. Ends with 1 when a bound does not hold.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import (
    creates,
    gateway_throughput,
    memory,
    projector,
    resolve_batches,
    resolve_latency,
    rotation,
    startup,
)
from bench.record import Bound, Record
from bench.report import table, write_lines
from bench.system import System, progress, running_system


def _projector() -> Record:
    progress("projector")
    return Record.of_document("projector", projector.measure(), Bound(projector.BOUND, "ratio", "at least"))


_ALONE: Mapping[str, Callable[[], Record]] = {
    "second_start": startup.measure,
    "projector": _projector,
}
_ON_A_SYSTEM: Mapping[str, Callable[[System], Record]] = {
    "creates": creates.measure,
    "resolve_latency": resolve_latency.measure,
    "resolve_batches": resolve_batches.measure,
    "rotation": rotation.measure,
    "gateway_throughput": gateway_throughput.measure,
    "memory": memory.measure,
}
NAMES = (*_ON_A_SYSTEM, *_ALONE)


def run(names: Sequence[str]) -> Iterator[Record]:
    """The figures of these names, on one system as far as they need one."""
    yield from (measure() for name, measure in _ALONE.items() if name in names)
    with ExitStack() as stack:
        wanted = [measure for name, measure in _ON_A_SYSTEM.items() if name in names]
        if wanted:
            system = stack.enter_context(running_system())
            yield from (measure(system) for measure in wanted)


def main(arguments: Sequence[str]) -> int:
    unknown = [name for name in arguments if name not in NAMES]
    if unknown:
        progress(f"there is no figure {', '.join(unknown)}; there are {', '.join(NAMES)}")
        return 2
    records = list(run(arguments or NAMES))
    print(table(records))
    if path := os.environ.get("BENCH_JSON"):
        write_lines(Path(path), records)
    return 0 if all(record.holds for record in records) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
