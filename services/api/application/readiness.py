"""Whether the services behind the door answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.service import HealthRequest, health_endpoint
from services.api.application.ports import Bus

SERVICES: Final = ("keys", "command", "resolver", "audit", "webhooks")
TIMEOUT_S: Final = 2.0
MAX_AGE_S: Final = 0.5
"""Anybody may ask, so that an answer stands this long before the others are asked again."""


@dataclass(frozen=True, slots=True)
class _Seen:
    services: Mapping[str, bool]
    at: float


class Readiness:
    """``elapsed`` is a monotonic clock in seconds."""

    def __init__(self, bus: Bus, elapsed: Callable[[], float]) -> None:
        self._bus = bus
        self._elapsed = elapsed
        self._seen: _Seen | None = None
        self._asking = asyncio.Lock()

    async def services(self) -> Mapping[str, bool]:
        """Each service, and whether it is ready; in at most two seconds."""
        async with self._asking:
            seen = self._seen
            if seen is None or self._elapsed() - seen.at > MAX_AGE_S:
                answers = await asyncio.gather(*(self._is_ready(service) for service in SERVICES))
                seen = self._seen = _Seen(dict(zip(SERVICES, answers, strict=True)), self._elapsed())
            return seen.services

    async def _is_ready(self, service: str) -> bool:
        try:
            return (await self._bus.call(health_endpoint(service), HealthRequest(), timeout_s=TIMEOUT_S)).ready
        except KtError:
            return False
