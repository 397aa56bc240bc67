"""The key service as a process of its own, asked over the bus by the services that may ask it."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import orjson
import pytest

from libs.common.errors import Exit, KtError
from libs.common.hpke import BoxPrivateKey, BoxPublicKey
from libs.common.messaging.rpc import Endpoint, RpcClient
from libs.common.protocol import keys as protocol
from libs.common.secret import Secret
from libs.common.service import HealthRequest, health_endpoint
from tests.engines import Bus, Database, eventually
from tests.unit.keys.support import KIND, master

NAME = "OPENAI_API_KEY"


def master_text(seed: int) -> str:
    return base64.b64encode(random.Random(seed).randbytes(32)).decode()


async def spawn(bus: Bus, postgres: Database, key: str, **more: str) -> asyncio.subprocess.Process:
    environment = {
        "PATH": os.environ["PATH"],
        "KEEPTRUSTS_NATS_URL": bus.url,
        "KEEPTRUSTS_NATS_CREDS": str(bus.creds("keys")),
        "KEEPTRUSTS_POSTGRES_DSN": postgres.dsn("keys"),
        "KEEPTRUSTS_SECRET_ENCRYPTION_KEY": key,
        **more,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.keys.main", env=environment, stderr=asyncio.subprocess.PIPE
    )


async def ending(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


@asynccontextmanager
async def service(bus: Bus, postgres: Database, key: str, **more: str) -> AsyncIterator[Asked]:
    process = await spawn(bus, postgres, key, **more)
    try:
        asked = Asked({name: RpcClient(await bus.connect(name)) for name in ("api", "command", "resolver")})
        await eventually(asked.is_ready)
        yield asked
    finally:
        if process.returncode is None:
            process.terminate()
        code, errors = await ending(process)
    assert code == Exit.OK, errors
    assert key not in errors


class Asked:
    """Asks the service as its real callers do."""

    def __init__(self, clients: dict[str, RpcClient]) -> None:
        self._clients = clients

    async def ask(self, caller: str, endpoint: Endpoint[Any, Any], **request: Any) -> Any:
        return await self._clients[caller].call(endpoint, endpoint.request(**request))

    async def is_ready(self) -> bool:
        try:
            return (await self._clients["api"].call(health_endpoint("keys"), HealthRequest(), timeout_s=1)).ready
        except KtError:
            return False

    async def seal(self, value: bytes, sealed_id: str = "", **changes: Any) -> Any:
        key = await self.ask("api", protocol.TRANSPORT_KEY)
        place = {"org": "default", "kind": KIND, "name": NAME, **changes}
        box = BoxPublicKey(key.public_key).seal(Secret(value), protocol.seal_context(*place.values()))
        request = {"sealed_id": sealed_id or str(uuid.uuid4()), **place, "key_id": key.key_id, "box": box}
        return await self.ask("command", protocol.SEAL, **request)

    async def open(self, org: str = "default", **sealed: Any) -> tuple[dict[str, bytes], dict[str, str]]:
        recipient = BoxPrivateKey.generate()
        encoded = recipient.public.encoded
        items = [
            protocol.OpenItem(reference=reference, id=s.id, digest=s.digest, kind=KIND, name=NAME)
            for reference, s in sealed.items()
        ]
        reply = await self.ask(
            "resolver", protocol.OPEN, org=org, requester="gateway/gw1", recipient_key=encoded, items=items
        )
        if reply.box is None:
            return {}, reply.failed
        context = protocol.resolve_context(org, "gateway/gw1", encoded)
        values = orjson.loads(recipient.open(reply.box, context).reveal())
        return {k: base64.b64decode(v) for k, v in values.items()}, reply.failed


async def test_a_value_goes_in_and_out_over_the_bus(nats_server: Bus, postgres: Database) -> None:
    async with service(nats_server, postgres, master_text(1)) as asked:
        sealed = await asked.seal(b"sk-proj-1")
        assert sealed.outcome == "sealed"
        assert (await asked.seal(b"sk-proj-1", sealed.id)).outcome == "same"
        with pytest.raises(KtError) as refused:
            await asked.seal(b"sk-proj-2", sealed.id)
        assert refused.value.code == "idempotency_mismatch"

        resealed = await asked.ask(
            "command",
            protocol.RESEAL,
            sealed_id=str(uuid.uuid4()),
            org="default",
            kind=KIND,
            name=NAME,
            from_id=sealed.id,
            from_digest=sealed.digest,
        )
        missing = resealed.model_copy(update={"id": str(uuid.uuid4())})
        values, failed = await asked.open(now=sealed, again=resealed, gone=missing)
        assert values == {"now": b"sk-proj-1", "again": b"sk-proj-1"}
        assert failed == {"gone": "undecryptable"}

        status = await asked.ask("api", protocol.STATUS, org="default")
        assert status.master_fingerprint == master(1).fingerprint
        assert {e.purpose: e.sealed_values for e in status.entries} == {
            "canary": 0,
            "transport": 0,
            "key-encryption": 2,
        }


async def test_what_is_not_well_formed_is_refused_with_a_code(nats_server: Bus, postgres: Database) -> None:
    async with service(nats_server, postgres, master_text(1)) as asked:
        for changes in ({"kind": "Not A Kind"}, {"name": "a b"}, {"org": "UPPER"}):
            with pytest.raises(KtError) as refused:
                await asked.seal(b"value", **changes)
            assert refused.value.code in {"invalid_request", "invalid_name"}
        with pytest.raises(KtError) as refused:
            await asked.ask("resolver", protocol.OPEN, org="default", requester="x", recipient_key=b"short", items=[])
        assert refused.value.code == "invalid_request"


async def test_a_client_token_verifies_with_the_published_key_and_no_other_org_s(
    nats_server: Bus, postgres: Database
) -> None:
    async with service(nats_server, postgres, master_text(1)) as asked:
        early = await asked.ask("resolver", protocol.CLIENT_KEYS, org="default")
        claims = {"iss": "keeptrusts", "sub": "app", "org": "default", "exp": 4_000_000_000}
        own = BoxPrivateKey.generate()
        to = {"org": "default", "recipient_key": own.public.encoded}
        signed = await asked.ask("api", protocol.SIGN_CLIENT_TOKEN, claims=claims, **to)
        context = protocol.client_token_context("default", own.public.encoded)
        token = own.open(signed.box, context).reveal().decode()
        published = jwt.PyJWKSet.from_dict(early.jwks)[signed.key_id]
        assert jwt.decode(token, published, algorithms=["EdDSA"]) == claims
        assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": signed.key_id, "typ": "JWT"}

        other = await asked.ask("api", protocol.CLIENT_KEYS, org="acme")
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(token, jwt.PyJWKSet.from_dict(other.jwks).keys[0], algorithms=["EdDSA"])
        for wrong in ({**claims, "org": "acme"}, {k: v for k, v in claims.items() if k != "exp"}):
            with pytest.raises(KtError) as refused:
                await asked.ask("api", protocol.SIGN_CLIENT_TOKEN, claims=wrong, **to)
            assert refused.value.code == "invalid_request"


async def test_only_the_services_that_need_an_endpoint_may_ask_it(nats_server: Bus, postgres: Database) -> None:
    async with service(nats_server, postgres, master_text(1)) as asked:
        sealed = await asked.seal(b"value")
        for caller in ("api", "command"):
            client = RpcClient(await nats_server.connect(caller, error_cb=_ignore))
            request = protocol.OpenRequest(
                org="default",
                requester="x",
                recipient_key=BoxPrivateKey.generate().public.encoded,
                items=[protocol.OpenItem(reference="a", id=sealed.id, digest=sealed.digest, kind=KIND, name=NAME)],
            )
            with pytest.raises(KtError) as refused:
                await client.call(protocol.OPEN, request, timeout_s=0.5)
            assert refused.value.code == "unavailable"


async def _ignore(_: Exception) -> None:
    """Permission violations are expected here."""


async def test_a_restart_with_a_new_master_key_and_the_previous_one_keeps_every_value(
    nats_server: Bus, postgres: Database
) -> None:
    async with service(nats_server, postgres, master_text(1)) as asked:
        sealed = await asked.seal(b"value")
    previous = {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS": master_text(1)}
    async with service(nats_server, postgres, master_text(2), **previous) as asked:
        assert await asked.open(key=sealed) == ({"key": b"value"}, {})
    async with service(nats_server, postgres, master_text(2)) as asked:
        assert await asked.open(key=sealed) == ({"key": b"value"}, {})
    code, errors = await ending(await spawn(nats_server, postgres, master_text(1)))
    assert code == Exit.DENIED, errors
    assert master(2).fingerprint in errors
    assert master(1).fingerprint in errors


async def test_of_two_processes_with_different_master_keys_on_an_empty_store_one_refuses(
    nats_server: Bus, postgres: Database
) -> None:
    processes = [await spawn(nats_server, postgres, master_text(seed)) for seed in (1, 2)]
    ends = {asyncio.create_task(ending(process)): process for process in processes}
    done, running = await asyncio.wait(ends, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = done
    code, errors = refused.result()
    assert code == Exit.DENIED, errors
    assert master(1).fingerprint in errors
    assert master(2).fingerprint in errors
    client = Asked({"api": RpcClient(await nats_server.connect("api"))})
    await eventually(client.is_ready)
    for task in running:
        ends[task].terminate()
        assert (await task)[0] == Exit.OK


@pytest.mark.parametrize(
    ("key", "more", "why"),
    [
        ("correct horse battery staple", {}, "neither base64 nor hex"),
        (master_text(1), {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS": master_text(1)}, "more than once"),
        (master_text(1), {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_FILE": "/x"}, "both set"),
        ("", {}, "is not set"),
        ("", {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_FILE": "/does/not/exist"}, "can't be read"),
    ],
)
async def test_a_start_without_a_good_master_key_says_why_and_never_shows_it(
    nats_server: Bus, postgres: Database, key: str, more: dict[str, str], why: str
) -> None:
    ended, errors = await ending(await spawn(nats_server, postgres, key, **more))
    assert ended == Exit.USAGE
    assert why in errors
    assert not key or key not in errors
