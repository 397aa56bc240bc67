"""Composition root of the api service."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from libs.common.access_log import AccessLog
from libs.common.auth.tokens import TokenVerifier
from libs.common.clock import Clock, SystemClock
from libs.common.ids import Uuid7Factory
from libs.common.service import Service, run_service
from services.api.adapters.gateway_signer import ScopedGatewaySigner, read_seed
from services.api.adapters.http.app import create_app
from services.api.adapters.http.server import HttpServer, listen
from services.api.application.audit_reads import AuditReads
from services.api.application.authentication import Authentication
from services.api.application.boxing import Boxes
from services.api.application.denials import Denials
from services.api.application.door import Door
from services.api.application.exports import Exports
from services.api.application.gateways import Gateways
from services.api.application.keeping import Keeping
from services.api.application.known_tokens import KnownTokens
from services.api.application.machine import Machine
from services.api.application.ports import AccessRecorder, Bus, GatewaySigner
from services.api.application.proofs import Proofs
from services.api.application.readiness import Readiness
from services.api.application.records import Records
from services.api.application.refusals import Refusals
from services.api.application.revocations import Revocations
from services.api.application.secrets import Secrets
from services.api.application.signing_keys import KeyChanges, SigningKeys
from services.api.application.tokens import Tokens
from services.api.application.webhooks import Webhooks
from services.api.settings import ApiSettings, token_keys_from_environment, token_keys_read_again


@asynccontextmanager
async def compose(service: Service, settings: ApiSettings) -> AsyncIterator[None]:
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    signer = ScopedGatewaySigner(read_seed(settings.gateway_signing_seed_file), settings.nats_account)
    nats_url = settings.public_nats_url or settings.nats_url
    clock = SystemClock()
    signing_keys = SigningKeys(token_keys_from_environment(), token_keys_read_again, clock)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, signing_keys.ask)
    door = build_door(Outside(service.client, AccessLog(service.nc), signer, nats_url), signing_keys, clock)
    changes = KeyChanges(service.client, door.ids, signing_keys.keys.kids)

    def changed(before: tuple[str, ...]) -> None:
        door.authentication.forget()
        changes.add(before, signing_keys.keys.kids)

    signing_keys.changed = changed
    service.background += [signing_keys.follow, changes.send, door.revocations.follow]
    service.background += [door.denials.run, door.refusals.follow]
    app = create_app(door, settings.api_max_active)
    with listen(settings.api_host, settings.api_port) as listening:
        service.background.append(HttpServer(app, listening, settings.api_trusted_proxies).run)
        yield
    await door.denials.flush()


@dataclass(frozen=True, slots=True)
class Outside:
    """``nats_url`` is where gateways reach the bus."""

    bus: Bus
    access: AccessRecorder
    signer: GatewaySigner
    nats_url: str


def build_door(outside: Outside, signing_keys: SigningKeys, clock: Clock) -> Door:
    ids, bus = Uuid7Factory(clock), outside.bus
    verifier = TokenVerifier(lambda: signing_keys.keys, clock)
    boxes = Boxes(bus, time.monotonic)
    reads = AuditReads(outside.access, clock, ids)
    revocations = Revocations(bus, clock, time.monotonic)
    authentication = Authentication(verifier, revocations)
    refusals = Refusals(outside.access, clock, ids, time.monotonic)
    return Door(
        authentication=authentication,
        ids=ids,
        variables=Secrets("config_variable", bus, boxes),
        git_tokens=Secrets("git_token", bus, boxes),
        keeping=Keeping(bus),
        machine=Machine(bus),
        gateways=Gateways(bus, outside.signer, clock, ids, outside.nats_url),
        tokens=Tokens(bus, lambda: signing_keys.keys, authentication, refusals, clock, ids),
        known_tokens=KnownTokens(bus, ids, revocations),
        records=Records(bus, reads),
        proofs=Proofs(bus, reads),
        exports=Exports(bus, reads, ids, clock),
        readiness=Readiness(bus, time.monotonic),
        signing_keys=signing_keys,
        webhooks=Webhooks(bus, boxes, os.urandom),
        revocations=revocations,
        denials=Denials(outside.access, clock, ids),
        refusals=refusals,
    )


def main() -> None:
    # It asks for the keys to be read anew, and until they are read once there is nothing to do about it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run_service("api", ApiSettings, compose)


if __name__ == "__main__":
    main()
