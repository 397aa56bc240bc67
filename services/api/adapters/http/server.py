"""Listening: the socket, and uvicorn on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from libs.common.errors import KtError
from services.api.adapters.http.protocol import BoundedProtocol

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
KEEP_ALIVE_S: Final = 75
STOP_S: Final = 3


class _Server(uvicorn.Server):
    """Signals are the service's to handle (libs.common.service)."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an application until it is cancelled, then lets requests finish, for three seconds at most."""

    def __init__(self, app: ASGIApp, listening: socket.socket, trusted_proxies: str) -> None:
        self._socket = listening
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=trusted_proxies or None,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        self._server = _Server(config)

    async def run(self) -> None:
        """Raises: KtError ``internal`` should it end by itself."""
        host, port = self._socket.getsockname()[:2]
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        log.info("api.listening", extra={"host": host, "port": port})
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._server.should_exit = True
            await serving
            raise
        raise KtError("internal", "The HTTP server ended by itself; restarting.")


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 takes a free one.

    Raises:
        KtError: ``misconfigured`` when the address is taken or not one of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        raise KtError(
            "misconfigured",
            f"The API can't listen on {host} port {port}: {error.strerror}.",
            "Set KEEPTRUSTS_API_PORT to a free port, or to 0 to have one chosen, and KEEPTRUSTS_API_HOST to an "
            "address of this machine.",
        ) from None
    listening.setblocking(False)
    return listening
