"""Envoy's admin interface on its Unix socket: readiness, statistics, draining."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from pathlib import Path
from typing import Final

_TIMEOUT_S: Final = 2.0
_POLL_S: Final = 0.02


class AdminError(Exception):
    """Envoy does not do what it is asked on its admin socket."""


class Admin:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def until_ready(self) -> None:
        """Wait until the listener takes requests. The caller bounds the wait."""
        while True:
            with contextlib.suppress(AdminError):
                status, _ = await self._request("GET", "/ready")
                if status == HTTPStatus.OK:
                    return
            await asyncio.sleep(_POLL_S)

    async def until_zero(self, gauge: str) -> None:
        """Wait until a gauge is 0; one that Envoy does not know is. The caller bounds the wait.

        Raises:
            AdminError: Envoy does not answer.
        """
        path = f"/stats?filter=^{gauge.replace('.', '%5C.')}$"
        while True:
            _, body = await self._request("GET", path)
            if body.partition(": ")[2].strip() in ("", "0"):
                return
            await asyncio.sleep(_POLL_S)

    async def counters(self, prefix: str) -> dict[str, int]:
        """Counters by the part of their names behind ``prefix``.

        Raises:
            AdminError: Envoy does not answer.
        """
        _, body = await self._request("GET", f"/stats?type=Counters&filter=^{prefix.replace('.', '%5C.')}")
        lines = (line.rpartition(": ") for line in body.splitlines())
        return {name.removeprefix(prefix): int(value) for name, _, value in lines if value.isdecimal()}

    async def drain_listeners(self) -> None:
        """Take no further connections, and let every answer on an open one say that it is the last.

        Raises:
            AdminError: Envoy does not answer.
        """
        for path in ("/healthcheck/fail", "/drain_listeners"):
            status, _ = await self._request("POST", path)
            if status != HTTPStatus.OK:
                raise AdminError(f"{path} answered {status}")

    async def _request(self, method: str, path: str) -> tuple[int, str]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                try:
                    writer.write(f"{method} {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n".encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await _body(reader, head)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise AdminError(type(error).__name__) from None
        return int(head.split(b" ", 2)[1]), body.decode(errors="replace")


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return await reader.read()
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:size]
    return body
