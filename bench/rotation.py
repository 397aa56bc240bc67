"""From the answer to a rotation until the provider sees the new key, under load, beside the gaps between requests.

The provider can't see a key before its next request comes, so the gaps are what the load itself contributes.
"""

from __future__ import annotations

import time
from collections import Counter

from bench.chat import Gateway, chat_request, gateway
from bench.record import Bound, Record, Round, percentile
from bench.system import System, new_key, progress
from bench.worker import Worker

BOUND = Bound(25.0, "value", "at most")
ROTATIONS = 100
RATE = 500.0
CONNECTIONS = 16
PAUSE_S = 0.01
_SEEN_WITHIN_S = 5.0
_OK = "200"


def measure(system: System, rounds: int = 3, rotations: int = ROTATIONS) -> Record:
    measured: list[Round] = []
    statuses: Counter[str] = Counter()
    with gateway(system, "bench-rotation", watch=True, log=True) as proxy, Worker("http") as client:
        to = chat_request(proxy.url, proxy.client_token)
        client.ask("begin", **to, connections=CONNECTIONS, rate=RATE)
        for number in range(rounds):
            progress(f"rotation: {rotations} under {RATE:g} requests/s, round {number + 1} of {rounds}")
            measured.append(_round(system, proxy, rotations))
        statuses.update(client.ask("end"))
    failed = statuses.total() - statuses[_OK]
    remark = f"p99 of {rotations} rotations; {failed} of {statuses.total():,} requests failed ({RATE:g} a second)"
    flaw = f"{failed} requests failed: {dict(statuses)}" if failed else ""
    return Record.of_rounds("rotation", "ms", BOUND, measured, remark=remark, flaw=flaw)


def _round(system: System, proxy: Gateway, rotations: int) -> Round:
    """p99 of the rotations and p99 of the gaps, in milliseconds."""
    proxy.upstream.ask("gaps")
    took = [_rotate(system, proxy) for _ in range(rotations)]
    gaps = [gap / 1e6 for gap in proxy.upstream.ask("gaps")]
    return percentile(took, 99), percentile(gaps, 99)


def _rotate(system: System, proxy: Gateway) -> float:
    """Milliseconds from the answer to the first request with the new key; 0 when that came before the answer."""
    key = new_key()
    system.ask("POST", f"/v1/config-variables/{proxy.variable}/rotate", {"value": key})
    answered = time.monotonic_ns()
    seen = proxy.upstream.ask("seen", key=key, within_s=_SEEN_WITHIN_S)
    if not seen:
        raise RuntimeError(f"the provider did not see a rotated key within {_SEEN_WITHIN_S:g} s")
    time.sleep(PAUSE_S)
    return max(0.0, (int(seen) - answered) / 1e6)
