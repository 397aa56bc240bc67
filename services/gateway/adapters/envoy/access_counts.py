"""What Envoy itself counts of its access log."""

from __future__ import annotations

from typing import Final

from services.gateway.adapters.envoy.admin import Admin, AdminError
from services.gateway.adapters.envoy.process import EnvoyProcess
from services.gateway.application.losses import ProxyCounts

_PREFIX: Final = "access_logs.grpc_access_log."


class EnvoyAccessCounts:
    def __init__(self, admin: Admin, process: EnvoyProcess) -> None:
        self._admin = admin
        self._process = process

    async def access_counts(self) -> ProxyCounts | None:
        run = self._process.restarts
        try:
            counters = await self._admin.counters(_PREFIX)
        except AdminError:
            return None
        if run != self._process.restarts:
            return None
        return ProxyCounts(run, counters.get("logs_written", 0), counters.get("logs_dropped", 0))
