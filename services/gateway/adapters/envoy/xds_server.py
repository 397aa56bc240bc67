"""The agent's gRPC services on a Unix socket: aggregated discovery, and Envoy's access log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from envoy_data_plane.envoy.service.discovery.v3 import (
    AggregatedDiscoveryServiceBase,
    DiscoveryRequest,
    DiscoveryResponse,
)
from grpclib.server import Server

from services.gateway.adapters.envoy.access_log import AccessLogService
from services.gateway.adapters.envoy.xds_cache import XdsCache, XdsStream

log = logging.getLogger(__name__)


class DiscoveryService(AggregatedDiscoveryServiceBase):
    def __init__(self, cache: XdsCache) -> None:
        self._cache = cache

    async def stream_aggregated_resources(
        self, messages: AsyncIterator[DiscoveryRequest]
    ) -> AsyncIterator[DiscoveryResponse]:
        stream = XdsStream(self._cache)
        reader = asyncio.create_task(self._read(messages, stream))
        self._cache.opened(stream)
        try:
            while not reader.done():
                await stream.woken()
                for response in stream.due():
                    yield response
        finally:
            self._cache.closed(stream)
            reader.cancel()

    @staticmethod
    async def _read(messages: AsyncIterator[DiscoveryRequest], stream: XdsStream) -> None:
        try:
            async for request in messages:
                stream.receive(request)
        finally:
            stream.wake()


class XdsServer:
    """Listens from :meth:`start` to :meth:`stop`."""

    def __init__(self, cache: XdsCache, access_log: AccessLogService, socket: Path) -> None:
        self._server = Server([DiscoveryService(cache), access_log])
        self._socket = socket

    async def start(self) -> None:
        await self._server.start(path=str(self._socket))
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        self._server.close()
