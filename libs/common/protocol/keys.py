"""What the key service answers. Boxes are base64 of HPKE messages (libs.common.hpke)."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import Field

from libs.common.messaging.rpc import Binary, Endpoint, Message
from libs.common.protocol.parties import Caller


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
    """Seal the value in ``box`` under ``sealed_id``. Asking again with the same id and value changes nothing.

    ``first`` is for a name that has no history: it is refused when an older plaintext row has that name.
    """

    sealed_id: str
    org: str
    kind: str
    name: str
    key_id: str
    box: Binary
    first: bool = False


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
    """Open values of one org for one recipient. ``requester`` is bound into the box's context.

    ``legacy`` are names without any history, whose value may lie in an older plaintext row; with ``reveal`` only rows
    that are not sensitive count.
    """

    org: str
    requester: str
    recipient_key: Binary
    items: list[OpenItem] = Field(max_length=1000)
    legacy: list[str] = Field(default_factory=list, max_length=1000)
    reveal: bool = False


class OpenReply(Message):
    """``box`` holds JSON ``{reference: base64 value}`` of what could be opened; None when nothing could.

    ``failed`` maps other references to a reason (``undecryptable``; ``unavailable`` for older rows that could not be
    looked at). ``legacy`` names those whose value is that of an older row; names asked for that are in neither have
    no such row.
    """

    box: Binary | None
    failed: dict[str, str]
    legacy: list[str] = Field(default_factory=list)


class LegacyRowsRequest(Message):
    """Older plaintext rows with these ``names``; without names a page of those behind ``after``, in byte order."""

    org: str
    names: list[str] = Field(default_factory=list, max_length=1000)
    prefix: str = ""
    after: str = ""
    limit: int = Field(default=500, ge=1, le=1000)


class LegacyRow(Message):
    """What may be shown of a row; never its value."""

    name: str
    description: str
    sensitive: bool


class LegacyRowsReply(Message):
    """``after`` is where the next page begins when there may be ``more``. A page may hold fewer rows than asked."""

    rows: list[LegacyRow]
    after: str = ""
    more: bool = False


class TakeOverRequest(Message):
    """Seal the value of an older plaintext row under ``sealed_id``; the value stays inside the key service."""

    sealed_id: str
    org: str
    name: str


class TakeOverReply(Message):
    """``sealed`` is None when no row has this name."""

    sealed: SealReply | None
    description: str = ""
    sensitive: bool = True


class LegacyStatusRequest(Message):
    org: str


class UnusableLegacyRow(Message):
    """``name`` is what can be shown of it; ``problem`` says why the row can't be used, without quoting it."""

    name: str
    problem: str


class LegacyStatusReply(Message):
    """Older plaintext rows. ``unusable`` names the first of ``unusable_rows``; ``waiting`` rows are on record as
    taken over, and not deleted yet. ``may_delete`` is false when the role of the connection may not delete rows."""

    configured: bool
    table: str = ""
    usable_rows: int = 0
    unusable_rows: int = 0
    unusable: list[UnusableLegacyRow] = Field(default_factory=list)
    waiting: int = 0
    may_delete: bool = True


class SignClientTokenRequest(Message):
    """``claims`` are those of a JWT (RFC 7519) for a client of the org's gateways."""

    org: str
    claims: dict[str, Any]
    recipient_key: Binary


class SignClientTokenReply(Message):
    """``box`` holds the token: a credential does not cross the bus in clear either."""

    box: Binary
    key_id: str


class SealedSecret(Message):
    """A sealed webhook secret, as an event names it."""

    id: str
    digest: str


class SignWebhookRequest(Message):
    """Sign one delivery with the secrets of a webhook, the current one first. ``timestamp`` is in Unix seconds."""

    org: str
    webhook: str
    secrets: list[SealedSecret] = Field(min_length=1, max_length=8)
    message_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    timestamp: int = Field(ge=0)
    payload: Binary


class SignWebhookReply(Message):
    """``signature`` is the value of the header ``webhook-signature`` (Standard Webhooks 1.0)."""

    signature: str


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
    """``state`` is current, retired (still opens what is old), damaged, or foreign: wrapped under a master key that
    the key service was not given."""

    id: str
    purpose: str
    algorithm: str
    master_fingerprint: str
    created_at: str
    sealed_values: int
    state: str = "current"


class MasterKeyStatus(Message):
    """A master key and how many keys of the whole system are wrapped under it.

    ``given`` is ``current`` or ``previous``, as the key service was given it, or empty when it was not.
    """

    fingerprint: str
    given: str
    keys: int


class DamagedValue(Message):
    """A sealed value that does not open. ``name`` is whose it is."""

    sealed_id: str
    kind: str
    name: str
    why: str
    found_at: str


class DeepRotationView(Message):
    """``state`` is running or completed. ``data_keys`` were wrapped under ``old_keys`` when it began; ``damaged``
    counts values that do not open; ``destroyed_keys`` are those of the old keys that nothing depends on any more."""

    id: str
    state: str
    started_at: str
    started_by: str
    completed_at: str | None = None
    data_keys: int
    rewrapped: int
    damaged: int
    old_keys: list[str]
    new_key: str
    transport_key: str
    destroyed_keys: list[str]


