"""Who may use the gateway: client tokens with a system, a client key without one, anyone only by explicit wish."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.errors import KtError
from services.gateway.application import client_keys
from tests.integration.gateway.provider import Provider, running
from tests.integration.gateway.running import (
    CLIENT_KEY,
    Gateway,
    envoy_admin,
    eventually,
    gateway,
    policy_config,
    stored,
    target,
)
from tests.integration.gateway.system import System


@asynccontextmanager
async def with_system(tmp_path: Path, system: System, provider: Provider) -> AsyncIterator[Gateway]:
    system.put("KEY", "provider-key")
    provider.accepted.add("provider-key")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            yield gw


@asynccontextmanager
async def without_system(tmp_path: Path, provider: Provider, **settings: Any) -> AsyncIterator[Gateway]:
    provider.accepted.add("provider-key")
    async with running(provider):
        text = policy_config(target("t1", provider.url, secret_key_ref={"env": "KT_TEST_KEY"}))
        async with gateway(tmp_path, text, **settings) as gw:
            yield gw


@pytest.fixture(autouse=True)
def provider_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_TEST_KEY", "provider-key")


def unsigned(system: System) -> str:
    """``alg: none`` with the claims of a good token (RFC 8725 section 2.1)."""
    claims = system.client_token().split(".")[1]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "test"}).encode()).rstrip(b"=").decode()
    return f"{header}.{claims}."


BAD_TOKENS: dict[str, Callable[[System], str]] = {
    "expired": lambda system: system.client_token(exp=int(time.time()) - 300),
    "without expiry": lambda system: system.client_token(exp=None),
    "of another issuer": lambda system: system.client_token(iss="somebody"),
    "signed by another key": lambda system: system.client_token(key=Ed25519PrivateKey.generate()),
    "unsigned": unsigned,
    "no token at all": lambda _: "sk-something-else",
}


@pytest.mark.parametrize("bad", BAD_TOKENS)
async def test_a_token_that_is_not_valid_is_refused(tmp_path: Path, bad: str) -> None:
    system, provider = System(), Provider()
    async with with_system(tmp_path, system, provider) as gw:
        token = BAD_TOKENS[bad](system)
        for headers in ({"authorization": f"Bearer {token}"}, {"x_api_key": token}, {"x_goog_api_key": token}):
            answer = await gw.chat(**headers)
            assert (answer.status, answer.code) == (401, "unauthenticated")
            assert answer.headers["content-type"] == "application/json"
            assert token.encode() not in answer.body
    assert provider.seen == []


async def test_a_request_without_a_token_is_refused(tmp_path: Path) -> None:
    provider = Provider()
    async with with_system(tmp_path, System(), provider) as gw:
        answer = await gw.chat(accept="*/*")
        assert (answer.status, answer.code) == (401, "unauthenticated")
        for path in ("/targets/t1/v1/models", "/targets/none/v1/models", "/"):
            assert (await gw.chat(path, accept="*/*")).status == 401, path
    assert provider.seen == []


async def test_a_token_of_another_org_or_for_another_audience_is_refused(tmp_path: Path) -> None:
    system, provider = System(), Provider()
    async with with_system(tmp_path, system, provider) as gw:
        for claims in ({"org": "other"}, {"org": None}, {"org": ""}, {"aud": "keeptrusts"}, {"aud": None}):
            answer = await gw.chat(authorization=f"Bearer {system.client_token(**claims)}")
            assert (answer.status, answer.code) == (403, "forbidden")
    assert provider.seen == []


async def test_a_revoked_token_stops_working_and_the_others_go_on(tmp_path: Path) -> None:
    system, provider = System(), Provider()
    async with with_system(tmp_path, system, provider) as gw:
        lost, kept = (f"Bearer {system.client_token(jti=token_id)}" for token_id in ("lost", "kept"))
        assert [(await gw.chat(authorization=token)).status for token in (lost, kept)] == [200, 200]

        async def refused(token: str) -> bool:
            return (await gw.chat(authorization=token)).code == "forbidden"

        system.revoke("lost")
        await eventually(lambda: refused(lost))
        assert (await gw.chat(authorization=kept)).status == 200
        system.revoke("another")
        system.revoke("kept")
        await eventually(lambda: refused(kept))
        assert await refused(lost)


async def test_a_token_stops_working_when_it_expires(tmp_path: Path) -> None:
    system, provider = System(), Provider()
    async with with_system(tmp_path, system, provider) as gw:
        # Envoy allows 30 s of clock skew.
        token = ""

        async def accepted() -> bool:
            nonlocal token
            token = system.client_token(exp=int(time.time()) - 28)
            return (await gw.chat(x_api_key=token)).status == 200

        await eventually(accepted)

        async def refused() -> bool:
            return (await gw.chat(x_api_key=token)).status == 401

        await eventually(refused)


async def test_a_new_signing_key_is_taken_over_while_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_keys, "EVERY_S", 0.05)
    system, provider = System(), Provider()
    async with with_system(tmp_path, system, provider) as gw:
        assert (await gw.chat()).status == 200
        old = system.client_token()
        system.signing_key = Ed25519PrivateKey.generate()

        async def accepted() -> bool:
            return (await gw.chat()).status == 200

        await eventually(accepted)
        assert (await gw.chat(x_api_key=old)).status == 401


async def test_without_a_system_the_given_client_key_is_needed(tmp_path: Path) -> None:
    provider = Provider()
    async with without_system(tmp_path, provider, client_key=CLIENT_KEY) as gw:
        assert gw.ready is not None
        assert gw.ready.client_key is None, "a key that was given is not shown"
        for headers in (
            {"authorization": f"Bearer {CLIENT_KEY}"},
            {"x_api_key": CLIENT_KEY},
            {"api_key": CLIENT_KEY},
            {"x_goog_api_key": CLIENT_KEY},
        ):
            assert (await gw.chat(**headers)).status == 200
        for headers in ({"accept": "*/*"}, {"x_api_key": CLIENT_KEY + "x"}, {"x_api_key": CLIENT_KEY[:-1]}):
            answer = await gw.chat(**headers)
            assert (answer.status, answer.code) == (401, "unauthenticated")
        dump = await envoy_admin("/config_dump?include_eds")
    assert CLIENT_KEY not in str([seen.headers for seen in provider.seen])
    assert len(provider.seen) == 4
    assert CLIENT_KEY.encode() not in dump


async def test_without_a_system_and_a_given_key_one_is_made_and_shown_once(tmp_path: Path) -> None:
    async with without_system(tmp_path, Provider()) as gw:
        assert gw.ready is not None
        made = gw.ready.client_key
        assert made is not None
        assert len(made) >= 40
        assert (await gw.chat(x_api_key=made.reveal().decode())).status == 200
        assert (await gw.chat(accept="*/*")).status == 401


async def test_anonymous_clients_are_served_only_by_explicit_wish(tmp_path: Path) -> None:
    async with without_system(tmp_path, Provider(), anonymous=True) as gw:
        assert (await gw.chat(accept="*/*")).status == 200
        assert (await gw.status())["client_auth"] == "anonymous"


@pytest.mark.parametrize("key", ["short", "with a line\nbreak in it"])
async def test_a_client_key_that_is_weak_or_no_header_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(KtError) as refused:
        async with without_system(tmp_path, Provider(), client_key=key):
            pass
    assert refused.value.code == "misconfigured"
    assert key not in str(refused.value)


async def test_no_key_shows_in_what_envoy_tells_about_itself(tmp_path: Path) -> None:
    system, provider = System(), Provider()
    async with with_system(tmp_path, system, provider) as gw:
        assert (await gw.chat()).status == 200
        token = gw.auth()["authorization"].encode()
        for path in ("/config_dump?include_eds", "/clusters", "/stats", "/server_info", "/listeners", "/init_dump"):
            told = await envoy_admin(path)
            assert b" 200 " in told[:20], path
            assert b"provider-key" not in told, path
            assert token not in told, path
        secrets = await envoy_admin("/config_dump?resource=dynamic_active_secrets")
        assert base64.b64encode(b"[redacted]") in secrets
