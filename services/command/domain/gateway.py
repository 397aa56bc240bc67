"""The gateway as the system knows it: enrolled, with the names it may resolve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.decider import Decider
from libs.common.events.gateway import GatewayEnrolled


@dataclass(frozen=True, slots=True)
class Enroll:
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gateway:
    enrolled: bool = False
    references: tuple[str, ...] = ()


def decide(command: Enroll, state: Gateway) -> Sequence[GatewayEnrolled]:
    if state.enrolled and state.references == command.references:
        return []
    return [GatewayEnrolled(command.references)]


def evolve(_: Gateway, event: GatewayEnrolled) -> Gateway:
    return Gateway(enrolled=True, references=event.references)


GATEWAY: Decider[Enroll, Gateway, GatewayEnrolled] = Decider(Gateway(), decide, evolve)
