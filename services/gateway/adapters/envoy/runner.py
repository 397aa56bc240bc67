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

READY_TIMEOUT_S: Final = 60.0
"""A thousand targets take a quarter of it."""


async def until_ready(start: Callable[[], Awaitable[None]], process: EnvoyProcess, admin: Admin) -> None:
    """Run ``start`` and wait until the listener takes requests.

    Raises:
        KtError: what ``start`` raises; ``engine_failed`` when Envoy is not ready in time.
    """
    starting = asyncio.ensure_future(_start(start, admin))
    died = asyncio.ensure_future(process.died.wait())
    try:
        done, _ = await asyncio.wait([starting, died], timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if starting in done:
            starting.result()
        else:
            what = "ended at once" if died in done else f"is not ready after {READY_TIMEOUT_S:g} s"
            raise KtError("engine_failed", f"Envoy {what}: {process.last_words() or 'it says nothing'}")
    finally:
        starting.cancel()
        died.cancel()
        await asyncio.gather(starting, died, return_exceptions=True)


async def _start(start: Callable[[], Awaitable[None]], admin: Admin) -> None:
    await start()
    await admin.until_ready()


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
