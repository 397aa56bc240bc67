"""/v1/tokens: on record before they are answered, never granting more than their issuer has."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.auth.scopes import ROLES
from libs.common.auth.tokens import Principal, TokenVerifier
from libs.common.errors import KtError
from libs.common.hpke import BoxPublicKey
from libs.common.protocol import command, keys
from libs.common.secret import Secret
from services.api.domain.issuing import check_grant, covers
from services.api.domain.lifetime import DEFAULT_TTL_S, lifetime
from tests.unit.api.system import KEYS, NOW, FixedClock, System, token_for


def signed_for_client(request: keys.SignClientTokenRequest) -> keys.SignClientTokenReply:
    token = Secret.from_text(jwt.encode(request.claims, b"k" * 32, algorithm="HS256"))
    context = keys.client_token_context(request.org, request.recipient_key)
    return keys.SignClientTokenReply(box=BoxPublicKey(request.recipient_key).seal(token, context), key_id="client-1")


@pytest.fixture(autouse=True)
def _recording(system: System) -> None:
    system.bus.on(command.TOKEN, lambda _: command.Recorded(sequence=5))
    system.bus.on(keys.SIGN_CLIENT_TOKEN, signed_for_client)


@pytest.mark.parametrize("role", ROLES)
async def test_a_token_is_issued_and_can_be_used(system: System, role: str) -> None:
    body = {"role": role, "name": "ci-runner", "ttl": "90d", "references": ["OPENAI_*"]}

    answer = await system.ask("POST", "/v1/tokens", body)

    document = answer.json()
    principal = TokenVerifier(lambda: KEYS, FixedClock()).verify(document["token"])
    assert (answer.status, answer.headers["cache-control"]) == (201, "no-store")
    assert (principal.role, principal.subject, principal.org) == (role, "ci-runner", "default")
    assert principal.references == ("OPENAI_*",)
    assert principal.token_id == document["token_id"]
    assert document["expires_at"] == "2027-02-21T07:39:03.000000Z"


async def test_a_token_is_signed_with_the_newest_key(system: System) -> None:
    document = (await system.ask("POST", "/v1/tokens", {"role": "machine", "name": "ci"})).json()

    assert jwt.get_unverified_header(document["token"])["kid"] == "new"


async def test_the_issue_is_put_on_record_without_the_token(system: System) -> None:
    document = (await system.ask("POST", "/v1/tokens", {"role": "machine", "name": "ci", "ttl_seconds": 60})).json()

    (record,) = system.bus.requests(command.TOKEN)
    assert (record.token_id, record.role, record.name) == (document["token_id"], "machine", "ci")
    assert (record.expires_at, record.key_id, record.references) == (int(NOW.timestamp()) + 60, "new", ("*",))
    assert document["token"] not in record.model_dump_json()


async def test_a_token_that_is_not_on_record_is_not_handed_out(system: System) -> None:
    del system.bus.answers[command.TOKEN.subject]

    answer = await system.ask("POST", "/v1/tokens", {"role": "machine", "name": "ci"})

    assert (answer.status, answer.code) == (503, "unavailable")
    assert b"eyJ" not in answer.everything


async def test_a_client_s_token_is_signed_by_the_key_service_and_means_nothing_here(system: System) -> None:
    document = (await system.ask("POST", "/v1/tokens", {"role": "client", "name": "app", "ttl": "1h"})).json()

    (signed,) = system.bus.requests(keys.SIGN_CLIENT_TOKEN)
    assert signed.org == "default"
    assert signed.claims == {
        "iss": "keeptrusts",
        "aud": "keeptrusts-gateway",
        "sub": "app",
        "org": "default",
        "jti": document["token_id"],
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 3600,
    }
    assert system.bus.requests(command.TOKEN)[0].key_id == "client-1"
    assert (await system.ask("GET", "/v1/config-variables/A", token=document["token"])).status == 401


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"role": "root"}, "invalid_request", "role"),
        ({"role": None}, "invalid_request", "role"),
        ({"name": "a b"}, "invalid_name", "name"),
        ({"name": "a.b"}, "invalid_name", "name"),
        ({"name": "sk-proj-0123456789abcdef0123"}, "name_looks_like_secret", "name"),
        ({"ttl": "1h", "ttl_seconds": 60}, "invalid_request", "ttl"),
        ({"ttl": "59s"}, "invalid_request", "ttl"),
        ({"ttl": "367d"}, "invalid_request", "ttl"),
        ({"ttl": "forever"}, "invalid_request", "ttl"),
        ({"ttl": "1.5h"}, "invalid_request", "ttl"),
        ({"ttl": "-1h"}, "invalid_request", "ttl"),
        ({"ttl": "١d"}, "invalid_request", "ttl"),
        ({"ttl_seconds": 0}, "invalid_request", "ttl_seconds"),
        ({"ttl_seconds": 10**30}, "invalid_request", "ttl_seconds"),
        ({"ttl_seconds": "60"}, "invalid_request", "ttl_seconds"),
        ({"references": []}, "invalid_request", "references"),
        ({"references": ["*"] * 33}, "invalid_request", "references"),
        ({"references": ["a b"]}, "invalid_name", "references.0"),
        ({"references": ["*", "[a-z]"]}, "invalid_name", "references.1"),
        ({"references": ["nothing/A"]}, "invalid_name", "references.0"),
        ({"references": ["git_token/"]}, "invalid_name", "references.0"),
        ({"references": ["git_token/A/B"]}, "invalid_name", "references.0"),
        ({"references": ["sk-proj-0123456789abcdef0123"]}, "name_looks_like_secret", "references.0"),
        ({"scope": "config_variables:write"}, "invalid_request", "the request"),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(
    system: System, change: dict[str, Any], code: str, field: str
) -> None:
    answer = await system.ask("POST", "/v1/tokens", {"role": "machine", "name": "ci", **change})

    assert (answer.status, answer.code) == (422, code)
    assert answer.json()["errors"][0]["field"] == field
    assert not system.bus.asked


async def test_a_token_can_t_resolve_more_than_its_issuer(system: System) -> None:
    issuer = token_for("admin", refs=["OPENAI_*"])
    body = {"role": "machine", "name": "ci"}

    wider = await system.ask("POST", "/v1/tokens", {**body, "references": ["*"]}, token=issuer)
    narrower = await system.ask("POST", "/v1/tokens", {**body, "references": ["OPENAI_EU_*"]}, token=issuer)

    assert (wider.status, wider.code, narrower.status) == (403, "forbidden", 201)


@pytest.mark.parametrize(("issuer", "role"), list(itertools.product(ROLES, ROLES)))
def test_a_role_is_granted_only_by_one_that_has_its_scopes(issuer: str, role: str) -> None:
    principal = Principal("a", "default", issuer, ROLES[issuer], "t")

    if ROLES[role] <= ROLES[issuer]:
        check_grant(principal, role, ["*"])
    else:
        with pytest.raises(KtError) as caught:
            check_grant(principal, role, ["*"])
        assert caught.value.code == "forbidden"


GLOBS = st.text("ab*?", min_size=1, max_size=5)
NAMES = ["".join(letters) for length in range(1, 6) for letters in itertools.product("ab", repeat=length)]


@given(st.lists(GLOBS, max_size=3), GLOBS)
def test_a_narrower_glob_never_matches_what_the_wider_does_not(allowed: list[str], reference: str) -> None:
    if covers(allowed, reference):
        for name in NAMES:
            if fnmatchcase(name, reference):
                assert any(fnmatchcase(name, glob) for glob in allowed)


@pytest.mark.parametrize(
    ("allowed", "reference", "expected"),
    [
        (["*"], "git_token/REPO", True),
        (["*"], "git_token/*", True),
        (["OPENAI_*"], "git_token/OPENAI_X", False),
        (["OPENAI_*", "git_token/A*"], "git_token/AB", True),
        (["git_token/*"], "REPO", False),
        (["git_token/*"], "git_token/A*", True),
        (["git_token/A*"], "git_token/*", False),
        (["A*"], "*", False),
    ],
)
def test_references_to_git_tokens_are_passed_on_by_who_has_them_or_has_no_limits(
    allowed: list[str], reference: str, expected: bool
) -> None:
    assert covers(allowed, reference) is expected


@given(st.lists(GLOBS, max_size=3), st.sampled_from(NAMES))
def test_a_plain_name_is_covered_exactly_when_it_matches(allowed: list[str], name: str) -> None:
    assert covers(allowed, name) == any(fnmatchcase(name, glob) for glob in allowed)


@pytest.mark.parametrize(
    ("ttl", "ttl_seconds", "expected"),
    [(None, None, DEFAULT_TTL_S), ("90d", None, 7_776_000), ("12h", None, 43_200), (None, 60, 60), ("1m", None, 60)],
)
def test_a_lifetime_is_read_from_either_form(ttl: str | None, ttl_seconds: int | None, expected: int) -> None:
    assert lifetime(ttl, ttl_seconds) == expected


async def test_a_gateway_learns_what_an_operator_s_token_is_good_for(system: System) -> None:
    body = {"token": token_for("operator")}

    answer = await system.ask("POST", "/v1/tokens/introspect", body, token=token_for("gateway"))

    assert answer.json() == {
        "active": True,
        "subject": "operator-1",
        "org": "default",
        "role": "operator",
        "scopes": sorted(ROLES["operator"]),
    }


@pytest.mark.parametrize("token", [token_for("admin", org="acme"), "nonsense", "", "é", token_for("admin")[:-3]])
async def test_a_token_that_is_not_valid_or_another_org_s_is_not_active(system: System, token: str) -> None:
    answer = await system.ask("POST", "/v1/tokens/introspect", {"token": token}, token=token_for("gateway"))

    assert (answer.status, answer.json()["active"]) == (200, False)
    assert len(token) < 3 or token.encode() not in answer.everything


async def test_client_keys_are_public_keys(system: System) -> None:
    jwks = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "client-1", "x": "AAAA"}]}
    system.bus.on(keys.CLIENT_KEYS, lambda _: keys.ClientKeysReply(jwks=jwks))

    assert (await system.ask("GET", "/v1/client-keys", token=token_for("auditor"))).json() == jwks
