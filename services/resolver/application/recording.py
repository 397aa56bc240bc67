"""What a resolution leaves in the access stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libs.common.clock import Clock, rfc3339
from libs.common.events import Actor, Metadata, Origin, Resource, encode_all
from libs.common.events.config_variable import ConfigVariableRevealed, LegacyRowResolved, LegacyRowRevealed
from libs.common.ids import IdFactory
from libs.common.references import split_reference
from libs.common.secret_kinds import CONFIG_VARIABLE, KINDS
from libs.common.subjects import access_subject
from services.resolver.domain.entitlement import Fate, FromRow, Refused

SOURCE: Final = "keeptrusts/resolver"
REVEAL: Final = "reveal"
"""The purpose of the API showing a value that is not sensitive."""

INVALID: Final = "(invalid)"
"""Stands for a reference that can't be a name: what was sent there may be a key pasted in the wrong place."""


@dataclass(frozen=True, slots=True)
class Requester:
    """Who resolves, on whose behalf, and why."""

    org: str
    actor: Actor
    origin: Origin
    purpose: str


class AccessEvents:
    def __init__(self, clock: Clock, ids: IdFactory) -> None:
        self._clock = clock
        self._ids = ids

    def of(self, requester: Requester, outcomes: Iterable[Fate]) -> list[tuple[str, bytes]]:
        """Subject and body of the record of each reference's fate."""
        time = rfc3339(self._clock.now())
        metadata = Metadata("", time, requester.org, SOURCE, requester.actor, requester.origin)
        events = [(self._ids.new(), *_event(outcome, requester.purpose)) for outcome in outcomes]
        return [
            (_subject(requester.org, resource), body)
            for (_, _, resource), (_, body) in zip(events, encode_all(events, metadata), strict=True)
        ]


def _event(outcome: Fate, purpose: str) -> tuple[object, Resource]:
    if isinstance(outcome, Refused) and outcome.reason == "invalid_reference":
        return CONFIG_VARIABLE.resolve_failed(outcome.reason, purpose), Resource(CONFIG_VARIABLE.name, INVALID)
    kind, name = split_reference(outcome.reference)
    if isinstance(outcome, Refused):
        return KINDS[kind].resolve_failed(outcome.reason, purpose), Resource(kind, name)
    if isinstance(outcome, FromRow):
        return LegacyRowRevealed() if purpose == REVEAL else LegacyRowResolved(purpose), Resource(kind, name)
    resource = Resource(kind, name, outcome.version)
    if purpose == REVEAL:
        return ConfigVariableRevealed(outcome.version), resource
    return KINDS[kind].resolved(outcome.version, purpose), resource


def _subject(org: str, resource: Resource) -> str:
    return access_subject(org, resource.type, "invalid" if resource.id == INVALID else resource.id)
