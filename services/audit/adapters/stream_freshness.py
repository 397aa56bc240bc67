"""Whether the log holds what the streams hold."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import psycopg
from nats.aio.client import Client
from psycopg_pool import PoolTimeout

from libs.common.errors import KtError
from libs.common.projection import ProjectionRunner
from libs.common.stream_reader import stream_range


class StreamFreshness:
    def __init__(self, nc: Client, runners: Mapping[str, ProjectionRunner]) -> None:
        """``runners`` by the name of their stream."""
        self._nc = nc
        self._runners = runners

    async def caught_up(self, within_s: float) -> bool:
        """True once the streams are on record up to where they end now."""
        waits = (self._wait_for_end(stream, runner, within_s) for stream, runner in self._runners.items())
        try:
            async with asyncio.timeout(within_s):
                return all(await asyncio.gather(*waits))
        except (TimeoutError, KtError, psycopg.Error, PoolTimeout):
            return False

    async def _wait_for_end(self, stream: str, runner: ProjectionRunner, within_s: float) -> bool:
        _, last = await stream_range(self._nc, stream)
        return await runner.wait_for(last, within_s)
