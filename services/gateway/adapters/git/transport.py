"""HTTP to one Git server, for one look at it: bounded in bytes and in time, and to nowhere else."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from libs.common.errors import KtError
from libs.common.secret import Secret

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_DENIED: Final = frozenset({401, 403})
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_USER_AGENT: Final = "git/2 (keeptrusts)"
"""Git servers tell Git from browsers by how this begins."""


class TooLarge(Exception):
    """The server sent more than there is room for."""


class Response:
    """What dulwich needs of an answer."""

    def __init__(self, raw: http.client.HTTPResponse, transport: Transport, redirect_location: str) -> None:
        self._raw = raw
        self._transport = transport
        self.status = raw.status
        self.content_type = raw.headers.get("content-type", "")
        self.redirect_location = redirect_location

    def read(self, size: int) -> bytes:
        """That many bytes; fewer at the end only."""
        try:
            data = self._raw.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise self._transport.failure(error) from None
        self._transport.received(len(data))
        return data

    def close(self) -> None:
        self._raw.close()


class Transport:
    """``token`` goes to the origin of ``url`` and to no other.

    Requests are made by one thread; :meth:`abort` may be called by another one.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str,
        token: Secret | None,
        tls: ssl.SSLContext | None,
        timeout_s: float,
        max_bytes: int,
    ) -> None:
        self._origin = _origin(urlsplit(url))
        self._username = username
        self._token = token
        self._tls = tls
        self._deadline = time.monotonic() + timeout_s
        self._left = max_bytes
        self._socket: socket.socket | None = None
        self._aborted = False

    def get(self, url: str, headers: Mapping[str, str]) -> Response:
        """Follows redirects within the origin.

        Raises:
            KtError: as :meth:`_send`; ``unavailable`` for a redirect that leads elsewhere.
        """
        asked = url
        for _ in range(MAX_REDIRECTS + 1):
            raw = self._send("GET", url, headers, None)
            if raw.status not in _REDIRECTS:
                return Response(_successful(raw, sent_token=bool(self._token)), self, url if url != asked else "")
            url = urljoin(url, raw.headers.get("location", ""))
            raw.close()
        raise KtError("unavailable", "The Git server redirects in a circle.", "Name the repository's own address.")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Raises: KtError as :meth:`_send`; a redirect is a failure here."""
        raw = self._send("POST", url, headers, body)
        return Response(_successful(raw, sent_token=bool(self._token)), self, "")

    def received(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooLarge

    def abort(self) -> None:
        """End what is under way. A thread that waits for the server gets an error at once."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own: that changes what the other thread is using.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> http.client.HTTPResponse:
        """Raises: KtError ``unavailable`` for another origin, ``unreachable``."""
        parts = urlsplit(url)
        if _origin(parts) != self._origin:
            raise KtError(
                "unavailable",
                "The Git server refers to another address; expected everything at the one it was given.",
                "Name the repository's own address, with https://.",
            )
        try:
            connection = self._connected()
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body, {**self._own_headers(), **headers})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self.failure(error) from None

    def failure(self, error: Exception) -> KtError:
        """Why the server could not be talked to. Errors of the network's libraries can quote what was sent."""
        hint = "The address is that of --policy-config. A gateway that runs tries again."
        if self._aborted or isinstance(error, TimeoutError):
            return KtError("unreachable", "The Git server did not answer in time.", hint)
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({error.verify_message})"
            hint = "SSL_CERT_FILE names a bundle of CA certificates; give it one that holds the server's."
        elif isinstance(error, ssl.SSLError):
            why = "TLS failed"
        elif isinstance(error, socket.gaierror):
            why = "the name of the host can't be resolved"
        elif isinstance(error, ConnectionRefusedError):
            why = "nothing listens there"
        else:
            why = type(error).__name__
        return KtError("unreachable", f"The Git server can't be reached: {why}.", hint)

    def _connected(self) -> http.client.HTTPConnection:
        """A connection of its own for each request, made here, so that every step of it can be aborted."""
        scheme, host, port = self._origin
        left = self._deadline - time.monotonic()
        if left <= 0 or self._aborted:
            raise TimeoutError
        self.close()
        raw = self._socket = socket.create_connection((host, port), timeout=left)
        if scheme == "https" and self._tls is not None:
            raw = self._socket = self._tls.wrap_socket(raw, server_hostname=host)
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = _DEFAULT_PORTS[scheme]  # leaves it out of the Host header where it is implied
        connection.sock = raw
        return connection

    def _own_headers(self) -> dict[str, str]:
        headers = {"User-Agent": _USER_AGENT, "Connection": "close"}
        if self._token is not None:
            pair = self._username.encode() + b":" + self._token.reveal()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454); a URL that has none equals no other."""
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, (parts.hostname or "").lower(), port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _successful(raw: http.client.HTTPResponse, *, sent_token: bool) -> http.client.HTTPResponse:
    """Raises: KtError ``forbidden``, ``not_found`` or ``unavailable``; nothing of the answer is repeated."""
    status = raw.status
    if status == http.client.OK:
        return raw
    raw.close()
    if status in _DENIED:
        if sent_token:
            detail, hint = "does not accept the token", "Rotate it: `kt git-tokens rotate NAME`."
        else:
            detail, hint = (
                "wants a token",
                "Store one with `kt git-tokens create NAME`, and name it with --git-token.",
            )
        raise KtError("forbidden", f"The Git server {detail} (HTTP {status}).", hint)
    if status in (http.client.NOT_FOUND, http.client.GONE):
        hint = "Many servers say so of a private repository, too, when the token may not read it."
        raise KtError("not_found", "The Git server has no such repository.", hint)
    raise KtError("unavailable", f"The Git server answered with HTTP {status}.", "A gateway that runs tries again.")
