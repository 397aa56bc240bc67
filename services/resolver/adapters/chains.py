"""Chains of records in the access stream: what is the last one, and appending behind it."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.client import Client

from libs.common.access_log import AccessLog
from libs.common.direct_get import DirectReader
from libs.common.events import decode
from libs.common.subjects import ACCESS
from services.resolver.application.gateway_access import End


class StreamChains:
    def __init__(self, nc: Client, log: AccessLog) -> None:
        self._reader = DirectReader(nc, ACCESS)
        self._log = log

    async def end(self, subject: str) -> End:
        message = await self._reader.last(subject)
        if message is None:
            return End(0, 0)
        return End(decode(message.body, message.sequence).event.sequence, message.sequence)

    async def append(self, messages: Sequence[tuple[str, bytes]], expected: int) -> int:
        return await self._log.append(messages, expected)
