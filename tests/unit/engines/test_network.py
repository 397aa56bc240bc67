"""Ports and the readiness probe."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from libs.common.errors import KtError
from libs.engines.network import answers_ok, chosen_port, local_url, port_of


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_busy_port_is_refused_with_what_to_do(taken: int) -> None:
    with pytest.raises(KtError) as refused:
        chosen_port("127.0.0.1", str(taken), 0)
    assert refused.value.code == "misconfigured"
    assert str(taken) in refused.value.detail
    assert "KEEPTRUSTS_API_PORT" in refused.value.hint


def test_zero_takes_a_free_port_and_prefers_the_last_one(taken: int) -> None:
    first = chosen_port("127.0.0.1", "0", 0)
    assert chosen_port("127.0.0.1", "0", first) == first
    assert chosen_port("127.0.0.1", "0", taken) not in {0, taken}


@pytest.mark.parametrize("wanted", ["http", "-1", "65536", "80 ", "٣"])
def test_what_is_not_a_port_is_refused(wanted: str) -> None:
    with pytest.raises(KtError) as refused:
        chosen_port("127.0.0.1", wanted, 0)
    assert refused.value.code == "misconfigured"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104
        ("::", "http://[::1]:80"),
        ("kt.example.com", "http://kt.example.com:80"),
    ],
)
def test_the_url_for_this_machine(host: str, url: str) -> None:
    assert local_url(host, 80) == url


@pytest.mark.parametrize(("url", "port"), [("nats://127.0.0.1:4222", 4222), ("", 0), ("http://host", 0)])
def test_the_port_of_a_url(url: str, port: int) -> None:
    assert port_of(url) == port


@pytest.mark.parametrize(
    ("answer", "ok"), [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 503 No\r\n\r\n", False), (b"", False)]
)
async def test_only_200_counts_as_ready(answer: bytes, ok: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await answers_ok(f"http://127.0.0.1:{port}/readyz") is ok


async def test_nobody_there_is_not_ready() -> None:
    assert not await answers_ok(f"http://127.0.0.1:{chosen_port('127.0.0.1', '0', 0)}/readyz")
