"""Memory of all processes of `kt up`, beside that of its two engines.

Proportional set size (proc_pid_smaps(5)): pages that several processes share are counted once. All processes are the
supervisor, nats-server, PostgreSQL with its workers and sessions, and the five services. Taken when the system is
ready and has answered its first requests.
"""

from __future__ import annotations

from bench.record import Bound, Record
from bench.system import System, progress
from libs.engines import control
from libs.engines.supervisor import ENGINES

BOUND = Bound(700.0, "value", "at most")
_MIB = 1024 * 1024


def measure(system: System) -> Record:
    progress("memory")
    system.create("BENCH_MEMORY")
    system.settle()
    status = control.status(system.home)
    engines = sum(process.memory_bytes for process in status.processes if process.name in ENGINES)
    shares = ", ".join(f"{process.name} {process.memory_bytes / _MIB:.0f}" for process in status.processes)
    taken = (status.memory_bytes / _MIB, engines / _MIB)
    return Record.of_rounds("memory", "MiB", BOUND, [taken], remark=f"proportional set size: {shares}")
