"""NATS identities: nkeys, JWTs and ``.creds`` files of the server's operator mode (NATS ADR-14, JWT version 2).

Operator signs accounts, an account (or one of its signing keys) signs users; the server knows only the operator and
the accounts, so a user is added by signing, without touching the server.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import nkeys
import orjson

from libs.common.errors import KtError
from libs.common.messaging.connection import service_inbox
from libs.common.names import checked_identity, checked_org
from libs.common.secret import Secret
from libs.common.subjects import GatewayIdentity

_UNLIMITED: Final = -1
_CREDENTIALS = re.compile(r"-----BEGIN ([A-Z ]+)-----\s+(\S+)\s+-{3,}END \1-{3,}")


class NkeyKind(IntEnum):
    """What an nkey is for; its first character tells (``O``, ``A``, ``U``)."""

    OPERATOR = nkeys.PREFIX_BYTE_OPERATOR
    ACCOUNT = nkeys.PREFIX_BYTE_ACCOUNT
    USER = nkeys.PREFIX_BYTE_USER


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one identity may do on the bus; everything else is refused.

    ``subscribe`` entries may name a queue group after a blank, and then allow only members of that group.
    ``responses`` is how many messages may answer one request, on its reply subject, within ``response_time``.
    """

    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()
    responses: int = 0
    response_time: timedelta = timedelta(seconds=60)

    def as_claims(self) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "pub": {"allow": list(self.publish)} if self.publish else {"deny": [">"]},
            "sub": {"allow": list(self.subscribe)} if self.subscribe else {"deny": [">"]},
        }
        if self.responses:
            claims["resp"] = {"max": self.responses, "ttl": int(self.response_time.total_seconds() * 1e9)}
        return claims


@dataclass(frozen=True, slots=True)
class ScopedSigningKey:
    """A key of an account that can only sign users with these permissions (templates such as ``{{name()}}``)."""

    public_key: str
    role: str
    permissions: Permissions


@dataclass(frozen=True, slots=True)
class Credentials:
    """One identity, ready to connect with."""

    jwt: str
    seed: Secret
    name: str
    inbox_prefix: str

    def connect_options(self) -> dict[str, Any]:
        """Keyword arguments for ``nats.connect``: the JWT, the signature over the server's nonce, the inbox."""
        return {
            "user_jwt_cb": lambda: bytearray(self.jwt.encode()),
            "signature_cb": signer(self.seed),
            "inbox_prefix": self.inbox_prefix.encode(),
        }

    def as_file(self) -> str:
        """The text of a ``.creds`` file."""
        return (
            f"-----BEGIN NATS USER JWT-----\n{self.jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self.seed.reveal().decode()}\n------END USER NKEY SEED------\n"
        )


def new_seed(kind: NkeyKind, entropy: Callable[[int], bytes] = os.urandom) -> Secret:
    """A fresh Ed25519 seed in nkey encoding."""
    return Secret(bytes(nkeys.encode_seed(entropy(32), kind)))


def public_key(seed: Secret) -> str:
    """The public nkey of a seed.

    Raises:
        KtError: ``misconfigured`` when the seed is not an nkey seed.
    """
    return str(_key_pair(seed).public_key.decode())


def is_user_key(key: str) -> bool:
    """True for a well-formed public user nkey: prefix and checksum fit."""
    try:
        raw = base64.b32decode(key)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == 35 and raw[0] == NkeyKind.USER and raw[-2:] == bytes(nkeys.crc16_checksum(raw[:-2]))  # noqa: PLR2004


def signer(seed: Secret) -> Callable[[str], bytes]:
    """Answers the server's challenge, as ``signature_cb`` of ``nats.connect``."""
    pair = _key_pair(seed)
    return lambda nonce: base64.b64encode(pair.sign(nonce.encode()))


def operator_jwt(operator: Secret, *, name: str, system_account: str, now: datetime) -> str:
    claims = {"type": "operator", "version": 2, "system_account": system_account}
    return _sign(operator, public_key(operator), name, claims, now=now)


def account_jwt(
    operator: Secret,
    account: str,
    *,
    name: str,
    now: datetime,
    jetstream: bool = False,
    signing_keys: Sequence[ScopedSigningKey] = (),
) -> str:
    """An account without quotas; with ``jetstream`` it may use any amount of storage."""
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), _UNLIMITED)
    if jetstream:
        limits |= dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _UNLIMITED)
    claims: dict[str, Any] = {"type": "account", "version": 2, "limits": {**limits, "wildcards": True}}
    if signing_keys:
        claims["signing_keys"] = [_scope(key) for key in signing_keys]
    return _sign(operator, account, name, claims, now=now)


