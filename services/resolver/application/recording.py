"""What a resolution leaves in the access stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.common.clock import Clock, rfc3339
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import (
    ConfigVariableResolved,
    ConfigVariableResolveFailed,
    ConfigVariableRevealed,
)
from libs.common.ids import IdFactory
from libs.common.subjects import access_subject
from services.resolver.domain.entitlement import Entitled, Refused

SOURCE: Final = "keeptrusts/resolver"
KIND: Final = "config_variable"
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

    def of(self, requester: Requester, outcome: Entitled | Refused) -> tuple[str, bytes]:
        """Subject and body of the record of one reference's fate."""
        event: object
        if isinstance(outcome, Entitled):
            event = (
                ConfigVariableRevealed(outcome.version)
                if requester.purpose == REVEAL
                else ConfigVariableResolved(outcome.version, requester.purpose)
            )
            resource = Resource(KIND, outcome.reference, outcome.version)
        else:
            event = ConfigVariableResolveFailed(outcome.reason, requester.purpose)
            known = outcome.reason != "invalid_reference"
            resource = Resource(KIND, outcome.reference if known else INVALID)
        metadata = Metadata(
            self._ids.new(), rfc3339(self._clock.now()), requester.org, SOURCE, requester.actor, requester.origin
        )
        _, body = encode(event, resource, metadata)
        token = "invalid" if resource.id == INVALID else resource.id
        return access_subject(requester.org, resource.type, token), body
