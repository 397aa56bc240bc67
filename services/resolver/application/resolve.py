"""Resolving references: entitlement from the stream, a durable record, then the sealed answer."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from libs.common.errors import KtError
from libs.common.events import Actor, Origin
from libs.common.ids import IdFactory
from libs.common.names import checked_variable_name
from libs.common.protocol.keys import OpenReply
from libs.common.protocol.resolver import (
    Resolution,
    ResolveForCaller,
    ResolveForGateway,
    ResolveReply,
    RevealRequest,
)
from libs.common.references import is_reference
from libs.common.secret_kinds import CONFIG_VARIABLE, KINDS
from services.resolver.application.ports import AccessRecorder, CurrentState, KeyService
from services.resolver.application.recording import REVEAL, AccessEvents, Requester
from services.resolver.domain.entitlement import Entitled, Refused, entitlement
from services.resolver.domain.secret import Known, SecretState


@dataclass(frozen=True, slots=True)
class Resolver:
    current: CurrentState
    keys: KeyService
    access: AccessRecorder
    events: AccessEvents
    ids: IdFactory

    async def for_gateway(self, subject: str, request: ResolveForGateway) -> ResolveReply:
        """The gateway is who the subject says: the server lets no other identity publish there."""
        _, _, _, org, gateway, _ = subject.split(".")
        requester = Requester(org, Actor("gateway", gateway), Origin(self.ids.new()), request.purpose)
        unique, valid = _unique(request.references, KINDS)
        allowed, known = await self.current.of_gateway(org, gateway, valid)
        return await self._answer(requester, _fates(unique, allowed or (), known), request.recipient_key)

    async def for_caller(self, _subject: str, request: ResolveForCaller) -> ResolveReply:
        caller = request.caller
        requester = Requester(caller.org, caller.actor, caller.origin, request.purpose)
        # Nothing but a gateway has a use for secrets of the other kinds.
        unique, valid = _unique(request.references, {CONFIG_VARIABLE.name})
        known = await self.current.secrets(caller.org, valid)
        return await self._answer(requester, _fates(unique, request.references_allowed, known), request.recipient_key)

    async def reveal(self, _subject: str, request: RevealRequest) -> ResolveReply:
        """The value of a variable that is not sensitive.

        Raises:
            KtError: ``forbidden`` for a sensitive one, whoever asks.
        """
        caller, name = request.caller, checked_variable_name(request.name)
        variable = (await self.current.secrets(caller.org, [name]))[name]
        if isinstance(variable, SecretState) and variable.sensitive:
            raise KtError("forbidden", "The value of a sensitive variable is never shown.")
        requester = Requester(caller.org, caller.actor, caller.origin, REVEAL)
        # Decided on this very state: a second look might find a sensitive variable in its place.
        return await self._answer(requester, [entitlement(name, (name,), variable)], request.recipient_key)

    async def _answer(
        self, requester: Requester, fates: Sequence[Entitled | Refused], recipient_key: bytes
    ) -> ResolveReply:
        entitled = [fate for fate in fates if isinstance(fate, Entitled)]
        # The record does not wait for the key service: it says that the value was due, and a value that then can't
        # be opened gets a record of its own. Nothing is answered before all records are durable.
        opened, _ = await asyncio.gather(
            self._opened(requester, recipient_key, entitled),
            self.access.record(self.events.of(requester, fates)),
        )
        failed = [Refused(reference, reason) for reference, reason in opened.failed.items()]
        await self.access.record(self.events.of(requester, failed))
        return ResolveReply(
            results=[_resolution(fate, opened.failed.get(fate.reference)) for fate in fates], box=opened.box
        )

    async def _opened(self, requester: Requester, recipient_key: bytes, entitled: Sequence[Entitled]) -> OpenReply:
        if not entitled:
            return OpenReply(box=None, failed={})
        who = f"{requester.actor.type}/{requester.actor.id}"
        return await self.keys.open(requester.org, who, recipient_key, entitled)


def _unique(references: Sequence[str], kinds: Container[str]) -> tuple[list[str], list[str]]:
    """Each reference once, and those of them that can be references to one of these kinds."""
    unique = list(dict.fromkeys(references))
    return unique, [reference for reference in unique if is_reference(reference, kinds)]


def _fates(references: Sequence[str], allowed: Sequence[str], known: Mapping[str, Known]) -> list[Entitled | Refused]:
    return [
        entitlement(reference, allowed, known[reference])
        if reference in known
        else Refused(reference, "invalid_reference")
        for reference in references
    ]


def _resolution(fate: Entitled | Refused, failure: str | None) -> Resolution:
    if isinstance(fate, Refused):
        return Resolution(reference=fate.reference, status="failed", sequence=fate.sequence, reason=fate.reason)
    if failure is not None:
        return Resolution(reference=fate.reference, status="failed", reason=failure)
    return Resolution(reference=fate.reference, status="resolved", version=fate.version, sequence=fate.sequence)
