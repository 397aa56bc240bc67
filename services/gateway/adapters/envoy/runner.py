"""Start and end of Envoy, seen from the agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from libs.common.errors import KtError
from services.gateway.adapters.envoy.admin import Admin, AdminError
from services.gateway.adapters.envoy.bootstrap import STAT_PREFIX
from services.gateway.adapters.envoy.process import EnvoyProcess

log = logging.getLogger(__name__)

READY_TIMEOUT_S: Final = 20.0


async def until_ready(start: Callable[[], Awaitable[None]], process: EnvoyProcess, admin: Admin) -> None:
    """Run ``start`` and wait until the listener takes requests.

    Raises:
        KtError: what ``start`` raises; ``engine_failed`` when Envoy is not ready in time.
    """
    await start()
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await admin.until_ready()
    except TimeoutError:
        words = process.last_words()
        raise KtError("engine_failed", f"Envoy is not ready after {READY_TIMEOUT_S:g} s. {words}") from None


async def drain(admin: Admin, seconds: float) -> None:
    """Take no further connections and give open requests up to ``seconds`` to end."""
    try:
        async with asyncio.timeout(seconds):
            await admin.drain_listeners()
            await admin.until_zero(f"http.{STAT_PREFIX}.downstream_rq_active")
    except AdminError:
        return
    except TimeoutError:
        log.warning("envoy.streams_cut", extra={"after_s": seconds})
