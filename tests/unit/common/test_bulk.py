"""Bulk messages come whole and in order, whatever stands between them and wherever the network cuts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from libs.common.messaging.bulk import BulkClient

BULK, OTHER = 7, 77
Message = tuple[Callable[[int, bytes, bytes], bytes], int, bytes, bytes]


class Recorder(BulkClient):
    """Parses without a connection and notes what it would have handed on."""

    def __init__(self) -> None:
        super().__init__()
        self.bulk: list[tuple[bytes, bytes, bytes]] = []
        self.others: list[bytes] = []
        self.pings = 0
        self._bulk[b"%d" % BULK] = lambda *message: self.bulk.append(message)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        await super()._process_msg(sid, subject, reply, data, headers)
        if sid != BULK or not reply:
            self.others.append(data)

    async def _process_ping(self) -> None:
        self.pings += 1


def plain(sid: int, reply: bytes, body: bytes) -> bytes:
    return b"MSG kt.a %d %s%d\r\n%s\r\n" % (sid, reply, len(body), body)


def headed(sid: int, reply: bytes, body: bytes) -> bytes:
    headers = b"NATS/1.0\r\nA: b\r\n\r\n"
    sizes = b"%d %d" % (len(headers), len(headers) + len(body))
    return b"HMSG kt.a %d %s%s\r\n%s%s\r\n" % (sid, reply, sizes, headers, body)


bodies = st.binary(max_size=40) | st.just(b"MSG kt.a 7 r 1\r\nx\r\nPING\r\n")
messages = st.tuples(
    st.sampled_from((plain, headed)), st.sampled_from((BULK, OTHER)), st.sampled_from((b"", b"$JS.ACK.x ")), bodies
)


@given(st.lists(messages | st.none(), max_size=12), st.data())
def test_bulk_messages_are_cut_out_exactly(frames: list[Message | None], data: st.DataObject) -> None:
    received = b"".join(b"PING\r\n" if frame is None else frame[0](*frame[1:]) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(received)), max_size=6)))
    client = Recorder()

    async def parse() -> None:
        for start, end in zip([0, *cuts], [*cuts, len(received)], strict=True):
            await client._ps.parse(received[start:end])

    asyncio.run(parse())
    found = [frame for frame in frames if frame is not None]
    assert client.bulk == [(b"kt.a", reply.strip(), body) for _, sid, reply, body in found if sid == BULK and reply]
    assert client.others == [body for _, sid, reply, body in found if sid != BULK or not reply]
    assert client.pings == frames.count(None)
    assert not client._ps.buf
