"""Ports and the readiness probe."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket

from libs.common.errors import KtError

_PROBE_SECONDS = 5.0


def chosen_port(host: str, wanted: str, last: int) -> int:
    """The port for the API: ``wanted``, or for ``0`` the one used last time when it is free, else any free one.

    Raises:
        KtError: ``misconfigured`` when it is not a port number, or something else listens there.
    """
    if not (wanted.isascii() and wanted.isdigit()) or int(wanted) > 65535:  # noqa: PLR2004
        raise KtError("misconfigured", "KEEPTRUSTS_API_PORT is not a port; expected a number from 0 to 65535.")
    port = int(wanted)
    for candidate in (port,) if port else (last, 0):
        found = _bound(host, candidate)
        if found is not None:
            return found
    raise KtError(
        "misconfigured",
        f"Port {port} on {host} is in use by another program, or not allowed.",
        "Set KEEPTRUSTS_API_PORT to another port, or to 0 for a free one.",
    )


def local_url(host: str, port: int) -> str:
    """Where a client on this machine finds what listens on ``host``."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def port_of(url: str) -> int:
    """The port in a URL; 0 when it has none."""
    _, _, port = url.rpartition(":")
    return int(port) if port.isdigit() else 0


async def answers_ok(url: str) -> bool:
    """True when a GET of ``url`` (``http://host:port/path``) is answered with 200."""
    authority, _, path = url.removeprefix("http://").partition("/")
    host, _, port = authority.rpartition(":")
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(f"GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status[1:2] == [b"200"]


def _bound(host: str, port: int) -> int | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError:
        return None