def user_jwt(account: Secret, user: str, *, name: str, permissions: Permissions, now: datetime) -> str:
    """A user with permissions of its own, signed by the account's key."""
    claims = {"type": "user", "version": 2, **_user_limits(), **permissions.as_claims()}
    return _sign(account, user, name, claims, now=now)


def gateway_jwt(
    signing_key: Secret,
    account: str,
    gateway: GatewayIdentity,
    *,
    user: str,
    now: datetime,
    expires: datetime | None,
) -> str:
    """A user whose permissions come from the scope of ``signing_key``, filled with this org, name and token id.

    ``account`` is the public key of the account, ``user`` the public user nkey the gateway made.

    Raises:
        KtError: ``invalid_name`` or ``invalid_request`` when org, name, token id or key are not well-formed.
    """
    if not is_user_key(user):
        raise KtError("invalid_request", "The public key is not a user nkey; expected 56 characters, U first.")
    tags = [f"org:{checked_org(gateway.org)}", f"token:{checked_identity(gateway.token_id)}"]
    claims = {"type": "user", "version": 2, "issuer_account": account, "tags": tags}
    return _sign(signing_key, user, checked_identity(gateway.name), claims, now=now, expires=expires)


def credentials(jwt: str, seed: Secret) -> Credentials:
    """Pair a user JWT with its seed; the private inbox follows from the claims.

    Raises:
        KtError: ``misconfigured`` when the JWT can't be read or belongs to another seed.
    """
    claims = _claims(jwt)
    if claims.get("sub") != public_key(seed):
        raise KtError("misconfigured", "The NATS user JWT and the seed beside it do not belong together.")
    name = str(claims.get("name", ""))
    tags = dict(tag.split(":", 1) for tag in claims.get("nats", {}).get("tags", ()))
    of_gateway = GatewayIdentity(tags["org"], name, tags["token"]) if tags else None
    return Credentials(jwt, seed, name, gateway_inbox(of_gateway) if of_gateway else service_inbox(name))


def read_credentials(path: Path) -> Credentials:
    """Read a ``.creds`` file.

    Raises:
        KtError: ``misconfigured`` when it can't be read or is not a credentials file.
    """
    try:
        parts = dict(_CREDENTIALS.findall(path.read_text(encoding="ascii")))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise KtError("misconfigured", f"The NATS credentials file {path} can't be read: {reason}.") from None
    try:
        return credentials(parts["NATS USER JWT"], Secret.from_text(parts["USER NKEY SEED"]))
    except KeyError:
        raise KtError(
            "misconfigured",
            f"{path} is not a NATS credentials file; expected a user JWT and an nkey seed.",
            "Point KEEPTRUSTS_NATS_CREDS at the .creds file made by provisioning.",
        ) from None


def gateway_inbox(gateway: GatewayIdentity) -> str:
    return f"_INBOX.gw.{gateway.org}.{gateway.name}.{gateway.token_id}"


def _user_limits() -> dict[str, int]:
    return dict.fromkeys(("subs", "data", "payload"), _UNLIMITED)


def _scope(key: ScopedSigningKey) -> dict[str, Any]:
    template = {**_user_limits(), **key.permissions.as_claims()}
    return {"kind": "user_scope", "key": key.public_key, "role": key.role, "template": template}


def _key_pair(seed: Secret) -> Any:
    try:
        return nkeys.from_seed(bytearray(seed.reveal()))
    except (nkeys.NkeysError, ValueError) as error:  # its text may quote the seed
        raise KtError("misconfigured", f"A NATS seed is not valid ({type(error).__name__}).") from None


def _sign(
    signing_key: Secret,
    subject: str,
    name: str,
    nats_claims: Mapping[str, Any],
    *,
    now: datetime,
    expires: datetime | None = None,
) -> str:
    pair = _key_pair(signing_key)
    claims: dict[str, Any] = {
        "iat": int(now.timestamp()),
        "iss": pair.public_key.decode(),
        "sub": subject,
        "name": name,
        "nats": dict(nats_claims),
    }
    if expires is not None:
        claims["exp"] = int(expires.timestamp())
    digest = hashlib.sha256(orjson.dumps(claims)).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_b64(orjson.dumps({'typ': 'JWT', 'alg': 'ed25519-nkey'}))}.{_b64(orjson.dumps(claims))}"
    return f"{signed}.{_b64(pair.sign(signed.encode()))}"


def _claims(jwt: str) -> dict[str, Any]:
    try:
        _, payload, _ = jwt.split(".")
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise KtError("misconfigured", "The NATS user JWT can't be read; expected three base64url parts.")
    return claims


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
