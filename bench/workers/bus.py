"""Load on the bus: durable publishes, bare requests, resolutions."""

from __future__ import annotations

import asyncio
import base64
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import nats
import orjson
from nats.aio.client import Client

from bench.bus import access_bodies, event_bodies, options
from bench.worker import serve
from libs.common.access_log import AccessLog

_clients: dict[str, Client] = {}


async def connect(name: str, url: str, identity: dict[str, str]) -> None:
    _clients[name] = await nats.connect(url, **options(identity))


async def publish(client: str, stream: str, subject: str, clients: int, seconds: float) -> float:
    """Events a second of so many publishers, each of which awaits every acknowledgement."""
    js = _clients[client].jetstream(timeout=10.0)
    bodies = event_bodies(64)

    async def one() -> None:
        number = next(numbers)
        headers = {"Kt-Type": "kt.config_variable.created.v1"}
        await js.publish(f"{subject}.{number}", bodies[number % len(bodies)], stream=stream, headers=headers)

    numbers = itertools.count(time.time_ns())
    return await _rate(one, clients, seconds)


async def record(client: str, subject: str, batch: int, concurrent: int, seconds: float) -> float:
    """Access records a second, stored in batches by the access log alone."""
    log = AccessLog(_clients[client])
    messages = [(f"{subject}.{number}", body) for number, body in enumerate(access_bodies(batch))]
    return batch * await _rate(lambda: log.record(messages), concurrent, seconds)


async def request(client: str, subject: str, body: str, times: int) -> dict[str, float]:
    """p50 in milliseconds of requests sent one after the other, and the size of the last answer."""
    nc, raw, took, size = _clients[client], base64.b64decode(body), [], 0
    for _ in range(times):
        began = time.perf_counter()
        reply = await nc.request(subject, raw, timeout=5.0)
        took.append(time.perf_counter() - began)
        size = len(reply.data)
        _check(reply.data)
    return {"p50_ms": statistics.median(took) * 1000, "size": size}


async def resolve(client: str, subject: str, bodies: list[str], concurrent: int, seconds: float) -> float:
    """Requests answered a second; each body is one resolve request."""
    nc, turns = _clients[client], itertools.cycle(map(base64.b64decode, bodies))

    async def one() -> None:
        _check((await nc.request(subject, next(turns), timeout=10.0)).data)

    return await _rate(one, concurrent, seconds)


async def _rate(one: Callable[[], Awaitable[None]], concurrent: int, seconds: float) -> float:
    done = 0
    began = time.perf_counter()
    deadline = began + seconds

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            await one()
            done += 1

    await asyncio.gather(*(loop() for _ in range(concurrent)))
    return done / (time.perf_counter() - began)


def _check(reply: bytes) -> None:
    if b'"failed"' in reply[:512] and b'"status":"failed"' in reply:
        raise RuntimeError("a reference was not resolved")
    if reply.startswith(b'{"error"'):
        raise RuntimeError(f"the answer is an error: {orjson.loads(reply)['error'].get('code')}")


TASKS: dict[str, Any] = {
    "connect": connect,
    "publish": publish,
    "record": record,
    "request": request,
    "resolve": resolve,
}

if __name__ == "__main__":
    serve(TASKS)
