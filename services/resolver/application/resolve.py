"""Resolving references: entitlement from the stream, a durable record, then the sealed answer."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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
from libs.common.subjects import gateway_of
from services.resolver.application.ports import AccessRecorder, CurrentState, KeyService
from services.resolver.application.recording import REVEAL, AccessEvents, Requester
from services.resolver.domain.entitlement import Entitled, Fate, FromRow, Refused, entitlement, may_have_row
from services.resolver.domain.secret import Known, SecretState

_LOOKS: Final = 3


@dataclass(frozen=True, slots=True)
class Resolver:
    current: CurrentState
    keys: KeyService
    access: AccessRecorder
    events: AccessEvents
    ids: IdFactory

    async def for_gateway(self, subject: str, request: ResolveForGateway) -> ResolveReply:
        """The gateway is who the subject says: the server lets no other identity publish there."""
        gateway = gateway_of(subject)
        requester = Requester(gateway.org, Actor("gateway", gateway.name), Origin(self.ids.new()), request.purpose)
        unique, valid = _unique(request.references, KINDS)
        allowed, known = await self.current.of_gateway(gateway, valid)
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
        _check_shown(variable)
        requester = Requester(caller.org, caller.actor, caller.origin, REVEAL)
        # Decided on this very state: a second look might find a sensitive variable in its place.
        return await self._answer(requester, [entitlement(name, (name,), variable)], request.recipient_key)

    async def _answer(self, requester: Requester, fates: Sequence[Fate], recipient_key: bytes) -> ResolveReply:
        if any(map(may_have_row, fates)):
            return await self._answer_with_rows(requester, fates, recipient_key)
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

    async def _answer_with_rows(
        self, requester: Requester, fates: Sequence[Fate], recipient_key: bytes
    ) -> ResolveReply:
        """The same where names are unknown, which older plaintext rows may have. Only the key service can tell, so
        its answer is put on record before it is passed on."""
        opened, fates = await self._looked_up(requester, fates, recipient_key)
        fates = [_settled(fate, opened) for fate in fates]
        await self.access.record(self.events.of(requester, fates))
        return ResolveReply(results=[_resolution(fate, None) for fate in fates], box=opened.box)

    async def _looked_up(
        self, requester: Requester, fates: Sequence[Fate], recipient_key: bytes
    ) -> tuple[OpenReply, Sequence[Fate]]:
        """A row that is taken over between the look at the stream and the look at the rows is in neither: then both
        are looked at again."""
        for _ in range(_LOOKS):
            entitled = [fate for fate in fates if isinstance(fate, Entitled)]
            asked = [fate.reference for fate in fates if may_have_row(fate)]
            opened = await self._opened(requester, recipient_key, entitled, asked)
            gone = [name for name in asked if name not in opened.legacy and name not in opened.failed]
            known = await self.current.secrets(requester.org, gone) if gone else {}
            if not any(known.values()):
                return opened, fates
            if requester.purpose == REVEAL:
                _check_shown(*known.values())
            fates = [
                entitlement(fate.reference, (fate.reference,), known[fate.reference])
                if fate.reference in known
                else fate
                for fate in fates
            ]
        raise KtError("unavailable", "The older plaintext rows change too fast to be read.", "Try again in a moment.")

    async def _opened(
        self, requester: Requester, recipient_key: bytes, entitled: Sequence[Entitled], legacy: Sequence[str] = ()
    ) -> OpenReply:
        if not entitled and not legacy:
            return OpenReply(box=None, failed={})
        who, reveal = f"{requester.actor.type}/{requester.actor.id}", requester.purpose == REVEAL
        return await self.keys.open(requester.org, who, recipient_key, entitled, legacy, reveal=reveal)


def _check_shown(*variables: Known) -> None:
    """Raises: KtError ``forbidden`` for a sensitive variable."""
    if any(isinstance(variable, SecretState) and variable.sensitive for variable in variables):
        raise KtError("forbidden", "The value of a sensitive variable is never shown.")


def _settled(fate: Fate, opened: OpenReply) -> Fate:
    """What became of it, once the key service has answered."""
    if may_have_row(fate) and fate.reference in opened.legacy:
        return FromRow(fate.reference)
    if not isinstance(fate, FromRow) and fate.reference in opened.failed:
        return Refused(fate.reference, opened.failed[fate.reference])
    return fate


def _unique(references: Sequence[str], kinds: Container[str]) -> tuple[list[str], list[str]]:
    """Each reference once, and those of them that can be references to one of these kinds."""
    unique = list(dict.fromkeys(references))
    return unique, [reference for reference in unique if is_reference(reference, kinds)]


def _fates(references: Sequence[str], allowed: Sequence[str], known: Mapping[str, Known]) -> list[Fate]:
    return [
        entitlement(reference, allowed, known[reference])
        if reference in known
        else Refused(reference, "invalid_reference")
        for reference in references
    ]


def _resolution(fate: Fate, failure: str | None) -> Resolution:
    if isinstance(fate, Refused):
        return Resolution(reference=fate.reference, status="failed", sequence=fate.sequence, reason=fate.reason)
    if failure is not None:
        return Resolution(reference=fate.reference, status="failed", reason=failure)
    if isinstance(fate, FromRow):
        return Resolution(reference=fate.reference, status="resolved")
    return Resolution(reference=fate.reference, status="resolved", version=fate.version, sequence=fate.sequence)
