"""Answers requests on the bus with a body of a given size: the other end of the bare request/reply."""

from __future__ import annotations

from typing import Any

import nats
from nats.aio.msg import Msg

from bench.bus import options
from bench.worker import serve


async def start(url: str, identity: dict[str, str], subject: str, size: int) -> None:
    body = b"x" * size
    client = await nats.connect(url, **options(identity))

    async def respond(message: Msg) -> None:
        await message.respond(body)

    await client.subscribe(subject, cb=respond)
    await client.flush()


TASKS: dict[str, Any] = {"start": start}

if __name__ == "__main__":
    serve(TASKS)
