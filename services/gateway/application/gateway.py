"""Load and reload: parse, resolve, switch the data plane over; or refuse and change nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import FieldProblem, KtError
from services.gateway.application.access_log import AccessLog
from services.gateway.application.keyring import Keyring
from services.gateway.application.ports import (
    AuditPolicy,
    ChangeFeed,
    ConfigSource,
    DataPlane,
    KeySource,
    Report,
    Reporter,
    ReportKind,
    TargetVersion,
)
from services.gateway.domain.access import Recording
from services.gateway.domain.config import GatewayConfig
from services.gateway.domain.keys import usable
from services.gateway.domain.references import (
    EXPLANATION,
    Purpose,
    Reference,
    ReferenceKind,
    Resolution,
    Unresolved,
)
from services.gateway.domain.routing import plan_routes
from services.gateway.domain.status import GatewayStatus, TargetStatus

log = logging.getLogger(__name__)

DIGEST_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Loaded:
    config: GatewayConfig
    at: datetime


class Gateway:
    """One gateway: its configuration, its keys, its data plane."""

    def __init__(
        self,
        *,
        name: str,
        client_auth: str,
        source: ConfigSource,
        keys: KeySource,
        feed: ChangeFeed,
        data_plane: DataPlane,
        reporter: Reporter,
        keyring: Keyring,
        access: AccessLog,
        clock: Clock,
    ) -> None:
        self._name = name
        self._client_auth = client_auth
        self._source = source
        self._keys = keys
        self._feed = feed
        self._data_plane = data_plane
        self._reporter = reporter
        self._keyring = keyring
        self._access = access
        self._clock = clock
        self._loaded: Loaded | None = None
        self._serving: dict[Reference, int] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def config(self) -> GatewayConfig | None:
        return self._loaded.config if self._loaded else None

    async def start(self, config: GatewayConfig) -> None:
        """Serve ``config``.

        Raises:
            KtError: ``unresolved``, ``unreachable`` or ``unavailable``; nothing is served then.
        """
        async with self._one_at_a_time:
            await self._switch(config, Purpose.STARTUP)
        self._report(ReportKind.CONFIG_LOADED, config)
        self._source.applied(config)

    async def reload(self) -> GatewayStatus:
        """Read the configuration again and switch to it. Calls that come while one runs wait for their turn.

        Raises:
            KtError: why it was refused; the configuration before stays in force.
        """
        async with self._one_at_a_time:
            digest = ""
            try:
                config = await self._source.load()
                digest = config.digest
                await self._switch(config, Purpose.RELOAD)
            except KtError as error:
                log.warning("gateway.reload_refused", extra={"code": error.code})
                self._reporter.report(Report(ReportKind.RELOAD_REFUSED, digest, reason=error.code))
                self._source.refused(error)
                raise
            self._report(ReportKind.CONFIG_RELOADED, config)
            self._source.applied(config)
            return self.status()

    async def _switch(self, config: GatewayConfig, purpose: Purpose) -> None:
        before = self._loaded.config.references if self._loaded else ()
        try:
            # Watched before it is resolved, so that no change falls between the two.
            await self._feed.watch(_stored((*before, *config.references)))
            self._take(await self._keys.resolve(config.references, purpose))
            plan = plan_routes(config)
            self._access.expect(plan)
            await self._data_plane.apply(plan, self._keyring.value_of)
        except BaseException:
            self._keyring.keep(before)
            await self._watch_only(before)
            raise
        self._loaded = Loaded(config, self._clock.now())
        self._keyring.keep(config.references)
        self._serving = {ref: version for ref, version in self._serving.items() if ref in self._keyring}
        for reference in config.references:
            self.acknowledged(reference)
        self._access.record(config.recording)
        self._data_plane.set_recording(config.recording)
        await self._watch_only(config.references)
        log.info(
            "gateway.config_in_force",
            extra={"digest": config.digest[:DIGEST_SHOWN], "targets": len(config.targets), "purpose": str(purpose)},
        )

    async def _watch_only(self, references: Iterable[Reference]) -> None:
        try:
            await self._feed.watch(_stored(references))
        except KtError as error:
            # What is in force is watched already; a change of anything else is ignored.
            log.warning("gateway.watch_failed", extra={"code": error.code})

    def _take(self, resolutions: Sequence[Resolution]) -> None:
        failed = [r for r in map(usable, resolutions) if isinstance(r, Unresolved)]
        if failed:
            raise unresolved(failed)
        for resolution in resolutions:
            in_use = resolution.reference in self._keyring
            held, changed = self._keyring.take(resolution)
            if in_use and changed:
                self._data_plane.set_key(held.reference, held.value)

    def _report(self, kind: ReportKind, config: GatewayConfig) -> None:
        self._reporter.report(Report(kind, config.digest, self._versions(config)))
        days = config.audit_logger.retention_days if config.audit_logger else 0
        policy = AuditPolicy(days, config.recording is Recording.ALL)
        self._reporter.report(Report(ReportKind.AUDIT_POLICY_APPLIED, config.digest, policy=policy))

    def acknowledged(self, reference: Reference) -> None:
        """Take note of what the data plane has confirmed for ``reference``; a newer key on its way is not yet it."""
        held = self._keyring[reference]
        if not self._data_plane.acknowledged(reference):
            return
        self._keyring.confirmed(reference)
        if held.value is None:
            self._serving.pop(reference, None)
        else:
            self._serving[reference] = held.version

    def report_adoption(self) -> None:
        """Tell the system what every target serves, as far as the data plane has confirmed it."""
        if self._loaded is not None:
            self._report(ReportKind.VERSION_ADOPTED, self._loaded.config)

    def _versions(self, config: GatewayConfig) -> tuple[TargetVersion, ...]:
        return tuple(
            TargetVersion(target.id, target.reference, self._serving[target.reference])
            for target in config.targets
            if target.reference in self._serving
        )

    def status(self) -> GatewayStatus:
        """Raises: KtError ``unavailable`` before the first configuration is in force."""
        if self._loaded is None:
            raise KtError("unavailable", "The gateway is still starting.", "Try again in a few seconds.")
        config = self._loaded.config
        return GatewayStatus(
            name=self._name,
            pack=config.pack.name,
            config_digest=config.digest,
            loaded_at=self._loaded.at,
            client_auth=self._client_auth,
            data_plane_connected=self._data_plane.connected,
            access_log=self._access.status(),
            targets=tuple(
                TargetStatus(target, self._keyring[target.reference], self._data_plane.acknowledged(target.reference))
                for target in config.targets
            ),
            source=self._source.status,
        )


def _stored(references: Iterable[Reference]) -> tuple[Reference, ...]:
    return tuple(dict.fromkeys(ref for ref in references if ref.kind is ReferenceKind.STORE))


def unresolved(failures: Sequence[Unresolved]) -> KtError:
    """One error that names every reference without a usable key, and why."""
    told = ", ".join(f"{failure.reference} ({EXPLANATION[failure.reason]})" for failure in failures)
    return KtError(
        "unresolved",
        f"The configuration refers to keys that can't be used: {told}.",
        "Create the config variable, or correct secret_key_ref.",
        tuple(FieldProblem(str(f.reference), EXPLANATION[f.reason], "a usable key") for f in failures),
    )
