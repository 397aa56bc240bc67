"""What the figures need of the bus: an identity of their own, a stream without consumers, valid event bodies."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Any

import nats
import orjson

from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableCreated, ConfigVariableResolved
from libs.common.events.secret import SealedRef
from libs.common.ids import Uuid7Factory
from libs.common.messaging.connection import service_inbox
from libs.common.messaging.identities import (
    Credentials,
    NkeyKind,
    Permissions,
    credentials,
    new_seed,
    public_key,
    read_credentials,
    user_jwt,
)
from libs.common.secret import Secret
from libs.common.subjects import EVENTS
from libs.engines.home import Home
from libs.engines.permissions import PROVISIONER
from libs.engines.streams import STREAMS

NAME = "bench"
STREAM = "KT_BENCH"
SUBJECTS = "kt.bench.v1"
ECHO = "kt.bench.echo"
TIME = "2026-11-23T07:39:03.192164Z"


def portable(identity: Credentials) -> dict[str, str]:
    """An identity as it travels to a worker."""
    return {"jwt": identity.jwt, "seed": identity.seed.reveal().decode()}


def options(identity: dict[str, str]) -> dict[str, Any]:
    """Keyword arguments for ``nats.connect``, from what :func:`portable` made."""
    return credentials(identity["jwt"], Secret.from_text(identity["seed"])).connect_options()


def bench_user(home: Home) -> Credentials:
    """An identity that may touch the bench's own subjects and nothing else of the installation."""
    seed = new_seed(NkeyKind.USER)
    permissions = Permissions(
        publish=("kt.bench.>",), subscribe=("kt.bench.>", f"{service_inbox(NAME)}.>"), responses=1
    )
    account = Secret((home.identities / "account.nk").read_bytes().strip())
    jwt = user_jwt(account, public_key(seed), name=NAME, permissions=permissions, now=datetime.now(UTC))
    return credentials(jwt, seed)


def make_stream(home: Home) -> None:
    """A stream with the settings of ``KT_EVENTS`` that nothing consumes: what a publish costs by itself."""
    asyncio.run(_make_stream(home.state().nats_url, read_credentials(home.identities / f"{PROVISIONER}.creds")))


async def _make_stream(url: str, provisioner: Credentials) -> None:
    settings = {
        **STREAMS[EVENTS],
        "subjects": [f"{SUBJECTS}.>"],
        "republish": {"src": f"{SUBJECTS}.>", "dest": "kt.bench.feed.>", "headers_only": True},
    }
    client = await nats.connect(url, **provisioner.connect_options())
    try:
        body = orjson.dumps({"name": STREAM, "num_replicas": 1, **settings})
        reply = orjson.loads((await client.request(f"$JS.API.STREAM.CREATE.{STREAM}", body, timeout=5.0)).data)
        if "error" in reply:
            raise RuntimeError(f"the bench's stream can't be made: {reply['error'].get('description')}")
    finally:
        await client.close()


def event_bodies(count: int) -> list[bytes]:
    """Bodies of creations, as the command service writes them for a request over HTTP."""
    ids, bodies = Uuid7Factory(), []
    for number in range(count):
        sealed = SealedRef(ids.new(), hashlib.sha256(str(number).encode()).hexdigest())
        event = ConfigVariableCreated(1, "", True, sealed)
        resource = Resource("config_variable", f"BENCH_{number:012}", 1)
        origin = Origin(ids.new(), "127.0.0.1", "bench")
        metadata = Metadata(
            ids.new(), TIME, "bench", "keeptrusts/command", Actor("admin", "admin"), origin, ids.new()
        )
        bodies.append(encode(event, resource, metadata)[1])
    return bodies


def access_bodies(count: int) -> list[bytes]:
    """Bodies of resolutions, as the resolver writes them for a gateway."""
    ids, bodies = Uuid7Factory(), []
    for number in range(count):
        resource = Resource("config_variable", f"BENCH_{number:012}", 1)
        metadata = Metadata(
            ids.new(), TIME, "bench", "keeptrusts/resolver", Actor("gateway", "bench"), Origin(ids.new())
        )
        bodies.append(encode(ConfigVariableResolved(1, "reconnect"), resource, metadata)[1])
    return bodies
