"""Requests to strangers: where they go, what is made of the answer, and that nothing comes back in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from services.webhooks.adapters.http_sender import HttpSender, http_sender
from services.webhooks.domain.addresses import AddressPolicy
from services.webhooks.domain.schedule import Response
from tests.integration.webhooks.receivers import loopback, status
from tests.unit.webhooks.support import MovableClock

HEADERS = {"content-type": "application/json", "webhook-id": "m1"}
OWN = AddressPolicy.parse("127.0.0.0/8")
NOWHERE = AddressPolicy()
LONG_S = 30.0
"""What would not be over before the test is."""


class Names:
    """A name server: answers with the next addresses of a name, the last ones for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        known = self.answers.get(host.partition(".")[0])
        if known is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        found = known.pop(0) if len(known) > 1 else known[0]
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found
        ]


def sender(
    policy: AddressPolicy = OWN, takes: float = 5, lookup: Any = None
) -> AbstractAsyncContextManager[HttpSender]:
    return http_sender(policy, MovableClock(), timedelta(seconds=takes), *([lookup] if lookup else []))


async def test_one_post_with_the_headers_and_bytes_given_and_no_others_of_note() -> None:
    async with loopback() as receiver, sender() as http:
        assert await http.send(f"{receiver.url}?x=%7B1%7D", HEADERS, b'{"a":1}') == Response(200)
        (request,) = receiver.requests
    assert (request.method, request.target, request.body) == ("POST", "/kt?x=%7B1%7D", b'{"a":1}')
    assert request.headers["webhook-id"] == "m1"
    assert not {"cookie", "authorization", "proxy-authorization", "referer"} & request.headers.keys()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(code: int) -> None:
    async with loopback() as elsewhere, sender() as http:
        async with loopback(lambda _: status(code, f"location: {elsewhere.url}")) as receiver:
            assert await http.send(receiver.url, HEADERS, b"{}") == Response(code)
        assert elsewhere.requests == []


async def test_cookies_are_not_kept() -> None:
    async with loopback(lambda _: status(200, "set-cookie: a=b")) as receiver, sender() as http:
        for _ in range(2):
            await http.send(receiver.url, HEADERS, b"{}")
        assert all("cookie" not in request.headers for request in receiver.requests)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback() as proxy, loopback() as receiver, sender() as http:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert await http.send(receiver.url, HEADERS, b"{}") == Response(200)
        assert proxy.requests == []


async def test_an_answer_can_ask_for_a_pause() -> None:
    async with loopback(lambda _: status(503, "retry-after: 90")) as receiver, sender() as http:
        assert await http.send(receiver.url, HEADERS, b"{}") == Response(503, retry_after=timedelta(seconds=90))


async def test_an_endless_answer_is_cut_and_its_status_counts() -> None:
    async def endless(_: Any) -> bytes:
        return b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 1_000_000

    async with loopback(endless) as receiver, sender() as http:
        assert await http.send(receiver.url, HEADERS, b"{}") == Response(200)


async def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope"
    async with loopback(lambda _: packed) as receiver, sender() as http:
        assert await http.send(receiver.url, HEADERS, b"{}") == Response(200)


@pytest.mark.parametrize(
    "raw",
    [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 2OO OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"],
)
async def test_what_is_not_http_is_no_delivery(raw: bytes) -> None:
    async with loopback(lambda _: raw) as receiver, sender() as http:
        assert (await http.send(receiver.url, HEADERS, b"{}")).status == 0


async def test_a_receiver_that_does_not_answer_costs_the_timeout_and_no_more() -> None:
    async def silent(_: Any) -> bytes:
        await asyncio.sleep(LONG_S)
        return b""

    async with loopback(silent) as receiver, sender(takes=0.3) as http:
        assert await asyncio.wait_for(http.send(receiver.url, HEADERS, b"{}"), LONG_S / 2) == Response(
            reason="timeout"
        )


async def test_a_receiver_that_drips_is_cut_off_as_well() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sender(takes=0.5) as http:
        found = await http.send(f"http://127.0.0.1:{port}/", HEADERS, b"{}")
        assert found.status == 0
        server.close()


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    async with sender() as http:
        assert await http.send(url, HEADERS, b"{}") == Response(reason="not_connected")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/kt", "https://127.0.0.1:{port}/kt", "http://localhost:{port}/"]
)
async def test_an_address_that_is_not_allowed_any_more_is_not_connected_to(url: str) -> None:
    async with loopback() as receiver, sender(NOWHERE) as http:
        found = await http.send(url.format(port=receiver.port), HEADERS, b"{}")
        assert found == Response(reason="address_refused")
        assert receiver.requests == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"]
)
async def test_a_name_that_means_a_private_address_leads_nowhere(address: str) -> None:
    async with loopback() as receiver, sender(NOWHERE, lookup=Names(receiver=[[address]])) as http:
        found = await http.send(f"https://receiver.example.com:{receiver.port}/", HEADERS, b"{}")
        assert found == Response(reason="address_refused")
        assert receiver.requests == []


