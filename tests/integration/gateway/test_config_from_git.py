"""A gateway whose configuration is in a repository: the real agent, the real Envoy, a Git server on loopback."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.common.errors import KtError
from services.gateway.application import following
from services.gateway.application.ports import ReportKind
from services.gateway.domain.references import Purpose
from tests.git_server import MAIN, GitServer, git_server
from tests.integration.gateway.http_client import Answer, request
from tests.integration.gateway.provider import Provider, running
from tests.integration.gateway.running import Gateway, eventually, gateway, policy_config, stored, target
from tests.integration.gateway.system import System

FIRST, SECOND = "git-token-first", "git-token-second"
WEBHOOK = "webhook-secret-0123456789"


@pytest.fixture
def repository() -> Iterator[GitServer]:
    with git_server(FIRST) as server:
        yield server


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setattr(following, "MIN_GAP_S", 0.01)
    monkeypatch.setattr("services.gateway.settings._SHORTEST_POLL_S", 0)
    system = System()
    system.put("KEY", "one")
    system.put("KEY_V2", "two")
    system.put("git_token/REPO", FIRST)
    return system


def config(provider: Provider, key: str = "KEY") -> str:
    return policy_config(target("t1", provider.url, secret_key_ref=stored(key)))


def at(repository: GitServer) -> str:
    return f"git+{repository.url}#gateways/config.yaml@main"


def key_of(status: dict[str, Any]) -> object:
    (only,) = status["targets"]
    return only["reference"]["name"]


async def test_a_gateway_follows_its_repository_through_good_and_bad_days(
    repository: GitServer, system: System, tmp_path: Path
) -> None:
    provider = Provider(accepted={"one", "two"})
    async with running(provider):
        first = repository.commit({"gateways/config.yaml": config(provider)})
        place: dict[str, Any] = {"policy_config": at(repository), "git_token": "REPO", "git_poll_seconds": 0.05}
        async with gateway(tmp_path, "", system, **place) as gw:
            source = await gw.source()
            assert (source["commit"], source["ref"], source["error"]) == (first, "main", None)
            assert (await gw.chat()).status == 200
            await follows_a_commit(gw, repository, provider)
            await keeps_what_it_has_when_a_commit_is_bad(gw, repository, provider)
            await takes_up_a_rotated_token(gw, repository, system, provider)
            await goes_on_without_the_branch_or_the_token(gw, repository, system)
            assert (await gw.chat()).status == 200
    assert set(provider.keys) == {"one", "two"}
    purposes = [purpose for names, purpose in system.asked if names == ["git_token/REPO"]]
    assert purposes[0] is Purpose.STARTUP
    assert Purpose.ROTATION in purposes
    left = everything_below(tmp_path)
    assert FIRST.encode() not in left
    assert SECOND.encode() not in left


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def follows_a_commit(gw: Gateway, repository: GitServer, provider: Provider) -> None:
    second = repository.commit({"gateways/config.yaml": config(provider, "KEY_V2")})

    async def applied() -> bool:
        return (await gw.source())["commit"] == second  # type: ignore[no-any-return]

    await eventually(applied, 30)
    assert key_of(await gw.status()) == "KEY_V2"
    assert (await gw.chat()).status == 200
    commits = [r.commit.id for r in gw.system.reports if r.kind is ReportKind.SOURCE_APPLIED and r.commit]
    assert commits[-1] == second


async def failure(gw: Gateway) -> dict[str, object] | None:
    return (await gw.source())["error"]  # type: ignore[no-any-return]


async def fails_with(gw: Gateway, code: str) -> dict[str, object]:
    found: dict[str, object] = {}

    async def failed() -> bool:
        found.update(await failure(gw) or {})
        return found.get("code") == code

    await eventually(failed, 30)
    return found


async def recovers(gw: Gateway) -> None:
    async def recovered() -> bool:
        return await failure(gw) is None

    await eventually(recovered, 30)


async def keeps_what_it_has_when_a_commit_is_bad(gw: Gateway, repository: GitServer, provider: Provider) -> None:
    good = (await gw.source())["commit"]
    bad = repository.commit({"gateways/config.yaml": "pack: {"})
    told = await fails_with(gw, "invalid_config")
    assert (told["commit"], (await gw.source())["commit"]) == (bad, good)
    assert (await gw.chat()).status == 200
    missing = repository.commit({"gateways/config.yaml": config(provider, "NOT_THERE")})
    assert (await fails_with(gw, "unresolved"))["commit"] == missing
    refusals = [
        (r.reason, r.commit and r.commit.id) for r in gw.system.reports if r.kind is ReportKind.SOURCE_REFUSED
    ]
    assert refusals == [("invalid_config", bad), ("unresolved", missing)]
    repository.point(MAIN, str(good))
    await recovers(gw)
    assert (await gw.source())["commit"] == good


async def takes_up_a_rotated_token(gw: Gateway, repository: GitServer, system: System, provider: Provider) -> None:
    repository.tokens = {SECOND}
    await fails_with(gw, "forbidden")
    assert (await gw.chat()).status == 200
    third = repository.commit({"gateways/config.yaml": config(provider)})
    system.put("git_token/REPO", SECOND)

    async def applied() -> bool:
        return (await gw.source())["commit"] == third  # type: ignore[no-any-return]

    await eventually(applied, 30)
    assert await failure(gw) is None


async def goes_on_without_the_branch_or_the_token(gw: Gateway, repository: GitServer, system: System) -> None:
    current = (await gw.source())["commit"]
    repository.point(MAIN, None)
    await fails_with(gw, "not_found")
    repository.point(MAIN, str(current))
    await webhook(gw, b"{}", signature=signed(b"{}"))
    await recovers(gw)
    system.delete("git_token/REPO")
    told = await fails_with(gw, "unresolved")
    assert "REPO" in str(told["detail"])
    assert (await gw.source())["commit"] == current


def signed(body: bytes) -> str:
    return "sha256=" + hmac.new(WEBHOOK.encode(), body, hashlib.sha256).hexdigest()


async def webhook(gw: Gateway, body: bytes, signature: str = "", bearer: str = "") -> Answer:
    headers = {"x-hub-signature-256": signature, "authorization": bearer and f"Bearer {bearer}"}
    given = {name: value for name, value in headers.items() if value}
    return await request(gw.port, "POST", "/-/keeptrusts/v1/git-webhook", given, body)


@pytest.fixture(autouse=True)
def webhook_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPTRUSTS_GATEWAY_GIT_WEBHOOK_SECRET", WEBHOOK)


async def test_a_webhook_or_a_reload_makes_it_look_at_once(
    repository: GitServer, system: System, tmp_path: Path
) -> None:
    provider = Provider(accepted={"one", "two"})
    repository.tokens = set()
    async with running(provider):
        repository.commit({"gateways/config.yaml": config(provider)})
        async with gateway(tmp_path, "", system, policy_config=at(repository), git_poll_seconds=0) as gw:
            second = repository.commit({"gateways/config.yaml": config(provider, "KEY_V2")})
            body = b'{"ref": "refs/heads/main"}'
            refused = [
                await webhook(gw, body),
                await webhook(gw, body, signature=signed(b"other")),
                await webhook(gw, body, bearer="wrong-token"),
            ]
            assert [answer.status for answer in refused] == [401, 401, 403]
            assert (await gw.source())["commit"] != second
            assert (await webhook(gw, body, signature=signed(body))).status == 202

            async def applied() -> bool:
                return (await gw.source())["commit"] == second  # type: ignore[no-any-return]

            await eventually(applied, 30)
            third = repository.commit({"gateways/config.yaml": config(provider)})
            assert (await webhook(gw, b"", bearer=gw.control_token)).status == 202
            answer = await gw.control("POST", "reload")
            assert (answer.status, answer.json["source"]["commit"]) == (200, third)
            repository.commit({"gateways/config.yaml": "pack: {"})
            answer = await gw.control("POST", "reload")
            assert (answer.status, answer.code) == (422, "invalid_config")
            assert (await gw.source())["commit"] == third


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("", "forbidden", "wants a token"),
        ("OTHER", "forbidden", "does not accept the token"),
        ("NONE", "unresolved", "nothing is stored under this name"),
    ],
)
async def test_a_gateway_without_the_right_token_does_not_start(
    repository: GitServer, system: System, tmp_path: Path, *, name: str, code: str, told: str
) -> None:
    system.put("git_token/OTHER", SECOND)
    repository.commit({"gateways/config.yaml": "pack: {"})
    with pytest.raises(KtError) as error:
        async with gateway(tmp_path, "", system, policy_config=at(repository), git_token=name):
            pass
    assert error.value.code == code
    assert told in error.value.detail
    assert SECOND not in str(error.value)


async def test_a_file_has_no_webhook(tmp_path: Path, system: System) -> None:
    provider = Provider(accepted={"one"})
    async with running(provider), gateway(tmp_path, config(provider), system) as gw:
        assert (await webhook(gw, b"{}", signature=signed(b"{}"))).status == 404
        assert (await gw.status())["source"] is None
