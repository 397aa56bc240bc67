"""Tokens: what is accepted, and each way of being refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from libs.common.auth.token_keys import TokenKeys
from libs.common.auth.tokens import TokenVerifier, token_claims
from libs.common.errors import KtError
from libs.common.secret import Secret

OLD, NEW = "old-d9kQ2mXw7TzR4vLp8sYc3nFb6hJg1eUa5oWi0Bd", "new:c4Vt8:ZqL2wXk6RjN9pYb3mTf7hSg1dUe5aQ"
KEYS = TokenKeys.parse(Secret.from_text(f"kid1:{OLD},kid2:{NEW}"))
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class At:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def claims(**changes: Any) -> dict[str, Any]:
    base = token_claims(
        token_id="t1", subject="alice", org="acme", role="operator", issued=NOW, ttl_s=60, references=("*",)
    )
    return {k: v for k, v in {**base, **changes}.items() if v is not None}


def verify(token: str, at: datetime = NOW) -> Any:
    return TokenVerifier(lambda: KEYS, At(at)).verify(token)


def refusal(token: str, at: datetime = NOW) -> str:
    with pytest.raises(KtError) as caught:
        verify(token, at)
    assert caught.value.code == "unauthenticated"
    assert token not in str(caught.value.as_wire())
    return caught.value.detail


def signed(payload: dict[str, Any], key: str = NEW, kid: str | None = "kid2", algorithm: str = "HS256") -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


def test_the_last_key_signs_and_all_verify() -> None:
    assert jwt.get_unverified_header(KEYS.sign(claims()))["kid"] == "kid2"
    assert verify(KEYS.sign(claims())).subject == "alice"
    assert verify(signed(claims(), OLD, "kid1")).org == "acme"


def test_a_token_carries_role_scopes_and_references() -> None:
    principal = verify(signed(claims(role="machine", refs=["OPENAI_*"])))
    assert principal.scopes == {"secrets:resolve"}
    assert principal.references == ("OPENAI_*",)


def test_a_token_ends_at_its_time() -> None:
    token = signed(claims())
    assert verify(token, NOW + timedelta(seconds=59)).role == "operator"
    assert "expired" in refusal(token, NOW + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("garbage", "not a JWT"),
        ("a.b.c", "not a JWT"),
        (signed(claims(), kid="kid3"), "not in the verification set"),
        (signed(claims(), kid=None), "not in the verification set"),
        (signed(claims(), OLD, "kid2"), "not valid"),
        (signed(claims(), NEW, "kid2", "HS512"), "not signed with HS256"),
        (jwt.encode(claims(), "", algorithm="none", headers={"kid": "kid2"}), "not signed with HS256"),
        (signed(claims(iss="other")), "not valid"),
        (signed(claims(exp=None)), "not valid"),
        (signed(claims(exp="soon")), "whole number of seconds"),
        (signed(claims(jti="")), "id (jti) is empty"),
        (signed(claims(jti=7)), "not valid"),
        (signed(claims(role="root")), "no role"),
        (signed(claims(role=None)), "no role"),
        (signed(claims(org="../x")), "no subject or org"),
        (signed(claims(org=None)), "no subject or org"),
        (signed(claims(sub="a b")), "no subject or org"),
        (signed(claims(refs="*")), "references"),
    ],
)
def test_what_is_not_right_is_refused_with_the_reason(token: str, said: str) -> None:
    assert said in refusal(token)
