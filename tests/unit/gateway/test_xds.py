"""State-of-the-world xDS: what is sent when, and what counts as confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryRequest, DiscoveryResponse
from envoy_data_plane.google.protobuf import Any
from envoy_data_plane.google.rpc import Status

from libs.common.errors import KtError
from services.gateway.adapters.envoy.messages import CLUSTER, ROUTES, SECRET
from services.gateway.adapters.envoy.xds_cache import XdsCache, XdsStream


def item(text: str) -> Any:
    return Any(type_url="x", value=text.encode())


def sent(response: DiscoveryResponse) -> list[str]:
    return sorted(resource.value.decode() for resource in response.resources)


class Envoy:
    """The other end of a stream."""

    def __init__(self, cache: XdsCache) -> None:
        self.stream = XdsStream(cache)
        self.nonces: dict[str, str] = {}
        self.names: dict[str, list[str]] = {}
        cache.opened(self.stream)

    def subscribe(self, type_url: str, *names: str) -> None:
        self.names[type_url] = list(names)
        self._send(type_url)

    def _send(self, type_url: str, error: Status | None = None) -> None:
        nonce = self.nonces.get(type_url, "")
        self.stream.receive(
            DiscoveryRequest(
                type_url=type_url, resource_names=self.names[type_url], response_nonce=nonce, error_detail=error
            )
        )

    def due(self) -> list[DiscoveryResponse]:
        return self.stream.due()

    def answer(self, responses: Iterable[DiscoveryResponse], error: Status | None = None) -> None:
        for response in responses:
            self.nonces[response.type_url] = response.nonce
            self._send(response.type_url, error)


def test_given_secrets_when_envoy_asks_for_some_then_it_gets_those() -> None:
    cache = XdsCache()
    cache.update(SECRET, {"a": item("a1"), "b": item("b1")})
    envoy = Envoy(cache)
    envoy.subscribe(SECRET, "a")
    (response,) = envoy.due()
    assert (response.type_url, sent(response)) == (SECRET, ["a1"])
    assert not cache.confirmed(SECRET, ["a"])
    envoy.answer([response])
    assert cache.confirmed(SECRET, ["a"])
    assert not cache.confirmed(SECRET, ["a", "b"])
    assert envoy.due() == []


def test_given_a_rotation_then_only_that_secret_is_sent() -> None:
    cache = XdsCache()
    cache.update(SECRET, {"a": item("a1"), "b": item("b1")})
    envoy = Envoy(cache)
    envoy.subscribe(SECRET, "a", "b")
    envoy.answer(envoy.due())
    cache.update(SECRET, {"b": item("b2")})
    assert cache.confirmed(SECRET, ["a"])
    assert not cache.confirmed(SECRET, ["b"])
    responses = envoy.due()
    assert [sent(response) for response in responses] == [["b2"]]
    envoy.answer(responses)
    assert cache.confirmed(SECRET, ["a", "b"])


def test_given_two_rotations_in_flight_then_the_ack_of_the_first_confirms_nothing() -> None:
    cache = XdsCache()
    cache.update(SECRET, {"a": item("a1")})
    envoy = Envoy(cache)
    envoy.subscribe(SECRET, "a")
    envoy.answer(envoy.due())
    cache.update(SECRET, {"a": item("a2")})
    first = envoy.due()
    cache.update(SECRET, {"a": item("a3")})
    second = envoy.due()
    envoy.answer(first)
    assert not cache.confirmed(SECRET, ["a"])
    envoy.answer(second)
    assert cache.confirmed(SECRET, ["a"])


def test_given_a_secret_that_comes_later_then_it_is_sent_when_it_is_there() -> None:
    cache = XdsCache()
    envoy = Envoy(cache)
    envoy.subscribe(SECRET, "a")
    assert envoy.due() == []
    cache.update(SECRET, {"a": item("a1")})
    assert [sent(response) for response in envoy.due()] == [["a1"]]


def test_given_clusters_when_one_is_added_or_removed_then_the_whole_set_is_sent() -> None:
    cache = XdsCache()
    cache.update(CLUSTER, {"a": item("a")})
    envoy = Envoy(cache)
    envoy.subscribe(CLUSTER)
    envoy.answer(envoy.due())
    cache.update(CLUSTER, {"b": item("b")})
    assert not cache.confirmed_type(CLUSTER)
    (response,) = envoy.due()
    assert sent(response) == ["a", "b"]
    envoy.answer([response])
    assert cache.confirmed_type(CLUSTER)
    cache.update(CLUSTER, remove=["a"])
    (response,) = envoy.due()
    assert sent(response) == ["b"]


def test_given_a_refusal_then_it_is_not_confirmed_until_a_better_one_is() -> None:
    cache = XdsCache()
    cache.update(ROUTES, {"r": item("bad")})
    envoy = Envoy(cache)
    envoy.subscribe(ROUTES, "r")
    envoy.answer(envoy.due(), Status(code=3, message="no"))
    assert cache.refused(ROUTES)
    assert not cache.confirmed_type(ROUTES)
    cache.update(ROUTES, {"r": item("good")})
    assert not cache.refused(ROUTES)
    envoy.answer(envoy.due())
    assert cache.confirmed_type(ROUTES)


def test_given_a_new_stream_then_everything_is_sent_again_and_nothing_counts_as_confirmed() -> None:
    cache = XdsCache()
    cache.update(SECRET, {"a": item("a1")})
    first = Envoy(cache)
    first.subscribe(SECRET, "a")
    first.answer(first.due())
    second = Envoy(cache)
    assert not cache.confirmed(SECRET, ["a"])
    second.subscribe(SECRET, "a")
    assert [sent(response) for response in second.due()] == [["a1"]]
    cache.closed(first.stream)
    assert cache.connected, "the end of the old stream does not end the new one"
    cache.closed(second.stream)
    assert not cache.connected


def test_given_a_name_unsubscribed_and_subscribed_again_then_it_is_sent_again() -> None:
    cache = XdsCache()
    cache.update(SECRET, {"a": item("a1"), "b": item("b1")})
    envoy = Envoy(cache)
    envoy.subscribe(SECRET, "a", "b")
    envoy.answer(envoy.due())
    envoy.subscribe(SECRET, "b")
    envoy.subscribe(SECRET, "a", "b")
    assert [sent(response) for response in envoy.due()] == [["a1"]]


def test_given_the_same_request_again_without_a_new_answer_then_everything_is_sent_again() -> None:
    cache = XdsCache()
    cache.update(SECRET, {"a": item("a1")})
    envoy = Envoy(cache)
    envoy.subscribe(SECRET, "a")
    envoy.answer(envoy.due())
    envoy.subscribe(SECRET, "a")
    assert [sent(response) for response in envoy.due()] == [["a1"]]


async def test_waiting_ends_with_the_confirmation_or_with_an_error() -> None:
    cache = XdsCache()
    cache.update(SECRET, {"a": item("a1")})
    envoy = Envoy(cache)
    envoy.subscribe(SECRET, "a")
    waiting = asyncio.create_task(cache.wait(lambda: cache.confirmed(SECRET, ["a"]), 5, "the key"))
    await asyncio.sleep(0)
    envoy.answer(envoy.due())
    await waiting
    cache.update(SECRET, {"a": item("a2")})
    with pytest.raises(KtError) as error:
        await cache.wait(lambda: cache.confirmed(SECRET, ["a"]), 0.01, "the key")
    assert error.value.code == "unavailable"
