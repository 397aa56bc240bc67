"""Reports to the system: in order, in the background, repeated until they are taken."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from libs.common.errors import KtError
from libs.common.protocol.resolver import (
    GATEWAY_REPORT,
    MAX_REPORT_TARGETS,
    AuditPolicy,
    ConfigSource,
    GatewayReport,
    GatewayTarget,
)
from services.gateway.adapters.bus import Bus
from services.gateway.application.ports import Report

log = logging.getLogger(__name__)

MAX_WAITING: Final = 256
_FIRST_RETRY_S: Final = 0.5
_LONGEST_RETRY_S: Final = 30.0
_REFUSALS: Final = frozenset({"invalid_request", "forbidden", "not_found"})


class BusReports:
    """When too many wait, the oldest are given up: what a gateway serves now matters more than what it served."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[GatewayReport] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()

    def report(self, report: Report) -> None:
        targets = [
            GatewayTarget(target=t.target, store=t.reference.kind, reference=t.reference.name, version=t.version)
            for t in report.targets
        ]
        parts = max(1, -(-len(targets) // MAX_REPORT_TARGETS))
        for part in range(parts):
            start = part * MAX_REPORT_TARGETS
            if len(self._waiting) == MAX_WAITING:
                log.warning("report.given_up", extra={"kind": self._waiting[0].kind})
            self._waiting.append(
                GatewayReport(
                    kind=report.kind.value,
                    config_digest=report.config_digest,
                    reason=report.reason,
                    source=_source(report),
                    policy=_policy(report),
                    part=part,
                    parts=parts,
                    targets=targets[start : start + MAX_REPORT_TARGETS],
                )
            )
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause = _FIRST_RETRY_S
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            report = self._waiting[0]
            try:
                await self._bus.call(GATEWAY_REPORT, "report", report)
            except KtError as error:
                log.warning("report.failed", extra={"kind": report.kind, "code": error.code})
                if error.code not in _REFUSALS:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_RETRY_S)
                    continue
            pause = _FIRST_RETRY_S
            if self._waiting and self._waiting[0] is report:
                self._waiting.popleft()


def _source(report: Report) -> ConfigSource | None:
    if report.commit is None:
        return None
    location = report.commit.location
    return ConfigSource(repository=location.repository, path=location.path, ref=location.ref, commit=report.commit.id)


def _policy(report: Report) -> AuditPolicy | None:
    if report.policy is None:
        return None
    return AuditPolicy(retention_days=report.policy.retention_days, log_all_access=report.policy.log_all_access)
