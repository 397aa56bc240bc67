"""The gateway as the system knows it: enrolled, with the names it may resolve by each of its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libs.common.decider import Decider
from libs.common.events.gateway import GatewayEnrolled


@dataclass(frozen=True, slots=True)
class Enroll:
    token_id: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gateway:
    """``references`` by the id of the token."""

    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def decide(command: Enroll, state: Gateway) -> Sequence[GatewayEnrolled]:
    """Tokens may take turns: what is on record of one is not put there again because of another."""
    if state.references.get(command.token_id) == command.references:
        return []
    return [GatewayEnrolled(command.token_id, command.references)]


def evolve(state: Gateway, event: GatewayEnrolled) -> Gateway:
    return Gateway({**state.references, event.token_id: event.references})


GATEWAY: Decider[Enroll, Gateway, GatewayEnrolled] = Decider(Gateway(), decide, evolve)
