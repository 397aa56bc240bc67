"""Requests to strangers' addresses: nothing is followed, nothing is kept, and every address is checked at the moment
it is connected to, so that a name which means another address by then leads nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from libs.common.clock import Clock
from libs.common.errors import KtError
from services.webhooks.domain.addresses import AddressPolicy
from services.webhooks.domain.destination import checked_destination
from services.webhooks.domain.schedule import Response, retry_after

log = logging.getLogger(__name__)

MAX_READ: Final = 4096
"""Bytes of an answer that are read, so that its sender is not cut off; they are dropped."""

READ_S: Final = 2.0
LOOKUPS_AT_ONCE: Final = 16

ADDRESS_REFUSED: Final = "address_refused"
NAME_NOT_RESOLVED: Final = "name_not_resolved"
NOT_CONNECTED: Final = "not_connected"
TLS_FAILED: Final = "tls_failed"
TIMEOUT: Final = "timeout"
INVALID_ANSWER: Final = "invalid_answer"

Permits = Callable[[str], bool]
AddrInfo = tuple[Any, ...]
Lookup = Callable[[str, int], list[AddrInfo]]
"""As ``socket.getaddrinfo``: blocks, and raises OSError."""


class AddressRefused(OSError):
    """A name has no address that may be connected to."""


def system_lookup(host: str, port: int) -> list[AddrInfo]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class GuardedResolver(AbstractResolver):
    """Answers with the permitted addresses of a name. Who asks for a name that is being looked up shares the answer,
    so that a name server which does not answer occupies one thread and no more."""

    def __init__(self, lookup: Lookup, threads: ThreadPoolExecutor, permits: Permits) -> None:
        self._lookup = lookup
        self._threads = threads
        self._permits = permits
        self._under_way: dict[tuple[str, int], asyncio.Future[list[AddrInfo]]] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the signature is aiohttp's
    ) -> list[ResolveResult]:
        found = [_result(host, info) for info in await asyncio.shield(self._looked_up(host, port))]
        permitted = [result for result in found if self._permits(result["host"])]
        if found and not permitted:
            raise AddressRefused
        return permitted

    async def close(self) -> None:
        """The threads belong to the sender."""

    def _looked_up(self, host: str, port: int) -> asyncio.Future[list[AddrInfo]]:
        key = host, port
        known = self._under_way.get(key)
        if known is None:
            loop = asyncio.get_running_loop()
            known = self._under_way[key] = loop.run_in_executor(self._threads, self._lookup, host, port)
            known.add_done_callback(lambda done: self._done(key, done))
        return known

    def _done(self, key: tuple[str, int], done: asyncio.Future[list[AddrInfo]]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # looked at, in case nobody waits any more


def _result(host: str, info: AddrInfo) -> ResolveResult:
    family, _, proto, _, place = info
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=place[0], port=place[1], family=family, proto=proto, flags=flags)


class HttpSender:
    """Implements ``Sender``. Made by :func:`http_sender`."""

    def __init__(self, sessions: Mapping[str, aiohttp.ClientSession], policy: AddressPolicy, clock: Clock) -> None:
        self._sessions = sessions
        self._policy = policy
        self._clock = clock

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        try:
            destination = checked_destination(url, self._policy)
        except KtError:
            return Response(reason=ADDRESS_REFUSED)  # what is allowed has changed since the webhook was created
        session = self._sessions[destination.scheme]
        try:
            async with session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as answer:
                asked = retry_after(answer.headers.get("Retry-After"), self._clock.now())
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with asyncio.timeout(READ_S):
                        await answer.content.read(MAX_READ)
                return Response(answer.status, retry_after=asked)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Response(reason=_reason(error))


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", None)
    if isinstance(cause, AddressRefused):
        return ADDRESS_REFUSED
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return NOT_CONNECTED


_REASONS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]] = (
    (TimeoutError, TIMEOUT),
    (aiohttp.ClientConnectorDNSError, NAME_NOT_RESOLVED),
    ((aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError), TLS_FAILED),
    (aiohttp.ClientConnectionError, NOT_CONNECTED),
    ((aiohttp.ClientError, ValueError), INVALID_ANSWER),
)
"""The first that fits."""


@asynccontextmanager
async def http_sender(
    policy: AddressPolicy, clock: Clock, takes: timedelta, lookup: Lookup = system_lookup
) -> AsyncIterator[HttpSender]:
    """A sender whose requests take ``takes`` at most, all together."""
    threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="lookup")
    permits: dict[str, Permits] = {"https": policy.permits_text, "http": _listed(policy)}
    try:
        async with contextlib.AsyncExitStack() as stack:
            sessions = {
                scheme: await stack.enter_async_context(
                    aiohttp.ClientSession(
                        connector=_connector(GuardedResolver(lookup, threads, permitted), permitted),
                        cookie_jar=aiohttp.DummyCookieJar(),
                        timeout=aiohttp.ClientTimeout(total=takes.total_seconds()),
                        auto_decompress=False,
                        trust_env=False,
                    )
                )
                for scheme, permitted in permits.items()
            }
            yield HttpSender(sessions, policy, clock)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _connector(resolver: GuardedResolver, permits: Permits) -> aiohttp.TCPConnector:
    """One connection per request: none is there to be used again after an address was taken from what is allowed."""

    def guarded_socket(info: AddrInfo) -> socket.socket:
        family, kind, proto, _, place = info
        if not permits(place[0]):
            raise AddressRefused
        return socket.socket(family, kind, proto)

    return aiohttp.TCPConnector(
        resolver=resolver,
        use_dns_cache=False,
        force_close=True,
        limit=0,
        socket_factory=guarded_socket,
        ssl=ssl.create_default_context(),
    )


def _listed(policy: AddressPolicy) -> Permits:
    """Without encryption only to networks that were allowed."""

    def permits(text: str) -> bool:
        return policy.permits_text(text) and policy.is_listed(ip_address(text))

    return permits