class KeysStatusReply(Message):
    """``master_fingerprint`` names the master key that the keyring is wrapped under; ``entries`` are the keys of the
    org and those of the whole system; ``summary`` says in sentences what can be removed and what is wrong."""

    master_fingerprint: str
    previous_fingerprint: str = ""
    entries: list[KeyStatus]
    masters: list[MasterKeyStatus] = Field(default_factory=list)
    deep_rotation: DeepRotationView | None = None
    damaged: list[DamagedValue] = Field(default_factory=list)
    summary: list[str] = Field(default_factory=list)


class DeepRotateRequest(Message):
    """Start a deep rotation of the caller's org, or find the one that runs. ``command_id``, a UUID, becomes its id
    and makes a retry harmless."""

    command_id: str
    caller: Caller


class DeepRotationRequest(Message):
    org: str
    id: str


class SignCheckpointRequest(Message):
    """Sign that the audit log of ``stream`` is at this size and root.

    ``consistency`` is the proof (RFC 6962 section 2.1.2) from ``old_size``, the size signed before; 0 for the first.
    """

    stream: str = Field(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")
    size: int = Field(ge=1)
    root: Binary
    old_size: int = Field(default=0, ge=0)
    consistency: list[Binary] = Field(default_factory=list, max_length=63)


class SignCheckpointReply(Message):
    """``note`` is the checkpoint as a signed note (C2SP tlog-checkpoint)."""

    note: str
    key_id: str


class SignExportRequest(Message):
    """Sign that an export of the audit log has this manifest. ``manifest_sha256`` is in hex."""

    manifest_sha256: str = Field(pattern="^[0-9a-f]{64}$")


class SignExportReply(Message):
    """``note`` is the signed note (libs.common.transparency.manifest)."""

    note: str
    key_id: str


class CheckpointKeysRequest(Message):
    pass


class CheckpointKey(Message):
    """An Ed25519 public key. ``retired_at`` is empty for the one that signs now."""

    id: str
    public: Binary
    created_at: str
    retired_at: str = ""


class CheckpointKeysReply(Message):
    """``keys`` oldest first; ``installation`` is part of every log's origin (libs.common.transparency.origin)."""

    installation: str
    keys: list[CheckpointKey]


_QUEUE = "keys"
SIGN_CHECKPOINT = Endpoint(
    "kt.keys.v1.sign_checkpoint", _QUEUE, SignCheckpointRequest, SignCheckpointReply, "Sign a state of the audit log"
)
SIGN_EXPORT = Endpoint(
    "kt.keys.v1.sign_export", _QUEUE, SignExportRequest, SignExportReply, "Sign the manifest of an export"
)
CHECKPOINT_KEYS = Endpoint(
    "kt.keys.v1.checkpoint_keys",
    _QUEUE,
    CheckpointKeysRequest,
    CheckpointKeysReply,
    "Keys that verify states of the audit log",
)
TRANSPORT_KEY = Endpoint(
    "kt.keys.v1.transport_key", _QUEUE, TransportKeyRequest, TransportKeyReply, "The key that values are boxed for"
)
SEAL = Endpoint("kt.keys.v1.seal", _QUEUE, SealRequest, SealReply, "Seal a value")
RESEAL = Endpoint("kt.keys.v1.reseal", _QUEUE, ResealRequest, SealReply, "Seal an older value anew")
OPEN = Endpoint("kt.keys.v1.open", _QUEUE, OpenRequest, OpenReply, "Open values for one recipient")
LEGACY_ROWS = Endpoint(
    "kt.keys.v1.legacy_rows", _QUEUE, LegacyRowsRequest, LegacyRowsReply, "Older plaintext rows, without values"
)
TAKE_OVER = Endpoint("kt.keys.v1.take_over", _QUEUE, TakeOverRequest, TakeOverReply, "Seal an older row's value")
LEGACY_STATUS = Endpoint(
    "kt.keys.v1.legacy_status", _QUEUE, LegacyStatusRequest, LegacyStatusReply, "What is left of the older rows"
)
SIGN_CLIENT_TOKEN = Endpoint(
    "kt.keys.v1.sign_client_token",
    _QUEUE,
    SignClientTokenRequest,
    SignClientTokenReply,
    "Sign a token for a gateway's client",
)
SIGN_WEBHOOK = Endpoint(
    "kt.keys.v1.sign_webhook", _QUEUE, SignWebhookRequest, SignWebhookReply, "Sign a delivery to a webhook"
)
CLIENT_KEYS = Endpoint(
    "kt.keys.v1.client_jwks", _QUEUE, ClientKeysRequest, ClientKeysReply, "Keys that verify client tokens"
)
DEEP_ROTATE = Endpoint(
    "kt.keys.v1.deep_rotate", _QUEUE, DeepRotateRequest, DeepRotationView, "Replace an org's keys and wrap anew"
)
DEEP_ROTATION = Endpoint(
    "kt.keys.v1.deep_rotation", _QUEUE, DeepRotationRequest, DeepRotationView, "How far a deep rotation is"
)
PRESENT = Endpoint(
    "kt.keys.v1.present", _QUEUE, PresentRequest, PresentReply, "Is there an instance that is not superseded?"
)
STATUS = Endpoint("kt.keys.v1.status", _QUEUE, KeysStatusRequest, KeysStatusReply, "Keys in use")
