"""State-of-the-world xDS (ADS): what Envoy should have, what it was sent, what it confirmed.

Protocol: a client names the resources it wants and answers every response with its nonce, as an ACK or, with
``error_detail``, as a NACK. Only clusters are always sent as a whole; of the other types only what is new.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryRequest, DiscoveryResponse
from envoy_data_plane.google.protobuf import Any

from libs.common.errors import KtError
from services.gateway.adapters.envoy.messages import CLUSTER, ROUTES

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Versioned:
    resource: Any = field(repr=False)
    version: int


@dataclass(slots=True)
class _Sent:
    type_url: str
    type_version: int
    versions: dict[str, int]


@dataclass(slots=True)
class _Watch:
    names: frozenset[str] = frozenset()
    sent: dict[str, int] = field(default_factory=dict)
    type_version: int = -1


class XdsCache:
    """The resources, and the waiting for Envoy's confirmation of them."""

    def __init__(self) -> None:
        self._resources: dict[str, dict[str, Versioned]] = {}
        self._type_versions: dict[str, int] = {}
        self._versions = itertools.count(1)
        self._current: XdsStream | None = None
        self._progress = asyncio.Event()

    def update(self, type_url: str, put: Mapping[str, Any] | None = None, remove: Iterable[str] = ()) -> None:
        resources = self._resources.setdefault(type_url, {})
        version = next(self._versions)
        resources.update({name: Versioned(resource, version) for name, resource in (put or {}).items()})
        for name in remove:
            resources.pop(name, None)
        self._type_versions[type_url] = version
        if self._current is not None:
            self._current.wake()

    def resources(self, type_url: str) -> Mapping[str, Versioned]:
        return self._resources.get(type_url, {})

    def type_version(self, type_url: str) -> int:
        return self._type_versions.get(type_url, 0)

    @property
    def connected(self) -> bool:
        return self._current is not None

    def opened(self, stream: XdsStream) -> None:
        """A new stream takes the place of the one before: Envoy has at most one."""
        self._current = stream
        self.progressed()

    def closed(self, stream: XdsStream) -> None:
        if self._current is stream:
            self._current = None
            self.progressed()

    def progressed(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    def confirmed(self, type_url: str, names: Iterable[str]) -> bool:
        """Has the connected Envoy confirmed the present version of all these resources?"""
        if self._current is None:
            return False
        acked, resources = self._current.acked(type_url), self.resources(type_url)
        return all(name in resources and acked.get(name) == resources[name].version for name in names)

    def confirmed_type(self, type_url: str) -> bool:
        """Has it confirmed the present set of this type, removals included?"""
        return self._current is not None and self._current.acked_type(type_url) >= self.type_version(type_url)

    def refused(self, type_url: str) -> bool:
        """Did it refuse the present set of this type?"""
        return self._current is not None and self._current.refused_type(type_url) >= self.type_version(type_url)

    async def wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until ``condition`` holds; it is asked again after every answer of Envoy.

        Raises:
            KtError: ``unavailable`` after ``timeout_s``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._progress.wait()
        except TimeoutError:
            raise KtError("unavailable", f"Envoy did not confirm {what} within {timeout_s:g} s.") from None


class XdsStream:
    """One stream of one Envoy process."""

    def __init__(self, cache: XdsCache) -> None:
        self._cache = cache
        self._watches: dict[str, _Watch] = {}
        self._in_flight: dict[str, _Sent] = {}
        self._acked: dict[str, dict[str, int]] = {}
        self._acked_types: dict[str, int] = {}
        self._refused_types: dict[str, int] = {}
        self._answered_nonces: dict[str, str] = {}
        self._nonces = itertools.count(1)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    def acked(self, type_url: str) -> Mapping[str, int]:
        return self._acked.get(type_url, {})

    def acked_type(self, type_url: str) -> int:
        return self._acked_types.get(type_url, -1)

    def refused_type(self, type_url: str) -> int:
        return self._refused_types.get(type_url, -1)

    def receive(self, request: DiscoveryRequest) -> None:
        """Take note of a subscription, an ACK or a NACK."""
        watch = self._watches.setdefault(request.type_url, _Watch())
        names = frozenset(request.resource_names)
        sent = self._in_flight.pop(request.response_nonce, None)
        if sent is not None:
            self._answered_nonces[request.type_url] = request.response_nonce
            self._answered(sent, request)
        elif request.response_nonce == self._answered_nonces.get(request.type_url) and names == watch.names:
            # Neither an answer nor another set: it subscribes anew and has forgotten what it had.
            watch.sent.clear()
            watch.type_version = -1
        watch.sent = {name: version for name, version in watch.sent.items() if not names or name in names}
        watch.names = names
        self.wake()

    def _answered(self, sent: _Sent, request: DiscoveryRequest) -> None:
        if request.error_detail is not None:
            self._refused_types[sent.type_url] = sent.type_version
            # Only these two types never hold a credential that the text could quote.
            told = request.error_detail.message if sent.type_url in (CLUSTER, ROUTES) else ""
            log.error("envoy.refused", extra={"resource_type": sent.type_url, "text": told})
        else:
            self._acked.setdefault(sent.type_url, {}).update(sent.versions)
            self._acked_types[sent.type_url] = max(self.acked_type(sent.type_url), sent.type_version)
        self._cache.progressed()

    def due(self) -> list[DiscoveryResponse]:
        """The responses that bring Envoy up to date with the cache."""
        responses = [self._response(type_url, watch) for type_url, watch in self._watches.items()]
        return [response for response in responses if response is not None]

    def _response(self, type_url: str, watch: _Watch) -> DiscoveryResponse | None:
        resources = self._cache.resources(type_url)
        type_version = self._cache.type_version(type_url)
        if type_url == CLUSTER:
            selected = dict(resources) if type_version > watch.type_version else None
        else:
            selected = {
                name: resources[name]
                for name in watch.names
                if name in resources and resources[name].version > watch.sent.get(name, 0)
            } or None
        if selected is None or type_version == 0:
            return None
        watch.type_version = type_version
        versions = {name: item.version for name, item in selected.items()}
        watch.sent.update(versions)
        nonce = str(next(self._nonces))
        self._in_flight[nonce] = _Sent(type_url, type_version, versions)
        return DiscoveryResponse(
            version_info=str(type_version),
            resources=[item.resource for item in selected.values()],
            type_url=type_url,
            nonce=nonce,
        )
