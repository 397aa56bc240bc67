"""Who gets through the door: nobody without a token, and nobody with a scope too few."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from fastapi.routing import APIRoute

from libs.common.auth.scopes import ROLES
from libs.common.auth.token_keys import TokenKeys
from libs.common.auth.tokens import Principal, TokenVerifier, token_claims
from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.secret import Secret
from services.api.adapters.http.app import all_routes
from services.api.adapters.http.contract import required_scope
from services.api.application.authentication import MAX_REMEMBERED, Authentication
from tests.unit.api.http import request
from tests.unit.api.system import KEYS, NOW, System, token_for

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
PATH = "/v1/config-variables/A"


def routes() -> list[tuple[str, str, str | None]]:
    """Method, path and needed scope of every route."""
    found = []
    for route in all_routes():
        assert isinstance(route, APIRoute)
        path = route.path.replace("{name}", "A").replace("{token_id}", "T")
        found += [(method, path, required_scope(route.openapi_extra)) for method in route.methods or ()]
    return found


def unsigned(claims: dict[str, Any], **header: Any) -> str:
    def part(document: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT', **header})}.{part(claims)}."


def claims(**changes: Any) -> dict[str, Any]:
    made = token_claims(
        token_id="j", subject="alice", org="default", role="admin", issued=NOW, ttl_s=60, references=("*",)
    )
    return {**made, **changes}


ANOTHER = Secret(b"x" * 32)
BAD_TOKENS = {
    "expired": token_for("admin", ttl=timedelta(seconds=0)),
    "expired long ago": token_for("admin", ttl=timedelta(days=-1)),
    "alg none": unsigned(claims()),
    "alg none with a kid": unsigned(claims(), kid="new"),
    "another algorithm": jwt.encode(claims(), ANOTHER.reveal() * 2, algorithm="HS512", headers={"kid": "new"}),
    "unknown kid": TokenKeys({"stranger": ANOTHER}).sign(claims()),
    "known kid, another key": TokenKeys({"new": ANOTHER}).sign(claims()),
    "no kid": jwt.encode(claims(), b"n" * 32, algorithm="HS256"),
    "kid of another type": jwt.encode(claims(), b"n" * 32, algorithm="HS256", headers={"kid": "[]"}),
    "another issuer": KEYS.sign(claims(iss="somebody")),
    "no org": KEYS.sign(claims(org="")),
    "an org that is none": KEYS.sign(claims(org="Default Org")),
    "no role": KEYS.sign(claims(role="root")),
    "a client": KEYS.sign(claims(role="client")),
    "a subject with a dot": KEYS.sign(claims(sub="a.b.>")),
    "references that are no list": KEYS.sign(claims(refs="*")),
    "an expiry that is text": KEYS.sign(claims(exp="tomorrow")),
    "an expiry beyond all bounds": KEYS.sign(claims(exp=10**400)) + "x",
    "cut off": token_for("admin")[:-2],
    "two parts": "a.b",
    "nothing": "",
    "not base64": "!.!.!",
    "very long": "a" * 9000,
    "many dots": "." * 100,
}


@pytest.mark.parametrize(("method", "path", "scope"), routes())
async def test_every_route_but_the_public_ones_needs_a_token(
    system: System, method: str, path: str, scope: str | None
) -> None:
    answer = await system.ask(method, path, token="")

    if path in PUBLIC:
        assert scope is None
        assert answer.status in (200, 503)
    else:
        assert scope is not None
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer realm="keeptrusts"'
        assert not system.bus.asked


@pytest.mark.parametrize(("method", "path", "scope"), [r for r in routes() if r[2]])
@pytest.mark.parametrize("role", ROLES)
async def test_a_route_lets_in_the_roles_that_have_its_scope_and_no_other(
    system: System, role: str, method: str, path: str, scope: str
) -> None:
    answer = await system.ask(method, path, token=token_for(role))

    assert (answer.status == 403) == (scope not in ROLES[role])
    assert answer.status != 401
    if answer.status == 403:
        assert answer.code == "forbidden"
        assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["www-authenticate"]
        assert not system.bus.asked


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_token_that_is_not_valid_is_refused(system: System, kind: str) -> None:
    token = BAD_TOKENS[kind]

    answer = await system.ask("GET", PATH, headers={"Authorization": f"Bearer {token}"})

    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="keeptrusts", error="invalid_token"')
    assert len(token) < 5 or token.encode() not in answer.everything
    assert not system.bus.asked


@pytest.mark.parametrize(
    "header", ["Basic YWRtaW46YWRtaW4=", "Bearer", "Bearer ", "bearer\xe9 x", "Bearer \xe9\xe8", "Token abc", ""]
)
async def test_another_authorization_header_is_refused(system: System, header: str) -> None:
    answer = await system.ask("GET", PATH, headers={"Authorization": header})

    assert (answer.status, answer.code) == (401, "unauthenticated")


async def test_two_authorization_headers_are_refused(system: System) -> None:
    good = ("Authorization", f"Bearer {token_for('admin')}")

    assert (await request(system.app, "GET", PATH, [good])).status == 200
    assert (await request(system.app, "GET", PATH, [good, good])).status == 401


async def test_the_scheme_s_name_is_not_case_sensitive(system: System) -> None:
    answer = await system.ask("GET", PATH, headers={"Authorization": f"bearer {token_for('admin')}"})

    assert answer.status == 200


async def test_a_token_of_another_org_sees_only_its_own(system: System) -> None:
    await system.ask("GET", PATH, token=token_for("admin", org="acme"))
    await system.ask("DELETE", PATH, token=token_for("admin", org="acme"))

    assert [getattr(r, "org", None) or r.caller.org for _, r in system.bus.asked] == ["acme", "acme"]  # type: ignore[attr-defined]


async def test_the_token_is_checked_before_the_body(system: System) -> None:
    answer = await request(system.app, "POST", "/v1/config-variables", {"Content-Type": "text/plain"}, b"{" * 999)

    assert answer.status == 401


async def test_a_token_with_an_older_key_is_still_good(system: System) -> None:
    token = TokenKeys({"old": Secret(b"o" * 32)}).sign(claims())

    assert (await system.ask("GET", PATH, token=token)).status == 200


class NothingRevoked:
    def check(self, principal: Principal) -> None:
        pass


class Moving(Clock):
    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> Any:
        return self.moment


class Counting(TokenVerifier):
    asked = 0

    def verify(self, token: str) -> Any:
        self.asked += 1
        return super().verify(token)


def test_a_token_is_verified_once_and_its_expiry_each_time() -> None:
    clock = Moving()
    verifier = Counting(lambda: KEYS, clock)
    authentication, token = Authentication(verifier, NothingRevoked()), token_for("admin", ttl=timedelta(minutes=1))

    assert authentication.verify(token) == authentication.verify(token)
    assert verifier.asked == 1
    clock.moment += timedelta(minutes=1)
    for _ in range(2):
        with pytest.raises(KtError) as caught:
            authentication.verify(token)
        assert caught.value.code == "unauthenticated"


def test_a_token_that_was_refused_is_not_remembered() -> None:
    verifier = Counting(lambda: KEYS, Moving())
    authentication = Authentication(verifier, NothingRevoked())

    for _ in range(2):
        with pytest.raises(KtError):
            authentication.verify(BAD_TOKENS["unknown kid"])

    assert verifier.asked == 2


def test_only_so_many_tokens_are_remembered() -> None:
    verifier = Counting(lambda: KEYS, Moving())
    authentication = Authentication(verifier, NothingRevoked())
    first = token_for("admin")

    authentication.verify(first)
    for number in range(MAX_REMEMBERED):
        authentication.verify(token_for("admin", jti=f"t{number}"))
    asked = verifier.asked
    authentication.verify(first)

    assert verifier.asked == asked + 1
