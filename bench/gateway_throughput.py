"""Requests a second through a gateway, beside the same Envoy with a fixed key and no agent.

Both check the same client token, apply the same filters and routes, and lead to one provider that answers at once;
load, provider and proxy share the machine.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench.chat import chat_request, gateway
from bench.fixed_envoy import fixed_envoy
from bench.record import Bound, Record, alternating
from bench.system import System, new_key, progress
from bench.worker import Worker
from services.gateway.domain.client_auth import ClientTokens

BOUND = Bound(0.9, "ratio", "at least")
CONNECTIONS = 32
_OK = "200"


def measure(system: System, rounds: int = 11, seconds: float = 1.0) -> Record:
    failed = 0
    auth = ClientTokens("default", json.dumps(system.ask("GET", "/v1/client-keys")))
    with (
        tempfile.TemporaryDirectory(prefix="kt-bench-") as folder,
        gateway(system, "bench-throughput", watch=False, log=False) as proxy,
        fixed_envoy(proxy.policy, auth, new_key(), Path(folder)) as fixed_url,
        Worker("http") as client,
    ):

        def through(url: str, what: str, seconds: float = seconds) -> float:
            nonlocal failed
            progress(f"gateway_throughput: {what}")
            to = chat_request(url, proxy.client_token)
            answer = client.ask("load", **to, connections=CONNECTIONS, seconds=seconds)
            failed += sum(count for status, count in answer["statuses"].items() if status != _OK)
            return float(answer["per_second"])

        through(proxy.url, "warm-up", 0.5)
        through(fixed_url, "warm-up", 0.5)
        measured = alternating(rounds, lambda: through(proxy.url, "gateway"), lambda: through(fixed_url, "fixed key"))
    flaw = f"{failed} requests failed" if failed else ""
    return Record.of_rounds("gateway_throughput", "requests/s", BOUND, measured, flaw=flaw)
