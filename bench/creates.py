"""Creates a second over HTTP by 32 clients, beside raw JetStream publishes by 32 publishers on the same server.

A create is authenticated, validated, boxed, decided, sealed into PostgreSQL and appended to the event stream. A raw
publish is one event of the same size, appended to a stream with the same settings that nobody reads.
"""

from __future__ import annotations

import base64
import json
from urllib.parse import urlsplit

from bench.bus import STREAM, SUBJECTS, bench_user, make_stream, portable
from bench.http_client import PLACE
from bench.record import Bound, Record, alternating
from bench.system import System, new_key, progress
from bench.worker import Worker

BOUND = Bound(0.10, "ratio", "at least")
CLIENTS = 32
_CREATED = "201"


def measure(system: System, rounds: int = 5, seconds: float = 2.5) -> Record:
    make_stream(system.home)
    target, refused = urlsplit(system.api_url), 0
    with Worker("bus") as publisher, Worker("http") as client:
        publisher.ask("connect", name="bench", url=system.nats_url, identity=portable(bench_user(system.home)))
        request = _request(target.netloc, system.admin_token)

        def create(seconds: float = seconds) -> float:
            nonlocal refused
            progress("creates: over HTTP")
            to = {"host": target.hostname, "port": target.port, "request": request}
            answer = client.ask("load", **to, connections=CLIENTS, seconds=seconds)
            created = answer["statuses"].get(_CREATED, 0)
            total = sum(answer["statuses"].values())
            refused += total - created
            system.settle()
            return float(answer["per_second"] * created / total)

        def publish() -> float:
            progress("creates: raw publishes")
            subject = f"{SUBJECTS}.event"
            arguments = {"client": "bench", "stream": STREAM, "subject": subject, "clients": CLIENTS}
            return float(publisher.ask("publish", **arguments, seconds=seconds))

        create(1.0)
        measured = alternating(rounds, create, publish)
    flaw = f"{refused} creates were refused" if refused else ""
    return Record.of_rounds("creates", "creates/s", BOUND, measured, flaw=flaw)


def _request(authority: str, token: str) -> str:
    body = json.dumps({"name": f"BENCH_CREATE_{PLACE.decode()}", "value": new_key(), "sensitive": True})
    head = (
        "POST /v1/config-variables HTTP/1.1",
        f"host: {authority}",
        f"authorization: Bearer {token}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return base64.b64encode(("\r\n".join(head) + "\r\n\r\n" + body).encode()).decode()
