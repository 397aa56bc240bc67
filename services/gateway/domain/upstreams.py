"""Base URLs: where a target's requests go, and how a client's path becomes the provider's path."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")
_PORTS = {"https": 443, "http": 80}
_LAST_PORT = 65535


class BaseUrlError(ValueError):
    """Says what is wrong with a base URL, without repeating it."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """``path`` has no trailing slash and is empty for the root."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The ``Host`` header; the port is left out where the scheme implies it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"

    @property
    def address(self) -> str:
        """The IP address in ``host``, or an empty text for a name."""
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            return ""

    @property
    def loopback(self) -> bool:
        if self.address:
            return ipaddress.ip_address(self.address).is_loopback
        return self.host == "localhost" or self.host.endswith(".localhost")

    @property
    def versions(self) -> tuple[str, ...]:
        """API version segments of a client's path that ``path`` already stands for.

        A base URL that ends in ``/v1`` must not make ``/v1/v1``; one that names another version (``/api/paas/v4``)
        replaces the ``/v1`` that SDKs put first.
        """
        own = [segment for segment in self.path.split("/") if _VERSION.fullmatch(segment)]
        return tuple(dict.fromkeys([*own, "v1"])) if own else ()


def parse_base_url(text: str) -> Upstream:
    """``https://host[:port][/path]``, or ``http`` in place of ``https``.

    Raises:
        BaseUrlError: another scheme, user information, a query, a fragment, or a part that is not well-formed.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BaseUrlError("is not a URL") from None
    if parts.scheme not in _PORTS:
        raise BaseUrlError("does not begin with https:// or http://")
    if "@" in parts.netloc:
        raise BaseUrlError("contains user information; a key belongs into secret_key_ref")
    if "?" in text or "#" in text:
        raise BaseUrlError("contains a query or a fragment")
    host = (parts.hostname or "").rstrip(".")
    upstream = Upstream(parts.scheme == "https", host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))
    if not upstream.address and not _HOST.fullmatch(host):
        raise BaseUrlError("has no valid host name")
    if port is not None and not 1 <= port <= _LAST_PORT:
        raise BaseUrlError("has a port that is not between 1 and 65535")
    if not _PATH.fullmatch(upstream.path) or {".", ".."} & set(upstream.path.split("/")):
        raise BaseUrlError(
            "has a path with other characters than letters, digits, '.', '_', '~', '-', single slashes"
        )
    return upstream
