"""URLs that webhooks may have: a grammar narrow enough that no two parsers read one differently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from libs.common.errors import KtError
from libs.common.webhook_url import check_holds_no_credential, url_refused
from services.webhooks.domain.addresses import Address, AddressPolicy

_URL: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[A-Za-z0-9/._~!$&'()*+,;=:%-]*)?(?:\?(?P<query>[A-Za-z0-9/._~!$&'()*+,;=:%?-]*))?"
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_HOST: Final = 253
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_FIRST_UNPRIVILEGED: Final = 1024
_OTHER_PROTOCOLS: Final = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080}
)
"""Ports that browsers refuse for HTTP as well (Fetch standard, bad ports)."""

_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Destination:
    """``address`` is set where the host is numeric, or is a name that always means this machine."""

    scheme: str
    host: str
    port: int
    address: Address | None


def checked_destination(url: str, policy: AddressPolicy) -> Destination:
    """The parts of a URL that may be connected to, as far as that can be told without looking up its name.

    Raises:
        KtError: ``invalid_request``; the URL is not repeated, because it may hold a credential.
    """
    check_holds_no_credential(url)
    match = _URL.fullmatch(url)
    if match is None:
        raise _wrong_form(url)
    scheme, host = match["scheme"], match["host"]
    if scheme not in _DEFAULT_PORTS:
        raise url_refused("has another scheme than https", "https://host/path")
    destination = Destination(scheme, host, int(match["port"] or _DEFAULT_PORTS[scheme]), _address(host))
    _check_where(destination, policy)
    return destination


def _check_where(destination: Destination, policy: AddressPolicy) -> None:
    address = destination.address
    if address is not None and not policy.permits(address):
        raise url_refused(
            "leads to an address that is not public",
            "a public address, or one in a network that the operator of this system allows",
        )
    listed = address is not None and policy.is_listed(address)
    if destination.scheme == "http" and not listed and (address is not None or not policy.allowed):
        raise url_refused("is not encrypted", "https, except for networks that the operator of this system allows")
    port = destination.port
    sane = port in _DEFAULT_PORTS.values() or (port >= _FIRST_UNPRIVILEGED and port not in _OTHER_PROTOCOLS)
    if not 0 < port <= _MAX_PORT or not (sane or listed):
        raise url_refused(
            "has a port that is not for HTTP", "443, 80, or one from 1024 on that no other protocol uses"
        )


def _address(host: str) -> Address | None:
    """Raises: KtError unless it is a DNS name or a numeric address in its one usual form."""
    if host.startswith("["):
        try:
            return IPv6Address(host[1:-1])
        except AddressValueError:
            raise url_refused("has a host that is not an IPv6 address", "a name or an address") from None
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise url_refused(
            "has a host that is not a name", "a DNS name (punycode where it is not ASCII) or an address"
        )
    if labels[-1] == "localhost":
        return IPv4Address("127.0.0.1")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        # Resolvers take 127.1, 2130706433 and 0x7f.1 for addresses; only one form is let through.
        try:
            return IPv4Address(host)
        except AddressValueError:
            raise url_refused("has a host that is not a usual IPv4 address", "four decimal numbers") from None
    return None


def _wrong_form(url: str) -> KtError:
    if "#" in url:
        return url_refused("has a fragment, which is never sent", "a URL without")
    return url_refused("does not have the form of one", "https://host/path in ASCII, the host in lower case")
