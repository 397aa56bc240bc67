"""URLs that a webhook may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from libs.common.errors import KtError
from services.webhooks.domain.addresses import AddressPolicy
from services.webhooks.domain.destination import checked_destination

PUBLIC = AddressPolicy()
OWN = AddressPolicy.parse("10.0.0.0/8,127.0.0.0/8")


def problem(url: str, policy: AddressPolicy = PUBLIC) -> str:
    with pytest.raises(KtError) as caught:
        checked_destination(url, policy)
    assert caught.value.code == "invalid_request"
    assert not url or url not in str(caught.value), "it may hold a credential"
    return caught.value.fields[0].problem


@pytest.mark.parametrize(
    "url",
    [
        "https://receiver.example.com",
        "https://receiver.example.com/",
        "https://receiver.example.com/hooks/kt?team=search&x",
        "https://receiver.example.com:8443/kt",
        "https://xn--bcher-kva.example/kt",
        "https://8.8.8.8/kt",
        "https://[2606:4700::1111]:443/kt",
        "https://receiver.example.com./kt",
        "https://receiver.example.com/%7Bid%7D",
    ],
)
def test_a_public_https_url_is_accepted(url: str) -> None:
    checked_destination(url, PUBLIC)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "form"),
        ("receiver.example.com", "form"),
        ("https:receiver.example.com", "form"),
        ("https:///kt", "form"),
        ("https://receiver.example.com/a b", "form"),
        ("https://receiver.example.com\\@10.0.0.1/", "user name"),
        ("https://receiver.example.com\t/", "form"),
        ("https://receiver.example.com/\r\nHost: x", "form"),
        ("https://bücher.example/", "form"),
        ("https://RECEIVER.example.com/", "form"),
        ("https://receiver.example.com/#top", "fragment"),
        ("https://alice@receiver.example.com/", "user name"),
        ("https://alice:pw@receiver.example.com/", "user name"),
        ("https://receiver.example.com:pw@10.0.0.1/", "user name"),
        ("ftp://receiver.example.com/", "scheme"),
        ("file:///etc/passwd", "form"),
        ("gopher://127.0.0.1:70/", "scheme"),
        ("http://receiver.example.com/", "not encrypted"),
        ("http://8.8.8.8/", "not encrypted"),
        ("https://10.0.0.1/", "not public"),
        ("https://169.254.169.254/latest/meta-data/", "not public"),
        ("https://[::1]/", "not public"),
        ("https://[::ffff:127.0.0.1]/", "not public"),
        ("https://[fe80::1%25eth0]/", "form"),
        ("https://[::g]/", "form"),
        ("https://[1::2::3]/", "not an IPv6"),
        ("https://localhost/", "not public"),
        ("https://api.localhost:8443/", "not public"),
        ("https://localhost./", "not public"),
        ("https://127.1/", "not a usual IPv4"),
        ("https://2130706433/", "not a usual IPv4"),
        ("https://0x7f.1/", "not a usual IPv4"),
        ("https://0x7f000001/", "not a usual IPv4"),
        ("https://0177.0.0.1/", "not a usual IPv4"),
        ("https://1.2.3.4.5/", "not a usual IPv4"),
        ("https://999.1.1.1/", "not a usual IPv4"),
        ("https://a..b/", "not a name"),
        ("https://-a.example/", "not a name"),
        (f"https://{'a-' * 32}a.example/", "not a name"),
        ("https://receiver.example.com:0/", "port"),
        ("https://receiver.example.com:22/", "port"),
        ("https://receiver.example.com:6667/", "port"),
        ("https://receiver.example.com:65536/", "port"),
        ("https://receiver.example.com:/", "form"),
        ("https://receiver.example.com/?token=abc", "credential"),
        ("https://receiver.example.com/?x=1&API_KEY=abc", "credential"),
        ("https://receiver.example.com/?code=abc", "credential"),
        ("https://receiver.example.com/sk-proj-0123456789abcdef0123", "credential"),
    ],
)
def test_any_other_is_refused_with_the_reason_and_without_an_echo(url: str, why: str) -> None:
    assert why in problem(url)


@pytest.mark.parametrize(
    "url", ["http://10.1.2.3/kt", "http://127.0.0.1:22/kt", "http://localhost:9/kt", "http://receiver.internal/kt"]
)
def test_networks_that_are_allowed_need_no_tls_and_have_any_port(url: str) -> None:
    checked_destination(url, OWN)


def test_allowing_one_network_allows_no_other() -> None:
    assert "not public" in problem("http://192.168.0.1/kt", OWN)
    assert "not encrypted" in problem("http://8.8.8.8/kt", OWN)
    assert "port" in problem("https://8.8.8.8:22/kt", OWN)


@given(st.text(max_size=40) | st.from_regex(r"https?://[ -~]{0,40}", fullmatch=True))
def test_what_is_accepted_is_read_the_same_by_who_connects(url: str) -> None:
    try:
        found = checked_destination(url, PUBLIC)
    except KtError:
        return
    read = URL(url, encoded=True)
    assert (read.scheme, read.port) == (found.scheme, found.port)
    assert read.raw_host == found.host.strip("[]")
    assert read.user is None
    assert read.password is None
