"""Envoy as the gateway's data plane."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from envoy_data_plane.google.protobuf import Any

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.adapters.envoy.access_log import runtime_layer
from services.gateway.adapters.envoy.admin import Admin, AdminError
from services.gateway.adapters.envoy.client_filters import client_filters
from services.gateway.adapters.envoy.clusters import cluster
from services.gateway.adapters.envoy.messages import (
    CLUSTER,
    EXTENSION,
    ROUTES,
    RUNTIME,
    SECRET,
    resource,
    secret_resource,
)
from services.gateway.adapters.envoy.names import ROUTE_CONFIG, RUNTIME_LAYER, secret_name
from services.gateway.adapters.envoy.routes import route_configuration
from services.gateway.adapters.envoy.xds_cache import XdsCache
from services.gateway.domain.access import Recording
from services.gateway.domain.client_auth import ClientAuth
from services.gateway.domain.references import Reference
from services.gateway.domain.routing import RoutingPlan

log = logging.getLogger(__name__)

CONFIRM_TIMEOUT_S: Final = 10.0
LINGER_S: Final = 30.0
"""How long a destination without routes stays: a request whose body still arrives has chosen its route already."""

_NOTHING: Final = RoutingPlan((), ())


class EnvoyDataPlane:
    """Keeps an :class:`XdsCache` such that a request meets the old plan or the new one, and never half of each.

    Order of a change: secrets and clusters first, while no route leads to them; then the routes, which Envoy swaps
    as a whole; the clusters without routes last.
    """

    def __init__(self, cache: XdsCache, admin: Admin, ca_bundle: str) -> None:
        self._cache = cache
        self._admin = admin
        self._ca_bundle = ca_bundle
        self._plan = _NOTHING
        self._coming = _NOTHING
        self._routes: Any | None = None
        self._drops: set[asyncio.Task[None]] = set()
        self.set_recording(Recording.FAILURES)

    @property
    def connected(self) -> bool:
        return self._cache.connected

    async def apply(self, plan: RoutingPlan, key_of: Callable[[Reference], Secret | None]) -> None:
        before = self._plan
        self._coming = plan
        try:
            # In a thread: building takes milliseconds for each target, and rotations go on meanwhile.
            clusters, routes = await asyncio.to_thread(self._build, plan, frozenset(self._cache.resources(CLUSTER)))
            self._add(clusters, {ref: key_of(ref) for ref in plan.references - before.references})
            await self._confirm(CLUSTER, "the targets")
            await self._wait(lambda: self._secrets_confirmed(plan.references), "the keys")
            await self._warm(required=before is not _NOTHING)
            self._cache.update(ROUTES, {ROUTE_CONFIG: routes})
            await self._confirm(ROUTES, "the routes")
        except BaseException:
            if self._routes is not None:
                self._cache.update(ROUTES, {ROUTE_CONFIG: self._routes})
            self._coming = before
            self._drop(_names(plan) - _names(before), plan.references - before.references)
            raise
        self._plan, self._routes = plan, routes
        self._drop_later(_names(before) - _names(plan), before.references - plan.references)

    def set_key(self, reference: Reference, value: Secret | None) -> None:
        name = secret_name(reference)
        self._cache.update(SECRET, {name: secret_resource(name, value)})

    def set_recording(self, recording: Recording) -> None:
        layer = {"name": RUNTIME_LAYER, "layer": runtime_layer(recording)}
        self._cache.update(RUNTIME, {RUNTIME_LAYER: resource(RUNTIME, layer)})

    async def acknowledgement(self, reference: Reference, timeout_s: float) -> None:
        await self._cache.wait(lambda: self.acknowledged(reference), timeout_s, f"the key of {reference}")

    def acknowledged(self, reference: Reference) -> bool:
        return self._cache.confirmed(SECRET, [secret_name(reference)])

    async def set_client_auth(self, auth: ClientAuth) -> None:
        before = {name: item.resource for name, item in self._cache.resources(EXTENSION).items()}
        filters = {name: resource(EXTENSION, document) for name, document in client_filters(auth).items()}
        self._cache.update(EXTENSION, filters)
        if self._plan is _NOTHING:
            return
        try:
            await self._confirm(EXTENSION, "the client authentication")
        except KtError:
            self._cache.update(EXTENSION, before)
            raise

    async def stop(self) -> None:
        for task in self._drops:
            task.cancel()
        await asyncio.gather(*self._drops, return_exceptions=True)

    def _build(self, plan: RoutingPlan, known: frozenset[str]) -> tuple[dict[str, Any], Any]:
        """The clusters that Envoy does not have yet, and the routes."""
        new = [destination for destination in plan.destinations if destination.name not in known]
        clusters = {d.name: resource(CLUSTER, cluster(d, self._ca_bundle)) for d in new}
        return clusters, resource(ROUTES, route_configuration(plan))

    def _add(self, clusters: Mapping[str, Any], keys: Mapping[Reference, Secret | None]) -> None:
        # The keys of references in use stay as they are: the rotation follower keeps those up to date.
        new = {secret_name(ref): secret_resource(secret_name(ref), value) for ref, value in keys.items()}
        self._cache.update(SECRET, new)
        self._cache.update(CLUSTER, clusters)

    def _secrets_confirmed(self, references: Iterable[Reference]) -> bool:
        return self._cache.confirmed(SECRET, [secret_name(ref) for ref in references])

    async def _confirm(self, type_url: str, what: str) -> None:
        await self._wait(lambda: self._cache.refused(type_url) or self._cache.confirmed_type(type_url), what)
        if self._cache.refused(type_url):
            raise KtError("unavailable", f"Envoy refused {what}.", "The log has Envoy's reason.")

    async def _wait(self, condition: Callable[[], bool], what: str) -> None:
        await self._cache.wait(condition, CONFIRM_TIMEOUT_S, what)

    async def _warm(self, *, required: bool) -> None:
        """Wait until Envoy has looked up the new targets' addresses; until then it would answer 503 for them."""
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                await self._admin.until_zero("cluster_manager.warming_clusters")
        except (TimeoutError, AdminError):
            if required:
                raise KtError(
                    "unavailable", "A new target's host name can't be looked up.", "Check base_url and DNS."
                ) from None
            log.warning("envoy.targets_not_looked_up")

    def _drop_later(self, clusters: frozenset[str], references: frozenset[Reference]) -> None:
        if not clusters:
            return

        async def drop() -> None:
            await asyncio.sleep(LINGER_S)
            self._drop(clusters, references)

        task = asyncio.create_task(drop())
        self._drops.add(task)
        task.add_done_callback(self._drops.discard)

    def _drop(self, clusters: frozenset[str], references: frozenset[Reference]) -> None:
        wanted = _names(self._plan) | _names(self._coming)
        self._cache.update(CLUSTER, remove=clusters - wanted)
        unused = references - self._plan.references - self._coming.references
        self._cache.update(SECRET, remove={secret_name(ref) for ref in unused})


def _names(plan: RoutingPlan) -> frozenset[str]:
    return frozenset(destination.name for destination in plan.destinations)
