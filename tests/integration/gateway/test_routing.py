"""Which target a request goes to, and under which path."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.gateway.http_client import Answer, request
from tests.integration.gateway.provider import Provider, running
from tests.integration.gateway.running import JSON, Gateway, gateway, policy_config, stored, target
from tests.integration.gateway.system import System


@asynccontextmanager
async def three_targets(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Provider]]:
    """Each with a key of its own, so that the key seen tells the target."""
    system, provider = System(), Provider(accepted={"key-a", "key-b", "key-c"})
    for letter in "abc":
        system.put(f"KEY_{letter}", f"key-{letter}")
    async with running(provider):
        text = policy_config(
            target("a", provider.url, secret_key_ref=stored("KEY_a")),
            target("b", f"{provider.url}/openai", model="gpt-4o", secret_key_ref=stored("KEY_b")),
            target("c", f"{provider.url}/api/v1", model=["m-1", "m-2"], secret_key_ref=stored("KEY_c")),
        )
        async with gateway(tmp_path, text, system) as gw:
            yield gw, provider


async def send(
    gw: Gateway, path: str, document: object = None, *, raw: bytes | None = None, content_type: str = ""
) -> Answer:
    body = raw if raw is not None else json.dumps(document or {}).encode()
    headers = {**JSON, **gw.auth()}
    if content_type:
        headers["content-type"] = content_type
    return await request(gw.port, "POST", path, headers, body)


async def test_by_target_in_the_path_else_by_model_else_the_first(tmp_path: Path) -> None:
    chat = "/v1/chat/completions"
    cases = [
        ("/targets/a/v1/chat/completions", "gpt-4o", "key-a", chat),
        ("/targets/b/v1/chat/completions", "m-1", "key-b", f"/openai{chat}"),
        ("/targets/c/v1/chat/completions", "gpt-4o", "key-c", f"/api{chat}"),
        ("/targets/c/chat/completions", "gpt-4o", "key-c", f"/api{chat}"),
        (chat, "gpt-4o", "key-b", f"/openai{chat}"),
        (chat, "m-1", "key-c", f"/api{chat}"),
        (chat, "m-2", "key-c", f"/api{chat}"),
        ("/chat/completions", "m-2", "key-c", f"/api{chat}"),
        (chat, "m-3", "key-a", chat),
        ("/v1beta/models/x:generate", "m-2", "key-c", "/api/v1/v1beta/models/x:generate"),
        (chat + "?api-version=1&x=%20", "m-1", "key-c", f"/api{chat}?api-version=1&x=%20"),
    ]
    async with three_targets(tmp_path) as (gw, provider):
        for path, model, key, upstream in cases:
            assert (await send(gw, path, {"messages": [], "model": model})).status == 200
            assert (provider.seen[-1].key, provider.seen[-1].path) == (key, upstream), path


@pytest.mark.parametrize(
    ("raw", "content_type", "key"),
    [
        (b'{"model": "m-1"}', "application/json; charset=utf-8", "key-c"),
        (b'{"model": "m-1"}', "APPLICATION/JSON", "key-c"),
        (b'{"model": "m-1"}', "text/plain", "key-a"),
        (b'{"model": "m-1"', "application/json", "key-a"),
        (b'{"model": 1}', "application/json", "key-a"),
        (b'{"other": {"model": "m-1"}}', "application/json", "key-a"),
        (b"", "application/json", "key-a"),
    ],
)
async def test_only_a_model_in_json_selects(tmp_path: Path, raw: bytes, content_type: str, key: str) -> None:
    async with three_targets(tmp_path) as (gw, provider):
        assert (await send(gw, "/v1/x", raw=raw, content_type=content_type)).status == 200
        assert provider.keys == [key]
        assert provider.seen[0].body == raw


async def test_an_unknown_target_is_an_error_and_not_the_first_target(tmp_path: Path) -> None:
    async with three_targets(tmp_path) as (gw, provider):
        for path in ("/targets/zzz/v1/models", "/targets/", "/targets/a"):
            answer = await send(gw, path)
            assert (answer.status, answer.code) == (404, "unknown_target"), path
    assert provider.seen == []


async def test_no_spelling_of_a_path_leaves_the_base_url_or_reaches_the_control_endpoints(tmp_path: Path) -> None:
    async with three_targets(tmp_path) as (gw, provider):
        for path in ("/targets/b/../c/v1/models", "/targets/b/%2e%2e/c/v1/models", "/targets//c/v1/models"):
            assert (await send(gw, path)).status == 200
            assert (provider.seen[-1].key, provider.seen[-1].path) == ("key-c", "/api/v1/models"), path
        for path in ("/targets/b/..%2f..%2fadmin", "/targets/b/%5c..%5cadmin"):
            answer = await send(gw, path)
            assert (answer.status, answer.code) == (400, "invalid_request")
        for path in ("/-/../-/keeptrusts/v1/status", "//-/keeptrusts/v1/status", "/%2d/keeptrusts/v1/status"):
            answer = await send(gw, path)
            assert answer.status in (403, 404, 405) or provider.seen[-1].path == path, path


async def test_a_body_of_several_megabytes_is_routed_by_its_model(tmp_path: Path) -> None:
    async with three_targets(tmp_path) as (gw, provider):
        document = {"messages": ["x" * 6_000_000], "model": "m-1"}
        assert (await send(gw, "/v1/chat/completions", document)).status == 200
        assert provider.keys == ["key-c"]
        assert len(provider.seen[0].body) > 6_000_000


async def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    async with three_targets(tmp_path) as (gw, provider):
        answer = await send(gw, "/v1/chat/completions", {"messages": ["x" * (65 * 1024 * 1024)]})
        assert (answer.status, answer.code) == (413, "body_too_large")
    assert provider.seen == []


async def test_a_provider_that_is_down_is_told_in_json(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "key")
    text = policy_config(target("t1", "http://127.0.0.1:9", secret_key_ref=stored("KEY")))
    async with gateway(tmp_path, text, system) as gw:
        answer = await gw.chat()
    assert (answer.status, answer.code) == (503, "provider_unreachable")
