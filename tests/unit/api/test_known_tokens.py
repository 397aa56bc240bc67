"""/v1/tokens: what is listed, and that a token which was revoked is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import Unanswered
from libs.common.protocol import tokens
from libs.common.protocol.tokens import LIST_TOKENS, REVOCATIONS, REVOKE_TOKEN
from services.api.application.revocations import MAX_AGE_S, Revocations
from tests.unit.api.system import NOW, FakeBus, FixedClock, System, token_for

PATH = "/v1/config-variables/A"


def known(number: int, **changes: Any) -> tokens.TokenView:
    fields: dict[str, Any] = {
        "id": f"t{number}",
        "sequence": number,
        "role": "machine",
        "name": "ci",
        "key_id": "new",
        "references": ["OPENAI_*"],
        "state": "active",
        "issued_at": "2026-11-23T07:39:03.192164Z",
        "issued_by_type": "admin",
        "issued_by_id": "alice",
        "expires_at": int(NOW.timestamp()),
        "revoked_at": "",
        "revoked_by_type": "",
        "revoked_by_id": "",
    }
    return tokens.TokenView(**{**fields, **changes})


ELSEWHERE = known(
    1,
    role="",
    name="",
    key_id="",
    references=[],
    state="revoked",
    issued_at="",
    issued_by_type="",
    issued_by_id="",
    expires_at=0,
    revoked_at="2026-11-24T00:00:00.000000Z",
    revoked_by_type="admin",
    revoked_by_id="bob",
)


def revocation(request: tokens.RevokeToken) -> tokens.TokenRevocation:
    return tokens.TokenRevocation(sequence=9, role="machine", name="ci", expires_at=2**31, repeated=False)


async def test_tokens_are_listed_with_who_issued_them_and_never_themselves(system: System) -> None:
    system.bus.on(LIST_TOKENS, lambda _: tokens.TokenList(items=[known(2), ELSEWHERE], more=False))

    document = (await system.ask("GET", "/v1/tokens")).json()

    assert document["next_cursor"] is None
    assert document["items"][0] == {
        "id": "t2",
        "role": "machine",
        "name": "ci",
        "references": ["OPENAI_*"],
        "kid": "new",
        "state": "active",
        "issued_at": "2026-11-23T07:39:03.192164Z",
        "issued_by": {"type": "admin", "id": "alice"},
        "expires_at": "2026-11-23T07:39:03.000000Z",
        "revoked_at": None,
        "revoked_by": None,
    }
    assert document["items"][1]["revoked_by"] == {"type": "admin", "id": "bob"}
    assert (document["items"][1]["role"], document["items"][1]["expires_at"]) == (None, None)


async def test_pages_follow_one_another_under_the_same_conditions_only(system: System) -> None:
    system.bus.on(LIST_TOKENS, lambda r: tokens.TokenList(items=[known((r.before or 10) - 1)], more=r.before != 9))
    query = "/v1/tokens?name=ci&role=machine&kid=new&state=active&limit=1"

    first = (await system.ask("GET", query)).json()
    second = (await system.ask("GET", f"{query}&cursor={first['next_cursor']}")).json()

    assert [first["items"][0]["id"], second["items"][0]["id"], second["next_cursor"]] == ["t9", "t8", None]
    asked = system.bus.requests(LIST_TOKENS)[1]
    assert (asked.org, asked.name, asked.role, asked.key_id, asked.state, asked.before, asked.limit) == (
        "default", "ci", "machine", "new", "active", 9, 1
    )  # fmt: skip
    for other in ("/v1/tokens?name=other", "/v1/tokens"):
        refused = await system.ask("GET", f"{other}{'&' if '?' in other else '?'}cursor={first['next_cursor']}")
        assert (refused.status, refused.code) == (422, "invalid_cursor")


@pytest.mark.parametrize("query", ["state=gone", "role=root", "limit=0", "name=a%20b", "cursor=x", "what=ever"])
async def test_a_list_that_makes_no_sense_is_refused(system: System, query: str) -> None:
    assert (await system.ask("GET", f"/v1/tokens?{query}")).status == 422
    assert not system.bus.asked


async def test_a_token_is_refused_from_the_moment_its_revocation_was_answered(system: System) -> None:
    system.bus.on(REVOKE_TOKEN, revocation)
    token = token_for("operator", jti="t7")
    assert (await system.ask("GET", PATH, token=token)).status == 200

    answer = await system.ask("DELETE", "/v1/tokens/t7")

    assert (answer.status, answer.json()) == (
        200,
        {"id": "t7", "role": "machine", "name": "ci", "issued_here": True, "repeated": False},
    )
    (request,) = system.bus.requests(REVOKE_TOKEN)
    assert (request.token_id, request.caller.org, request.caller.actor_id) == ("t7", "default", "admin-1")
    refused = await system.ask("GET", PATH, token=token)
    assert (refused.status, refused.code, refused.json()["reason"]) == (401, "unauthenticated", "revoked")
    assert (await system.ask("GET", PATH, token=token_for("operator", jti="t8"))).status == 200
    assert (await system.ask("GET", PATH, token=token_for("operator", jti="t7", org="acme"))).status == 200


async def test_a_revoked_token_is_not_active_for_a_gateway_either(system: System) -> None:
    system.bus.on(REVOKE_TOKEN, revocation)
    body = {"token": token_for("operator", jti="t7")}
    gateway = token_for("gateway")
    assert (await system.ask("POST", "/v1/tokens/introspect", body, token=gateway)).json()["active"]
    await system.ask("POST", "/v1/tokens/revoke", {"id": "t7"})
    assert not (await system.ask("POST", "/v1/tokens/introspect", body, token=gateway)).json()["active"]


@pytest.mark.parametrize("jti", ["urn:uuid:5", "a.b.c", "x" * 65, "é", "~", "-"])
async def test_a_token_that_was_signed_elsewhere_is_revoked_by_its_jti(system: System, jti: str) -> None:
    system.bus.on(
        REVOKE_TOKEN,
        lambda _: tokens.TokenRevocation(sequence=9, role="", name="", expires_at=0, repeated=False),
    )
    token = token_for("operator", jti=jti)
    assert (await system.ask("GET", PATH, token=token)).status == 200

    answer = await system.ask("POST", "/v1/tokens/revoke", {"id": jti})

    assert (answer.status, answer.json()["items"][0]["issued_here"]) == (200, False)
    (request,) = system.bus.requests(REVOKE_TOKEN)
    assert request.token_id.startswith("jti-")
    assert (await system.ask("GET", PATH, token=token)).status == 401


async def test_all_active_tokens_of_a_name_are_revoked(system: System) -> None:
    system.bus.on(
        LIST_TOKENS, lambda r: tokens.TokenList(items=[known(n) for n in range(1, 4)], more=r.state != "active")
    )
    system.bus.on(REVOKE_TOKEN, revocation)

    answer = await system.ask("POST", "/v1/tokens/revoke", {"name": "ci"})

    assert [item["id"] for item in answer.json()["items"]] == ["t1", "t2", "t3"]
    assert answer.json()["more"] is False
    assert {r.token_id for r in system.bus.requests(REVOKE_TOKEN)} == {"t1", "t2", "t3"}


async def test_a_name_whose_tokens_are_gone_is_no_error_and_one_that_never_was_is(system: System) -> None:
    expired = tokens.TokenList(items=[known(1, state="expired")], more=False)
    nothing = tokens.TokenList(items=[], more=False)
    system.bus.on(LIST_TOKENS, lambda r: expired if r.name == "ci" and not r.state else nothing)
    assert (await system.ask("POST", "/v1/tokens/revoke", {"name": "ci"})).json() == {"items": [], "more": False}
    answer = await system.ask("POST", "/v1/tokens/revoke", {"name": "nobody"})
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    "body", [{}, {"id": "a", "name": "b"}, {"id": ""}, {"id": "x" * 257}, {"id": "a\nb"}, {"id": 7}, {"name": "a b"}]
)
async def test_a_revocation_that_makes_no_sense_is_refused(system: System, body: dict[str, Any]) -> None:
    assert (await system.ask("POST", "/v1/tokens/revoke", body)).status == 422
    assert not system.bus.asked


async def test_a_token_in_the_place_of_its_id_is_refused_and_not_repeated(system: System) -> None:
    token = token_for("operator")
    for answer in (
        await system.ask("POST", "/v1/tokens/revoke", {"id": token}),
        await system.ask("DELETE", f"/v1/tokens/{quote(token)}"),
    ):
        assert (answer.status, answer.code) == (422, "invalid_request")
        assert "is a token instead of the id of one" in answer.json()["detail"]
        assert token.encode() not in answer.everything


async def test_a_revocation_nobody_answered_may_be_repeated(system: System) -> None:
    system.bus.fails(REVOKE_TOKEN, Unanswered("unavailable", "Late."))
    answer = await system.ask("DELETE", "/v1/tokens/t7")
    assert (answer.status, answer.code) == (503, "outcome_unknown")


class Asking:
    """Revocations that ask a bus which answers from a list."""

    def __init__(self) -> None:
        self.bus, self.now = FakeBus(), 0.0
        self.revoked: list[tokens.Revocation] = []
        self.bus.on(REVOCATIONS, self.answer)
        self.revocations = Revocations(self.bus, FixedClock(), lambda: self.now)

    def answer(self, request: tokens.ListRevocations) -> tokens.RevocationList:
        """Two at once, each at the position of its place in the list."""
        end = min(request.after + 2, len(self.revoked))
        items = self.revoked[request.after : end]
        return tokens.RevocationList(items=items, position=end, more=end < len(self.revoked))

    def refusal(self, token_id: str = "t1") -> str:
        from libs.common.auth.tokens import Principal  # noqa: PLC0415

        try:
            self.revocations.check(Principal("a", "default", "admin", frozenset(), token_id))
        except KtError as error:
            return error.code
        return ""


async def test_nobody_is_let_in_before_the_list_is_known() -> None:
    world = Asking()
    assert (world.refusal(), world.revocations.known) == ("unavailable", False)
    await world.revocations._refresh()
    assert (world.refusal(), world.revocations.known) == ("", True)


async def test_a_long_list_is_asked_for_to_its_end_and_then_only_what_is_new() -> None:
    world = Asking()
    world.revoked = [tokens.Revocation(org="default", token_id=f"t{n}", expires_at=0) for n in range(5)]
    await world.revocations._refresh()
    assert [world.refusal(f"t{n}") for n in range(6)] == ["unauthenticated"] * 5 + [""]
    world.revoked.append(tokens.Revocation(org="default", token_id="t5", expires_at=0))
    await world.revocations._refresh()
    assert world.refusal("t5") == "unauthenticated"
    assert [r.after for r in world.bus.requests(REVOCATIONS)] == [0, 2, 4, 5]


async def test_a_list_that_is_not_refreshed_is_believed_for_ten_seconds() -> None:
    world = Asking()
    world.revoked = [tokens.Revocation(org="default", token_id="t9", expires_at=0)]
    await world.revocations._refresh()
    world.bus.fails(REVOCATIONS, KtError("unavailable", "Down."))
    world.now = MAX_AGE_S
    with pytest.raises(KtError):
        await world.revocations._refresh()
    assert world.refusal() == ""
    world.now = MAX_AGE_S + 0.1
    assert world.refusal() == "unavailable"
    assert world.refusal("t9") == "unauthenticated"
    await world.revocations._refresh()
    assert world.refusal() == ""


async def test_what_has_expired_is_forgotten() -> None:
    world = Asking()
    past, future = (int((NOW + timedelta(hours=h)).timestamp()) for h in (-1, 1))
    for token_id, expires_at in (("past", past), ("future", future), ("unknown", 0)):
        world.revocations.add("default", token_id, expires_at)
    world.revocations._prune()
    assert set(world.revocations._revoked) == {("default", "future"), ("default", "unknown")}
