"""Everything that crosses the bus, as a listener with all rights would hear it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import nats
from nats.aio.msg import Msg

from libs.common.messaging.identities import NkeyKind, Permissions, credentials, new_seed, public_key, user_jwt
from libs.common.secret import Secret


class Tap:
    """Payloads, headers and subjects of every message in the account, inboxes and JetStream API included."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.messages = 0


@contextmanager
def tapped(identities: Path, url: str) -> Iterator[Tap]:
    """Listen in a thread of its own while the context lasts."""
    tap, ready, stop = Tap(), threading.Event(), threading.Event()

    async def listen() -> None:
        seed = new_seed(NkeyKind.USER)
        account = Secret((identities / "account.nk").read_bytes().strip())
        everything = Permissions(subscribe=(">",))
        jwt = user_jwt(account, public_key(seed), name="tap", permissions=everything, now=datetime.now(UTC))
        client = await nats.connect(url, **credentials(jwt, seed).connect_options())

        async def hear(message: Msg) -> None:
            tap.messages += 1
            tap.heard += f"{message.subject} {message.headers or ''}\n".encode() + message.data + b"\n"

        await client.subscribe(">", cb=hear)
        await client.flush()
        ready.set()
        await asyncio.to_thread(stop.wait)
        await client.close()

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    try:
        if not ready.wait(60):
            raise TimeoutError("the tap did not connect")
        yield tap
    finally:
        stop.set()
        thread.join(15)