async def test_a_name_that_changes_its_meaning_is_looked_at_each_time() -> None:
    names = Names(receiver=[["127.0.0.1"], ["10.9.9.9"], ["127.0.0.1"]])
    async with loopback() as receiver, sender(lookup=names) as http:
        url = f"http://receiver.internal:{receiver.port}/"
        answers = [await http.send(url, HEADERS, b"{}") for _ in range(3)]
    assert answers == [Response(200), Response(reason="address_refused"), Response(200)]
    assert len(names.asked) == 3


async def test_of_several_addresses_only_permitted_ones_are_tried() -> None:
    names = Names(receiver=[["169.254.169.254", "127.0.0.1", "::1"]])
    async with loopback() as receiver, sender(lookup=names) as http:
        assert await http.send(f"http://receiver.internal:{receiver.port}/", HEADERS, b"{}") == Response(200)


async def test_without_tls_only_networks_that_were_allowed_are_connected_to() -> None:
    """A public address is permitted, but not in clear."""
    names = Names(receiver=[["8.8.8.8"]])
    async with sender(lookup=names) as http:
        found = await http.send("http://receiver.example.com:8080/", HEADERS, b"{}")
    assert found == Response(reason="address_refused")


async def test_a_name_that_does_not_exist() -> None:
    async with sender(lookup=Names()) as http:
        assert await http.send("https://nowhere.example/", HEADERS, b"{}") == Response(reason="name_not_resolved")


async def test_a_name_server_that_hangs_holds_up_nobody_else() -> None:
    names, hung, free = Names(receiver=[["127.0.0.1"]]), [], threading.Event()

    def lookup(host: str, port: int) -> list[tuple[Any, ...]]:
        if host.startswith("hung"):
            hung.append(host)
            free.wait(LONG_S)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return names(host, port)

    async with loopback() as receiver, sender(takes=LONG_S, lookup=lookup) as http:
        stuck = [asyncio.create_task(http.send("https://hung.example/", HEADERS, b"{}")) for _ in range(40)]
        try:
            assert await http.send(f"http://receiver.internal:{receiver.port}/", HEADERS, b"{}") == Response(200)
            assert not any(task.done() for task in stuck)
        finally:
            free.set()
        assert {answer.reason for answer in await asyncio.gather(*stuck)} == {"name_not_resolved"}
        assert len(hung) == 1, "those who ask for the same name share one thread"


async def test_waiting_for_a_name_server_costs_the_timeout_and_no_more() -> None:
    free = threading.Event()

    def lookup(_host: str, _port: int) -> list[tuple[Any, ...]]:
        free.wait(LONG_S)
        return []

    try:
        async with sender(takes=0.2, lookup=lookup) as http:
            assert await http.send("https://hung.example/", HEADERS, b"{}") == Response(reason="timeout")
    finally:
        free.set()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate of its own for ``name``, and the path of that certificate."""
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context, str(path)


async def test_a_certificate_must_be_trusted_and_be_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, path = certificate(tmp_path, "receiver.example.com")
    names = Names(receiver=[["127.0.0.1"]], other=[["127.0.0.1"]])
    async with loopback(tls=tls) as receiver:
        url = f"https://receiver.example.com:{receiver.port}/"
        async with sender(lookup=names) as http:
            assert await http.send(url, HEADERS, b"{}") == Response(reason="tls_failed")
        monkeypatch.setenv("SSL_CERT_FILE", path)
        async with sender(lookup=names) as http:
            assert await http.send(url, HEADERS, b"{}") == Response(200)
            other = url.replace("receiver", "other")
            assert await http.send(other, HEADERS, b"{}") == Response(reason="tls_failed")
        assert len(receiver.requests) == 1
