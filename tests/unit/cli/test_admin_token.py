"""The first admin token of a home."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs.cli.admin_token import VALID_DAYS, mint_admin_token
from libs.common.auth.token_keys import TokenKeys
from libs.common.auth.tokens import TokenVerifier
from libs.common.secret import Secret
from libs.engines.home import JWT_KEYS, Home

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class At:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with a signing key and no token yet."""
    monkeypatch.delenv(JWT_KEYS, raising=False)
    monkeypatch.delenv(f"{JWT_KEYS}_FILE", raising=False)
    (tmp_path / "jwt.keys").write_text(f"kid1:{secrets.token_urlsafe(32)}")
    return Home(tmp_path)


def _keep(home: Home, after: timedelta = timedelta()) -> str:
    token = mint_admin_token(home, At(NOW + after))
    home.admin_token.write_text(token)
    return token


def test_it_is_an_admin_of_the_default_org_for_a_year(fresh: Home) -> None:
    keys = TokenKeys.parse(Secret(fresh.jwt_keys.read_bytes()))
    token = mint_admin_token(fresh, At(NOW))
    principal = TokenVerifier(lambda: keys, At(NOW + timedelta(days=VALID_DAYS, seconds=-1))).verify(token)
    assert (principal.role, principal.org, principal.subject) == ("admin", "default", "admin")


def test_a_good_one_is_kept(fresh: Home) -> None:
    assert _keep(fresh) == _keep(fresh, timedelta(days=100))


def test_one_that_ends_soon_is_made_anew(fresh: Home) -> None:
    assert _keep(fresh) != _keep(fresh, timedelta(days=VALID_DAYS - 29))


@pytest.mark.parametrize("left", [b"", b"not a token", b"\xff\xfe"])
def test_one_that_can_not_be_used_is_made_anew(fresh: Home, left: bytes) -> None:
    fresh.admin_token.write_bytes(left)
    assert mint_admin_token(fresh, At(NOW)).count(".") == 2


def test_one_signed_with_a_key_that_is_gone_is_made_anew(fresh: Home) -> None:
    first = _keep(fresh)
    fresh.jwt_keys.write_text(f"kid2:{secrets.token_urlsafe(32)}")
    assert _keep(fresh) != first


def test_one_whose_key_is_still_in_the_set_is_kept(fresh: Home) -> None:
    first = _keep(fresh)
    fresh.jwt_keys.write_text(f"{fresh.jwt_keys.read_text()},kid2:{secrets.token_urlsafe(32)}")
    assert _keep(fresh) == first


def test_keys_in_the_environment_win(fresh: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    given = f"given:{secrets.token_urlsafe(32)}"
    monkeypatch.setenv(JWT_KEYS, given)
    token = mint_admin_token(fresh, At(NOW))
    assert TokenKeys.parse(Secret.from_text(given)).verify(token)["sub"] == "admin"
