"""Where deliveries may go: the public internet, and what was allowed by name."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from services.webhooks.domain.addresses import AddressPolicy, is_public

PUBLIC = AddressPolicy()

REFUSED = [
    # loopback and unspecified
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - refused
    "0.1.2.3",
    "::1",
    "::",
    # private, shared by carriers, link-local, unique local, site-local
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.0.1",
    "fe80::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    # metadata services of clouds
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    # multicast, broadcast, reserved
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "240.0.0.1",
    "ff02::1",
    "ff0e::1",
    # documentation, benchmarking, protocol assignments
    "192.0.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "192.88.99.1",
    "2001:db8::1",
    "3fff::1",
    "2001:2::1",
    # an IPv4 address inside an IPv6 one, be it private or public
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:7f00:1::",
    # the rest of what is not global unicast
    "100::1",
    "5f00::1",
    "4000::1",
]
PERMITTED = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.32.0.1",
    "2606:4700::1111",
    "2a00:1450::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not PUBLIC.permits_text(address)


@pytest.mark.parametrize("address", PERMITTED)
def test_a_public_address_is_permitted(address: str) -> None:
    assert PUBLIC.permits_text(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "8.8.8.8 ",
        "fe80::1%eth0",
        "8.8.8.8%1",
        "[::1]",
    ],
)
def test_what_is_not_a_numeric_address_is_refused(text: str) -> None:
    assert not AddressPolicy.parse("0.0.0.0/0,::/0").permits_text(text)


@given(st.ip_addresses())
def test_whatever_is_permitted_is_global_and_one_machine_s_by_the_standard_library_too(
    address: IPv4Address | IPv6Address,
) -> None:
    if is_public(address):
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_loopback))


@given(st.ip_addresses(v=4))
def test_no_ipv6_address_that_holds_an_ipv4_address_is_permitted(inner: IPv4Address) -> None:
    raw = int(inner)
    for wrapped in (raw, 0xFFFF << 32 | raw, 0x64FF9B << 96 | raw, 0x2002 << 112 | raw << 80, 0x20010000 << 96 | raw):
        assert not is_public(IPv6Address(wrapped))


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_that_is_allowed_is_permitted_and_nothing_else_becomes_so(
    address: IPv4Address | IPv6Address, prefix: int
) -> None:
    network = ip_network(f"{address}/{min(prefix, address.max_prefixlen)}", strict=False)
    policy = AddressPolicy.parse(str(network))
    assert policy.permits(address)
    for other in (*map(ip_address, REFUSED), *map(ip_address, PERMITTED)):
        assert policy.permits(other) == (other in network or PUBLIC.permits(other))


def test_several_networks_are_read_with_white_space_around_them() -> None:
    policy = AddressPolicy.parse(" 10.0.0.0/8, fd00:1::/64 ,127.0.0.1 ")
    assert all(policy.permits_text(a) for a in ("10.1.2.3", "fd00:1::9", "127.0.0.1"))
    assert not any(policy.permits_text(a) for a in ("172.16.0.1", "127.0.0.2"))


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "localhost", "10.0.0.0/8;172.16.0.0/12", "10.*"])
def test_networks_that_can_t_be_read_stop_the_start(text: str) -> None:
    with pytest.raises(KtError) as caught:
        AddressPolicy.parse(text)
    assert caught.value.code == "misconfigured"
    assert "KEEPTRUSTS_WEBHOOK_ALLOWED_NETWORKS" in caught.value.detail
