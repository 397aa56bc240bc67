"""JWTs, nkeys and credentials files of NATS operator mode."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nkeys
import orjson
import pytest
from nacl.encoding import RawEncoder
from nacl.signing import VerifyKey

from libs.common.errors import KtError
from libs.common.messaging.identities import (
    NkeyKind,
    Permissions,
    credentials,
    gateway_jwt,
    is_user_key,
    new_seed,
    public_key,
    read_credentials,
    user_jwt,
)
from libs.common.secret import Secret
from libs.common.subjects import GatewayIdentity
from libs.engines.identities import ensure_identities

NOW = datetime(2026, 11, 23, 7, 39, 3, tzinfo=UTC)
ACCOUNT = new_seed(NkeyKind.ACCOUNT, lambda count: b"a" * count)
USER = new_seed(NkeyKind.USER, lambda count: b"u" * count)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verified_claims(jwt: str) -> dict[str, Any]:
    header, payload, signature = jwt.split(".")
    assert orjson.loads(decoded(header)) == {"typ": "JWT", "alg": "ed25519-nkey"}
    claims: dict[str, Any] = orjson.loads(decoded(payload))
    issuer = base64.b32decode(claims["iss"])[1:33]
    VerifyKey(issuer, encoder=RawEncoder).verify(f"{header}.{payload}".encode(), decoded(signature))
    return claims


def minted(**changes: Any) -> str:
    values = {"org": "acme", "name": "gw1", "token_id": "t1", **changes}
    gateway = GatewayIdentity(*(values[name] for name in GatewayIdentity._fields))
    user, expires = changes.get("user", public_key(USER)), changes.get("expires")
    return gateway_jwt(ACCOUNT, "AACCOUNT", gateway, user=user, now=NOW, expires=expires)


def test_a_gateway_is_named_by_claims_and_has_no_permissions_of_its_own() -> None:
    claims = verified_claims(minted(expires=NOW + timedelta(hours=1)))
    assert claims["name"] == "gw1"
    assert claims["sub"] == public_key(USER)
    assert claims["nats"] == {
        "type": "user",
        "version": 2,
        "issuer_account": "AACCOUNT",
        "tags": ["org:acme", "token:t1"],
    }
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize(
    "changes",
    [
        {"org": "Acme"},
        {"org": "a.b"},
        {"org": "*"},
        {"name": "gw.1"},
        {"name": ">"},
        {"name": ""},
        {"token_id": "t.1"},
        {"token_id": "*"},
        {"token_id": ""},
        {"user": public_key(ACCOUNT)},
        {"user": "U" * 56},
        {"user": ""},
    ],
)
def test_a_gateway_that_could_widen_its_subjects_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(KtError) as refused:
        minted(**changes)
    assert refused.value.code in {"invalid_name", "invalid_request"}


def test_nothing_is_allowed_unless_listed() -> None:
    assert Permissions().as_claims() == {"pub": {"deny": [">"]}, "sub": {"deny": [">"]}}


def test_a_credentials_file_is_read_back_and_answers_a_challenge(tmp_path: Path) -> None:
    jwt = user_jwt(ACCOUNT, public_key(USER), name="keys", permissions=Permissions(), now=NOW)
    file = tmp_path / "keys.creds"
    file.write_text(credentials(jwt, USER).as_file())
    found = read_credentials(file)
    assert (found.jwt, found.seed, found.name, found.inbox_prefix) == (jwt, USER, "keys", "_INBOX.svc.keys")
    signature = base64.b64decode(found.connect_options()["signature_cb"]("nonce"))
    assert nkeys.from_seed(bytearray(USER.reveal())).verify(b"nonce", signature)


def test_a_gateway_uses_the_inbox_its_scope_allows() -> None:
    assert credentials(minted(), USER).inbox_prefix == "_INBOX.gw.acme.gw1.t1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of the kind",
        b"\xff\xfe",
        b"-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n",
    ],
)
def test_what_is_not_a_credentials_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.creds").write_bytes(content)
    with pytest.raises(KtError) as refused:
        read_credentials(tmp_path / "keys.creds")
    assert refused.value.code == "misconfigured"


def test_a_seed_of_another_identity_is_refused_without_showing_it() -> None:
    other = new_seed(NkeyKind.USER)
    with pytest.raises(KtError) as refused:
        credentials(minted(), other)
    assert other.reveal().decode() not in str(refused.value)


def test_a_broken_seed_is_refused_without_showing_it() -> None:
    with pytest.raises(KtError) as refused:
        public_key(Secret(b"SUAB-not-a-seed"))
    assert refused.value.code == "misconfigured"
    assert "SUAB" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "U", "U" * 56, "not base32 !", public_key(ACCOUNT)])
def test_only_user_keys_are_user_keys(key: str) -> None:
    assert is_user_key(public_key(USER))
    assert not is_user_key(key)


def test_identities_are_made_once_and_signed_anew(tmp_path: Path) -> None:
    first = ensure_identities(tmp_path, NOW)
    seeds = {path.name: path.read_bytes() for path in tmp_path.glob("*.nk")}
    seed = read_credentials(first.creds("keys")).seed
    second = ensure_identities(tmp_path, NOW + timedelta(days=1))
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.nk")} == seeds
    assert second.account == first.account
    renewed = read_credentials(second.creds("keys"))
    assert renewed.seed == seed
    assert verified_claims(renewed.jwt)["iss"] == first.account
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert not any(line in first.operator_conf.encode() for line in seeds.values())
