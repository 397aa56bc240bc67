"""Which addresses may be connected to: those of the public internet, and the networks that were allowed.

Whoever may create a webhook chooses an address that this system then connects to from inside its own network. What
that address may be is decided here, on the numeric address, never on a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

from libs.common.errors import KtError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

VARIABLE: Final = "KEEPTRUSTS_WEBHOOK_ALLOWED_NETWORKS"

# The IANA registries of special-purpose addresses, written out: what Python calls global differs by its release.
_REFUSED_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the host itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers (CGNAT); a cloud's metadata service at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by number, but a cloud's platform service of each host
        "169.254.0.0/16",  # link-local; metadata services at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""Everything else is refused: loopback, unspecified, IPv4-mapped, NAT64 (64:ff9b::/96), unique local, link-local,
site-local, multicast."""

_REFUSED_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, which holds an IPv4 address, benchmarking, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4, which holds an IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    allowed: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Networks in CIDR notation with commas between them.

        Raises:
            KtError: ``misconfigured``.
        """
        try:
            return cls(tuple(ip_network(part.strip()) for part in text.split(",") if part.strip()))
        except ValueError:
            raise KtError(
                "misconfigured",
                f"{VARIABLE} can't be used; expected networks such as 10.20.0.0/16,fd00:1::/64, without host bits.",
                "See docs/reference/settings.md.",
            ) from None

    def is_listed(self, address: Address) -> bool:
        """Whether the address is in a network that was allowed."""
        return any(address in network for network in self.allowed)

    def permits(self, address: Address) -> bool:
        return self.is_listed(address) or is_public(address)

    def permits_text(self, text: str) -> bool:
        """The same for a numeric address as text; False for anything else, such as one with a zone."""
        try:
            return "%" not in text and self.permits(ip_address(text))
        except ValueError:
            return False


def is_public(address: Address) -> bool:
    """Whether it is an address of the public internet, and holds no other address inside."""
    if isinstance(address, IPv4Address):
        return not _within(address, _REFUSED_IPV4)
    return address in _GLOBAL_UNICAST and not _within(address, _REFUSED_IPV6)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
