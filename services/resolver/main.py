"""Composition root of the resolver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from libs.common.access_log import AccessLog
from libs.common.clock import SystemClock
from libs.common.event_store import EventStore
from libs.common.ids import Uuid7Factory
from libs.common.postgres import open_pool
from libs.common.projection import ProjectionRunner
from libs.common.protocol import resolver
from libs.common.protocol.gateway_access import GATEWAY_ACCESS
from libs.common.protocol.tokens import LIST_TOKENS, REVOCATIONS
from libs.common.service import Service, run_service
from services.resolver.adapters.chains import StreamChains
from services.resolver.adapters.current_state import StreamState
from services.resolver.adapters.keys import BusKeyService, BusLegacyRows
from services.resolver.adapters.read_model import ReadModel, SecretsProjection
from services.resolver.adapters.reports import BusClientKeys, StreamReports
from services.resolver.adapters.tokens_model import TokenReads, TokensProjection
from services.resolver.application.gateway_access import GatewayAccess
from services.resolver.application.gateways import Gateways
from services.resolver.application.listing import Listing
from services.resolver.application.queries import Queries
from services.resolver.application.recording import AccessEvents
from services.resolver.application.resolve import Resolver
from services.resolver.application.tokens import Tokens
from services.resolver.settings import ResolverSettings

POOL_SIZE: Final = 6
"""Each projection that is led from here keeps one connection; the others answer."""


@asynccontextmanager
async def compose(service: Service, settings: ResolverSettings) -> AsyncIterator[None]:
    clock = SystemClock()
    ids = Uuid7Factory(clock)
    store, current, access = EventStore(service.nc), StreamState(service.nc), AccessLog(service.nc)
    async with open_pool(settings.postgres_dsn.get_secret_value(), "resolver", POOL_SIZE) as pool:
        runner = ProjectionRunner(service.nc, pool, SecretsProjection())
        token_runner = ProjectionRunner(service.nc, pool, TokensProjection())

        async def all_seen(by: ProjectionRunner, timeout_s: float) -> bool:
            head = await store.reader.last(">")
            return head is None or await by.wait_for(head.sequence, timeout_s)

        lists = ReadModel(pool)
        resolving = Resolver(current, BusKeyService(service.client), access, AccessEvents(clock, ids), ids)
        rows = BusLegacyRows(service.client)
        queries, listing = Queries(current, rows, store), Listing(current, lists, rows, partial(all_seen, runner))
        tokens = Tokens(TokenReads(pool), partial(all_seen, token_runner), clock)
        gateways = Gateways(
            current, BusClientKeys(service.client), tokens, lists, StreamReports(service.nc), access, clock, ids
        )
        service.rpc.serve(resolver.RESOLVE, resolving.for_caller, direct=True)
        service.rpc.serve(resolver.GATEWAY_RESOLVE, resolving.for_gateway, direct=True)
        service.rpc.serve(resolver.REVEAL, resolving.reveal)
        service.rpc.serve(resolver.GET, queries.get)
        service.rpc.serve(resolver.LIST, listing.list)
        service.rpc.serve(resolver.HISTORY, queries.history)
        service.rpc.serve(resolver.GATEWAYS, gateways.list)
        service.rpc.serve(resolver.GATEWAY_BOOTSTRAP, gateways.bootstrap)
        service.rpc.serve(resolver.GATEWAY_REPORT, gateways.report)
        requests = GatewayAccess(current, StreamChains(service.nc, access), ids)
        service.rpc.serve(GATEWAY_ACCESS, requests.record, direct=True)
        service.rpc.serve(LIST_TOKENS, tokens.list)
        service.rpc.serve(REVOCATIONS, tokens.revocations)
        service.background += [current.follow, runner.run, token_runner.run]
        service.positions = lambda: {"resolver.current": runner.position, "resolver.tokens": token_runner.position}
        yield


if __name__ == "__main__":
    run_service("resolver", ResolverSettings, compose)
