"""The routing plan: which request goes to which target, and how its path is rewritten.

By target id in the path, else by ``model`` in the JSON body, else to the first target.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from services.gateway.domain.config import GatewayConfig, Target
from services.gateway.domain.references import Reference
from services.gateway.domain.upstreams import Upstream

TARGET_PREFIX = "/targets/"


@dataclass(frozen=True, slots=True)
class Destination:
    """An upstream together with the key it takes.

    ``name`` is derived from everything but the key, so a changed target is a new destination and the old one serves
    until no route leads to it.
    """

    name: str
    target: str
    upstream: Upstream
    header: str
    prefix: str
    reference: Reference


@dataclass(frozen=True, slots=True)
class Rewrite:
    """``pattern`` (RE2) matches the client's whole path, ``substitution`` gives the provider's."""

    pattern: str
    substitution: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One route, tried in order: selected by its path, by the model in the body, or (neither) by every request."""

    destination: Destination
    rewrite: Rewrite
    path_prefix: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    destinations: tuple[Destination, ...]
    rules: tuple[Rule, ...]

    @property
    def reads_body(self) -> bool:
        """False when no target is selected by its model: then no request body has to be read before routing."""
        return any(rule.model for rule in self.rules)

    @property
    def references(self) -> frozenset[Reference]:
        return frozenset(destination.reference for destination in self.destinations)


def plan_routes(config: GatewayConfig) -> RoutingPlan:
    destinations = {target.id: _destination(target) for target in config.targets}
    by_path = [
        Rule(destinations[t.id], _rewrite(t.upstream, TARGET_PREFIX + t.id), path_prefix=f"{TARGET_PREFIX}{t.id}/")
        for t in config.targets
    ]
    by_model: dict[str, Rule] = {}
    for target in config.targets:
        for model in target.models:
            rule = Rule(destinations[target.id], _rewrite(target.upstream), model=model)
            by_model.setdefault(model, rule)
    first = config.targets[0]
    fallback = Rule(destinations[first.id], _rewrite(first.upstream))
    return RoutingPlan(tuple(destinations.values()), (*by_path, *by_model.values(), fallback))


def _destination(target: Target) -> Destination:
    provider = target.provider
    described = repr((target.id, target.upstream, provider.header, provider.prefix, str(target.reference)))
    name = f"{target.id}.{hashlib.sha256(described.encode()).hexdigest()[:12]}"
    return Destination(name, target.id, target.upstream, provider.header, provider.prefix, target.reference)


def _rewrite(upstream: Upstream, prefix: str = "") -> Rewrite:
    versions = f"(?:/(?:{'|'.join(upstream.versions)}))?" if upstream.versions else ""
    return Rewrite(f"^{re.escape(prefix)}{versions}(/.*)$", upstream.path + r"\1")
