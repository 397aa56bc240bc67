"""Everything a gateway has from the system, on one bus connection.

Kept apart from :mod:`services.gateway.adapters.optional_system`, so that a gateway with environment references alone
loads no NATS client.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.protocol.resolver import GATEWAY_BOOTSTRAP, GatewayBootstrap
from libs.common.secret import Secret
from services.gateway.adapters.api_client import ApiClient
from services.gateway.adapters.bus import Bus
from services.gateway.adapters.bus_access import BusAccess
from services.gateway.adapters.bus_keys import BusKeys
from services.gateway.adapters.bus_reports import BusReports
from services.gateway.application.access_log import Batch
from services.gateway.application.ports import ChangeListener, Report
from services.gateway.domain.client_auth import ClientTokens
from services.gateway.domain.references import Purpose, Reference, Resolution


class System:
    def __init__(self, name: str, api_url: str, token: Secret, listener: ChangeListener, clock: Clock) -> None:
        """Raises: KtError ``misconfigured`` for a URL that is none."""
        self._bus = Bus(name, ApiClient(api_url, token), listener, clock)
        self._keys = BusKeys(self._bus)
        self._reports = BusReports(self._bus)
        self._access = BusAccess(self._bus)

    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        return await self._keys.resolve(references, purpose)

    async def watch(self, references: Sequence[Reference]) -> None:
        await self._bus.watch(references)

    def report(self, report: Report) -> None:
        self._reports.report(report)

    async def record_access(self, batch: Batch) -> int:
        return await self._access.record_access(batch)

    async def client_tokens(self) -> ClientTokens:
        """Raises: KtError when the system can't be asked, or has no keys for client tokens."""
        reply = await self._bus.call(GATEWAY_BOOTSTRAP, "bootstrap", GatewayBootstrap())
        if not reply.client_jwks.get("keys"):
            raise KtError("unavailable", "The system has no keys for client tokens yet.", "Try again in a moment.")
        jwks = orjson.dumps(reply.client_jwks, option=orjson.OPT_SORT_KEYS).decode()
        return ClientTokens(reply.org, jwks, tuple(reply.revoked_clients))

    async def token_revoked(self) -> None:
        await self._bus.revocation.wait()
        self._bus.revocation.clear()

    async def run(self) -> None:
        """Send reports until cancelled."""
        await self._reports.run()

    async def close(self) -> None:
        await self._bus.close()
