"""Gateways: what they begin with, what they report, what they use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from libs.common.clock import Clock, rfc3339
from libs.common.errors import KtError
from libs.common.events import Actor, Metadata, Origin, RecordedEvent, Resource, encode
from libs.common.events.gateway import (
    GatewayAuditPolicyApplied,
    GatewayConfigLoaded,
    GatewayConfigReloaded,
    GatewayConfigSourceApplied,
    GatewayConfigSourceRefused,
    GatewayReloadRefused,
    GatewayVersionAdopted,
    TargetReference,
)
from libs.common.ids import IdFactory
from libs.common.protocol.resolver import (
    AppliedSource,
    GatewayBootstrap,
    GatewayBootstrapReply,
    GatewayList,
    GatewayReport,
    GatewayTarget,
    GatewayView,
    ListGateways,
    Noted,
)
from libs.common.subjects import GATEWAY_POLICY, access_subject
from services.resolver.application.gateway_tokens import entitled
from services.resolver.application.ports import AccessRecorder, CurrentState
from services.resolver.application.recording import SOURCE

STATE_KIND: Final = "gateway"
REFUSAL_KIND: Final = "gateway_reload"
"""Refusals have a subject of their own, so that the last record of ``STATE_KIND`` is always what a gateway serves."""

SOURCE_KIND: Final = "gateway_source"
SOURCE_REFUSAL_KIND: Final = "gateway_source_refusal"

CONCURRENT_READS: Final = 32


class ClientKeys(Protocol):
    async def client_jwks(self, org: str) -> dict[str, Any]: ...


class RevokedClients(Protocol):
    async def revoked_clients(self, org: str) -> Sequence[str]:
        """Ids of client tokens that were revoked and have not expired. Raises: KtError ``unavailable``."""


class GatewayLists(Protocol):
    async def gateways(self, org: str) -> list[tuple[str, list[str]]]: ...


class Reports(Protocol):
    async def last(self, subject: str) -> RecordedEvent | None:
        """The newest record of an access subject."""


@dataclass(frozen=True, slots=True)
class Gateways:
    current: CurrentState
    client_keys: ClientKeys
    tokens: RevokedClients
    lists: GatewayLists
    reports: Reports
    access: AccessRecorder
    clock: Clock
    ids: IdFactory

    async def bootstrap(self, subject: str, _request: GatewayBootstrap) -> GatewayBootstrapReply:
        """Raises: KtError ``forbidden`` when the gateway's token was revoked."""
        org = (await entitled(self.current, subject)).org
        jwks, revoked = await self.client_keys.client_jwks(org), await self.tokens.revoked_clients(org)
        return GatewayBootstrapReply(org=org, client_jwks=jwks, revoked_clients=list(revoked))

    async def report(self, subject: str, report: GatewayReport) -> Noted:
        """Put a gateway's report on record. Each report but a refusal names all its targets, so the last one of
        each part is the gateway's whole state.

        Raises:
            KtError: ``forbidden`` when the gateway's token was revoked.
        """
        org, name, _ = await entitled(self.current, subject)
        event = _event(report)
        kind = _OWN_SUBJECTS.get(type(event)) or _state_kind(report.part)
        metadata = Metadata(
            self.ids.new(), rfc3339(self.clock.now()), org, SOURCE, Actor("gateway", name), Origin(self.ids.new())
        )
        _, body = encode(event, Resource("gateway", name), metadata)
        await self.access.record([(access_subject(org, kind, name), body)])
        return Noted()

    async def list(self, _subject: str, request: ListGateways) -> GatewayList:
        slots = asyncio.Semaphore(CONCURRENT_READS)

        async def view(name: str, allowed: list[str]) -> GatewayView:
            async with slots:
                source = await self.reports.last(access_subject(request.org, SOURCE_KIND, name))
                return _view(name, allowed, await self._state(request.org, name), source)

        known = await self.lists.gateways(request.org)
        return GatewayList(items=list(await asyncio.gather(*(view(name, allowed) for name, allowed in known))))

    async def _state(self, org: str, name: str) -> Sequence[RecordedEvent]:
        """The newest record of each part, the first of which says how many there are."""
        first = await self.reports.last(access_subject(org, _state_kind(0), name))
        if first is None:
            return []
        rest = [
            await self.reports.last(access_subject(org, _state_kind(part), name))
            for part in range(1, first.event.parts)
        ]
        return [first, *(record for record in rest if record is not None)]


_ABOUT_TARGETS: Final[Mapping[str, type[Any]]] = {
    "config_loaded": GatewayConfigLoaded,
    "config_reloaded": GatewayConfigReloaded,
    "version_adopted": GatewayVersionAdopted,
}
_OWN_SUBJECTS: Final[Mapping[type[Any], str]] = {
    GatewayReloadRefused: REFUSAL_KIND,
    GatewayConfigSourceApplied: SOURCE_KIND,
    GatewayConfigSourceRefused: SOURCE_REFUSAL_KIND,
    GatewayAuditPolicyApplied: GATEWAY_POLICY,
}


def _state_kind(part: int) -> str:
    """A subject of its own for each part, so that the last record of each is found by its subject."""
    return f"{STATE_KIND}_{part}" if part else STATE_KIND


def _event(report: GatewayReport) -> object:
    digest, targets = (
        report.config_digest,
        [TargetReference(t.target, t.store, t.reference, t.version) for t in report.targets],
    )
    match report.kind:
        case "config_loaded" | "config_reloaded" | "version_adopted":
            return _ABOUT_TARGETS[report.kind](digest, report.part, report.parts, tuple(targets))
        case "reload_refused":
            return GatewayReloadRefused(digest, report.reason)
        case "config_source_applied":
            return GatewayConfigSourceApplied(*_source(report), digest)
        case "config_source_refused":
            return GatewayConfigSourceRefused(*_source(report), report.reason)
        case "audit_policy_applied":
            return GatewayAuditPolicyApplied(digest, *_policy(report))


def _policy(report: GatewayReport) -> tuple[int, bool]:
    if report.policy is None:
        raise KtError("invalid_request", "A report of a policy holds the policy.")
    return report.policy.retention_days, report.policy.log_all_access


def _source(report: GatewayReport) -> tuple[str, str, str, str]:
    source = report.source
    if source is None:
        raise KtError("invalid_request", "A report of a source names the source.")
    return source.repository, source.path, source.ref, source.commit


def _view(name: str, allowed: list[str], state: Sequence[RecordedEvent], source: RecordedEvent | None) -> GatewayView:
    digest = state[0].event.config_digest if state else ""
    return GatewayView(
        name=name,
        config_digest=digest,
        targets=[
            GatewayTarget(target=t.target, store=t.store, reference=t.reference, version=t.version)
            for record in state
            for t in record.event.targets
        ],
        seen_at=state[0].metadata.time if state else "",
        references=allowed,
        source=_applied(source) if source and source.event.config_digest == digest else None,
    )


def _applied(recorded: RecordedEvent) -> AppliedSource:
    event: GatewayConfigSourceApplied = recorded.event
    return AppliedSource(
        repository=event.repository,
        path=event.path,
        ref=event.ref,
        commit=event.commit,
        config_digest=event.config_digest,
        applied_at=recorded.metadata.time,
    )
