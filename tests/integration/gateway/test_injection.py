"""Which key reaches the provider, in which header; and that nothing of the client's credential does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certificates import certificate_for_localhost
from tests.integration.gateway.http_client import request
from tests.integration.gateway.provider import Provider, running
from tests.integration.gateway.running import CHAT, CLIENT_KEY, JSON, gateway, policy_config, stored, target
from tests.integration.gateway.system import System

CREDENTIAL_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


@pytest.mark.parametrize(
    ("provider", "header", "prefix"),
    [
        ("openai", "authorization", "Bearer "),
        ("openai-compatible", "authorization", "Bearer "),
        ("mistral", "authorization", "Bearer "),
        ("anthropic", "x-api-key", ""),
        ("azure-openai", "api-key", ""),
        ("google", "x-goog-api-key", ""),
    ],
)
async def test_each_provider_gets_its_key_in_its_own_header_and_nothing_of_the_client(
    tmp_path: Path, provider: str, header: str, prefix: str
) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    async with running(Provider(header, prefix, {"provider-key-1"})) as upstream:
        text = policy_config(target("t1", upstream.url, provider=provider, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            token = system.client_token()
            for client_header in CREDENTIAL_HEADERS:
                value = f"Bearer {token}" if client_header == "authorization" else token
                headers = {**JSON, client_header: value, "cookie": f"session={token}"}
                answer = await request(gw.port, "POST", "/v1/chat/completions?alt=sse&x=%20", headers, CHAT)
                assert answer.status == 200, (client_header, answer)
        assert len(upstream.seen) == len(CREDENTIAL_HEADERS)
        for seen in upstream.seen:
            assert seen.headers[header] == f"{prefix}provider-key-1"
            assert seen.path == "/v1/chat/completions?alt=sse&x=%20"
            assert token not in str(seen.headers)
            assert not (set(CREDENTIAL_HEADERS) - {header}) & set(seen.headers)
            assert seen.headers["host"] == f"127.0.0.1:{upstream.port}"
            assert not [name for name in seen.headers if name.startswith(("x-envoy", "x-forwarded"))]


async def test_other_credential_headers_sent_along_are_taken_off_too(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    async with running(Provider(accepted={"provider-key-1"})) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            token = system.client_token()
            headers = {"authorization": f"Bearer {token}", "x-api-key": token, "proxy-authorization": "Basic YTpi"}
            assert (await request(gw.port, "GET", "/v1/models", headers)).status == 200
        (seen,) = upstream.seen
        assert seen.headers["authorization"] == "Bearer provider-key-1"
        assert "x-api-key" not in seen.headers
        assert "proxy-authorization" not in seen.headers


async def test_a_credential_in_the_url_is_refused_and_not_sent_on(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    async with running(Provider(accepted={"provider-key-1"})) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            for parameter in ("key", "KEY", "%6bey", "a%50i-key", "api-key", "api_key", "access_token"):
                for path in ("/v1/models", "/targets/t1/v1/models"):
                    url = f"{path}?alt=sse&{parameter}={system.client_token()}"
                    assert (await gw.chat(url, accept="*/*")).status == 401, (
                        "no credential, as far as this gateway goes"
                    )
                    answer = await gw.chat(url)
                    assert (answer.status, answer.code) == (400, "credential_in_url")
        assert upstream.seen == []


async def test_a_parameter_that_merely_sounds_like_one_is_passed_on(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    async with running(Provider(accepted={"provider-key-1"})) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            path = "/v1/models?monkey=1&keys=2&x=key"
            assert (await request(gw.port, "GET", path, gw.auth())).status == 200
        assert upstream.seen[0].path == path


@pytest.mark.parametrize("method", ["TRACE", "PURGE", "PROPFIND"])
async def test_a_method_that_could_repeat_the_key_to_the_client_is_not_passed_on(tmp_path: Path, method: str) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    async with running(Provider(accepted={"provider-key-1"})) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            answer = await request(gw.port, method, "/v1/models", gw.auth())
            assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert upstream.seen == []


async def test_an_answer_of_the_provider_comes_back_as_it_is(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "not-the-right-key")
    async with running(Provider(accepted={"another"})) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            answer = await gw.chat()
    assert (answer.status, answer.code) == (401, "invalid_api_key")


async def test_a_request_that_reached_the_provider_is_never_sent_again(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    async with running(Provider(accepted={"provider-key-1"}, hang_up=True)) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system) as gw:
            answer = await gw.chat(**gw.auth(), x_envoy_retry_on="5xx,reset", x_envoy_max_retries="3")
            assert (answer.status, answer.code) == (503, "provider_unreachable")
        assert len(upstream.seen) == 1, "it may have been billed"


async def test_without_a_system_the_key_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KT_TEST_KEY", "provider-key-1")
    async with running(Provider(accepted={"provider-key-1"})) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref={"env": "KT_TEST_KEY"}))
        async with gateway(tmp_path, text, client_key=CLIENT_KEY) as gw:
            answer = await gw.chat(x_api_key=CLIENT_KEY)
            assert answer.status == 200
            entry = (await gw.targets())["t1"]
            assert entry["reference"] == {"kind": "env", "name": "KT_TEST_KEY"}
            assert entry["state"] == "serving"
            assert gw.system.listener is None, "no system is asked"


async def test_an_https_provider_is_verified_against_the_given_roots(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    bundle, context = certificate_for_localhost(tmp_path)
    async with running(Provider(accepted={"provider-key-1"}), context) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system, ca_bundle=str(bundle)) as gw:
            answer = await gw.chat()
            assert answer.status == 200, answer
            assert upstream.seen[0].headers["host"] == f"localhost:{upstream.port}"


async def test_an_https_provider_with_an_unknown_certificate_gets_no_key(tmp_path: Path) -> None:
    system = System()
    system.put("KEY", "provider-key-1")
    _, context = certificate_for_localhost(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = certificate_for_localhost(tmp_path / "other")
    async with running(Provider(accepted={"provider-key-1"}), context) as upstream:
        text = policy_config(target("t1", upstream.url, secret_key_ref=stored("KEY")))
        async with gateway(tmp_path, text, system, ca_bundle=str(other)) as gw:
            answer = await gw.chat()
            assert (answer.status, answer.code) == (503, "provider_unreachable")
        assert upstream.seen == []
