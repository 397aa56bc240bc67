"""A NATS connection that takes in a stream at four times nats-py's usual rate.

For each message nats-py matches regular expressions, parses headers, builds an object and passes it through a queue
and a task: 12 µs of CPU time, as much as PostgreSQL needs to store the row. A stream's messages carry what is needed
in their subject, reply subject and body, so a bulk subscription gets just these, cut straight from what was received.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from libs.common.errors import KtError
from libs.common.messaging.connection import CONNECT_TIMEOUT_S, ConnectionGuard, connect_options

CLOSE_TIMEOUT_S: Final = 2.0

BulkCallback = Callable[[bytes, bytes, bytes], None]
"""Takes subject, reply subject and body. It is called between two reads of the socket, so it must not do more than
keep them."""

_CRLF: Final = b"\r\n"
_WITH_REPLY: Final = frozenset({(b"MSG", 5), (b"HMSG", 6)})
"""First word and number of words of a control line that names a reply subject."""


class BulkClient(Client):
    """Connect it with :meth:`nats.aio.client.Client.connect`. Everything but bulk subscriptions works as always."""

    def __init__(self) -> None:
        super().__init__()
        self._bulk: dict[bytes, BulkCallback] = {}
        self._ps = _BulkParser(self, self._bulk)

    async def subscribe_bulk(
        self, subject: str, receive: BulkCallback, other: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """``receive`` gets the messages that have a reply subject, as a stream's have; ``other`` the others."""
        subscription = await self.subscribe(subject, cb=other)
        self._bulk[b"%d" % subscription._id] = receive  # noqa: SLF001
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        # A bulk message comes this way when it follows something else in what was received.
        receive = self._bulk.get(b"%d" % sid) if reply else None
        if receive is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            receive(subject, reply, data)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._bulk.pop(b"%d" % sid, None)
        super()._remove_sub(sid, max_msgs)


class _BulkParser(Parser):
    """Takes the bulk messages at the beginning of what was received; nats-py's parser gets the rest."""

    def __init__(self, client: Client, bulk: dict[bytes, BulkCallback]) -> None:
        super().__init__(client)
        self._bulk = bulk

    async def parse(self, data: bytes = b"") -> None:
        if self._bulk and self.state == AWAITING_CONTROL_LINE:
            self.buf.extend(data)
            data = b""
            if self._take_bulk():
                return
        await super().parse(data)

    def _take_bulk(self) -> bool:
        """True when what is left is incomplete.

        Frames are ``HMSG <subject> <sid> <reply> <header bytes> <all bytes>`` or ``MSG <subject> <sid> <reply>
        <bytes>``, CRLF, headers and body, CRLF.
        """
        received, start, incomplete = bytes(self.buf), 0, True
        while (line_end := received.find(_CRLF, start)) >= 0:
            words = received[start:line_end].split(b" ")
            receive = self._bulk.get(words[2]) if (words[0], len(words)) in _WITH_REPLY else None
            if receive is None:
                incomplete = False
                break
            content = line_end + len(_CRLF)
            end = content + int(words[-1])
            if end + len(_CRLF) > len(received):
                break
            headers = int(words[-2]) if words[0] == b"HMSG" else 0
            receive(words[1], words[3], received[content + headers : end])
            start = end + len(_CRLF)
        del self.buf[:start]
        return incomplete


@asynccontextmanager
async def bulk_connection(name: str, url: str, creds: Path, guard: ConnectionGuard) -> AsyncIterator[BulkClient]:
    """Connect as the service ``name``.

    Raises:
        KtError: ``unavailable`` after 30 s without a server.
    """
    client = BulkClient()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(url, user_credentials=str(creds), **connect_options(name, guard))
    except (NatsError, OSError, TimeoutError) as error:
        raise KtError("unavailable", f"The message bus at {url} can't be reached.", "Is it running?") from error
    try:
        yield client
    finally:
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await client.close()
