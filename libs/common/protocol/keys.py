"""What the key service answers. Boxes are base64 of HPKE messages (libs.common.hpke)."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import Field

from libs.common.messaging.rpc import Binary, Endpoint, Message


def seal_context(org: str, kind: str, name: str) -> bytes:
    """HPKE context of a value on its way to the key service."""
    return b"\0".join((b"kt/seal/v1", org.encode(), kind.encode(), name.encode()))


def resolve_context(org: str, requester: str, recipient_key: bytes) -> bytes:
    """HPKE context of values on their way to who asked: bound to requester and recipient key."""
    digest = hashlib.sha256(recipient_key).digest()
    return b"\0".join((b"kt/resolve/v1", org.encode(), requester.encode(), digest))


def client_token_context(org: str, recipient_key: bytes) -> bytes:
    """HPKE context of a signed client token on its way to the api service."""
    return b"\0".join((b"kt/client-token/v1", org.encode(), hashlib.sha256(recipient_key).digest()))


class TransportKeyRequest(Message):
    pass


class TransportKeyReply(Message):
    key_id: str
    public_key: Binary


class SealRequest(Message):
    """Seal the value in ``box`` under ``sealed_id``. Asking again with the same id and value changes nothing."""

    sealed_id: str
    org: str
    kind: str
    name: str
    key_id: str
    box: Binary


class ResealRequest(Message):
    """Seal the value of another sealed id of the same resource anew, under ``sealed_id``."""

    sealed_id: str
    org: str
    kind: str
    name: str
    from_id: str
    from_digest: str


class SealReply(Message):
    """``outcome`` is ``sealed``, or ``same`` when the id already held this very value."""

    id: str
    digest: str
    outcome: str


class OpenItem(Message):
    """A sealed value of the resource ``kind`` and ``name``; ``reference`` is how the requester calls it."""

    reference: str
    id: str
    digest: str
    kind: str
    name: str


class OpenRequest(Message):
    """Open values of one org for one recipient. ``requester`` is bound into the box's context."""

    org: str
    requester: str
    recipient_key: Binary
    items: list[OpenItem] = Field(max_length=1000)


class OpenReply(Message):
    """``box`` holds JSON ``{reference: base64 value}`` of what could be opened; None when nothing could.

    ``failed`` maps the other references to a reason (``undecryptable``).
    """

    box: Binary | None
    failed: dict[str, str]


class SignClientTokenRequest(Message):
    """``claims`` are those of a JWT (RFC 7519) for a client of the org's gateways."""

    org: str
    claims: dict[str, Any]
    recipient_key: Binary


class SignClientTokenReply(Message):
    """``box`` holds the token: a credential does not cross the bus in clear either."""

    box: Binary
    key_id: str


class ClientKeysRequest(Message):
    org: str


class ClientKeysReply(Message):
    """A JWK set (RFC 7517) of Ed25519 public keys (RFC 8037)."""

    jwks: dict[str, Any]


class PresentRequest(Message):
    pass


class PresentReply(Message):
    """``master_fingerprint`` is that of the current master key of the instance that answers."""

    master_fingerprint: str


class KeysStatusRequest(Message):
    org: str


class KeyStatus(Message):
    id: str
    purpose: str
    algorithm: str
    master_fingerprint: str
    created_at: str
    sealed_values: int


class KeysStatusReply(Message):
    """``master_fingerprint`` is that of the current master key; entries are those of the org and system-wide."""

    master_fingerprint: str
    previous_fingerprint: str = ""
    entries: list[KeyStatus]


_QUEUE = "keys"
TRANSPORT_KEY = Endpoint(
    "kt.keys.v1.transport_key", _QUEUE, TransportKeyRequest, TransportKeyReply, "The key that values are boxed for"
)
SEAL = Endpoint("kt.keys.v1.seal", _QUEUE, SealRequest, SealReply, "Seal a value")
RESEAL = Endpoint("kt.keys.v1.reseal", _QUEUE, ResealRequest, SealReply, "Seal an older value anew")
OPEN = Endpoint("kt.keys.v1.open", _QUEUE, OpenRequest, OpenReply, "Open values for one recipient")
SIGN_CLIENT_TOKEN = Endpoint(
    "kt.keys.v1.sign_client_token",
    _QUEUE,
    SignClientTokenRequest,
    SignClientTokenReply,
    "Sign a token for a gateway's client",
)
CLIENT_KEYS = Endpoint(
    "kt.keys.v1.client_jwks", _QUEUE, ClientKeysRequest, ClientKeysReply, "Keys that verify client tokens"
)
PRESENT = Endpoint(
    "kt.keys.v1.present", _QUEUE, PresentRequest, PresentReply, "Is there an instance that is not superseded?"
)
STATUS = Endpoint("kt.keys.v1.status", _QUEUE, KeysStatusRequest, KeysStatusReply, "Keys in use")
