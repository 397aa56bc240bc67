"""Composition root of the command service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common.clock import SystemClock
from libs.common.event_store import EventStore
from libs.common.ids import Uuid7Factory
from libs.common.protocol import command
from libs.common.service import Service, run_service
from services.command.adapters.sealer import BusSealer
from services.command.application.aggregates import Aggregates
from services.command.application.config_variables import ConfigVariables
from services.command.application.identities import Identities
from services.command.settings import CommandSettings


@asynccontextmanager
async def compose(service: Service, _settings: CommandSettings) -> AsyncIterator[None]:
    clock = SystemClock()
    aggregates = Aggregates(EventStore(service.nc), clock, Uuid7Factory(clock))
    variables = ConfigVariables(aggregates, BusSealer(service.client))
    identities = Identities(aggregates)
    service.rpc.serve(command.CONFIG_VARIABLE, variables.handle)
    service.rpc.serve(command.GATEWAY, identities.enroll)
    service.rpc.serve(command.TOKEN, identities.record_token)
    yield


if __name__ == "__main__":
    run_service("command", CommandSettings, compose)
