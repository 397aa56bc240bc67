"""What the command service answers: it decides, and appends the events that follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

from pydantic import Field

from libs.common.messaging.rpc import Binary, Endpoint, Message
from libs.common.protocol.parties import Caller


class BoxedValue(Message):
    """A value boxed for the key service, under its transport key ``key_id``."""

    key_id: str
    box: Binary


class SecretCommand(Message):
    """One command on a secret; its kind is that of the endpoint. ``command_id`` makes a retry harmless.

    ``expected_sequence`` is the ``If-Match`` of the caller: the aggregate's last sequence it has seen.
    """

    command: Literal["create", "update", "rotate", "roll_back", "delete", "destroy_version", "take_over"]
    command_id: str
    caller: Caller
    name: str
    value: BoxedValue | None = None
    description: str | None = None
    sensitive: bool | None = None
    to_version: int | None = None
    version: int | None = None
    expected_sequence: int | None = None


class SecretOutcome(Message):
    """What came of a command: the event that was stored and the secret's state behind it."""

    name: str
    version: int
    description: str
    sensitive: bool
    deleted: bool
    sequence: int
    created_at: str
    updated_at: str
    event_id: str
    replayed: bool


class EnrollGateway(Message):
    """Put on record what a gateway may resolve with the token ``token_id``."""

    command_id: str
    caller: Caller
    gateway: str
    token_id: str
    references: tuple[str, ...]


class RecordToken(Message):
    """Put the issue of a token on record, before it is handed out."""

    command_id: str
    caller: Caller
    token_id: str
    role: str
    name: str
    expires_at: int
    key_id: str
    references: tuple[str, ...]


class RecordSigningKeys(Message):
    """Put on record which keys of access tokens are in force, by key id; the last one signs.

    ``before`` are those the same process had until now; empty at its start. Of several processes that make the same
    change one gets it on record.
    """

    command_id: str
    caller: Caller
    before: tuple[str, ...]
    kids: tuple[str, ...]


class RecordKeyRotation(Message):
    """Put on record that an org's keys were wrapped anew under another master key."""

    command_id: str
    caller: Caller
    from_fingerprint: str
    to_fingerprint: str
    rewrapped: int


class RecordDeepRotation(Message):
    """Put on record that a deep rotation of an org began, or that it is completed."""

    command_id: str
    caller: Caller
    stage: Literal["started", "completed"]
    rotation_id: str
    old_keys: tuple[str, ...]
    new_key: str
    transport_key: str
    data_keys: int
    rewrapped: int = 0
    damaged: int = 0
    destroyed_keys: tuple[str, ...] = ()


class SetRetention(Message):
    """Keep the audit log for ``days``. Fewer than 365 have to be ``understood``."""

    command_id: str
    caller: Caller
    days: int
    understood: bool


class AddHold(Message):
    """Keep what was recorded from ``begins`` up to ``ends`` (None: without end), however old it gets."""

    command_id: str
    caller: Caller
    hold: str
    begins: datetime
    ends: datetime | None
    reason: str


class RemoveHold(Message):
    command_id: str
    caller: Caller
    hold: str
    reason: str


class Retired(Message):
    """The entries of one stream in a month; ``root`` is hex."""

    stream: str
    first_sequence: int
    last_sequence: int
    entries: int
    tree_size: int
    root: str


class ApplyRetention(Message):
    """Put on record that a month of the audit log is about to be removed."""

    command_id: str
    caller: Caller
    period: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    days: int
    ranges: tuple[Retired, ...]
    manifest_digest: str


class RebuiltState(Message):
    """``root`` is hex."""

    stream: str
    size: int
    root: str


class RecordRebuild(Message):
    """Put on record that the audit log was rebuilt."""

    command_id: str
    caller: Caller
    requested_by: str
    entries: int
    trees: tuple[RebuiltState, ...]


class Recorded(Message):
    sequence: int


_QUEUE = "command"
CONFIG_VARIABLE = Endpoint(
    "kt.cmd.v1.config_variable", _QUEUE, SecretCommand, SecretOutcome, "Change a config variable"
)
GIT_TOKEN = Endpoint("kt.cmd.v1.git_token", _QUEUE, SecretCommand, SecretOutcome, "Change a Git access token")
SECRETS: Final[Mapping[str, Endpoint[SecretCommand, SecretOutcome]]] = MappingProxyType(
    {"config_variable": CONFIG_VARIABLE, "git_token": GIT_TOKEN}
)
"""By kind of secret."""

GATEWAY = Endpoint("kt.cmd.v1.gateway", _QUEUE, EnrollGateway, Recorded, "Enroll a gateway")
TOKEN = Endpoint("kt.cmd.v1.token", _QUEUE, RecordToken, Recorded, "Record the issue of a token")
SIGNING_KEYS = Endpoint(
    "kt.cmd.v1.signing_keys", _QUEUE, RecordSigningKeys, Recorded, "Record a change of the keys of access tokens"
)
DEEP_ROTATION = Endpoint("kt.cmd.v1.deep_rotation", _QUEUE, RecordDeepRotation, Recorded, "Record a deep rotation")
ENCRYPTION_KEY = Endpoint(
    "kt.cmd.v1.encryption_key", _QUEUE, RecordKeyRotation, Recorded, "Record a rotation of the master key"
)


class WebhookCommand(Message):
    """One command on a webhook. What an update leaves out stays as it is.

    ``secret`` is for create and rotate_secret, boxed for the kind ``webhook_secret`` under the webhook's id; ``made``
    says that it was made for this very request, so that a repeated one brings another.
    """

    command: Literal["create", "update", "rotate_secret", "delete"]
    command_id: str
    caller: Caller
    webhook: str
    url: str | None = None
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    enabled: bool | None = None
    secret: BoxedValue | None = None
    made: bool = False
    overlap_s: int | None = None
    expected_sequence: int | None = None


class WebhookOutcome(Message):
    """The webhook behind a command. ``replayed``: an earlier request did it, so a secret of this one is not in force.

    ``overlap_until`` is empty unless older secrets are valid.
    """

    id: str
    url: str
    event_types: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str
    overlap_until: str
    sequence: int
    created_at: str
    updated_at: str
    replayed: bool


class WebhookUpkeep(Message):
    """What follows of itself: old secrets whose overlap is over are retired, an address that is gone is disabled."""

    command: Literal["retire_secrets", "disable"]
    command_id: str
    caller: Caller
    webhook: str
    reason: str = ""


class ProvenEvent(Message):
    """An event's bytes, and the inclusion proof (RFC 6962 section 2.1.1) from them to the root of a checkpoint."""

    body: Binary
    path: list[Binary] = Field(max_length=63)


class RestoreEvents(Message):
    """Append ``items`` at the end of ``KT_EVENTS``, the first of them at the sequence ``first``.

    ``note`` is the signed checkpoint that all of them are proven by.
    """

    first: int = Field(ge=1)
    items: list[ProvenEvent] = Field(min_length=1, max_length=64)
    note: str


class Restored(Message):
    """The stream holds the events up to ``last``."""

    last: int


WEBHOOK = Endpoint("kt.cmd.v1.webhook", _QUEUE, WebhookCommand, WebhookOutcome, "Change a webhook")
WEBHOOK_UPKEEP = Endpoint(
    "kt.cmd.v1.webhook_upkeep", _QUEUE, WebhookUpkeep, Recorded, "Retire old secrets, disable what is gone"
)
AUDIT_RETENTION = Endpoint(
    "kt.cmd.v1.audit_log.set_retention", _QUEUE, SetRetention, Recorded, "Set how long the audit log is kept"
)
AUDIT_ADD_HOLD = Endpoint("kt.cmd.v1.audit_log.add_hold", _QUEUE, AddHold, Recorded, "Hold a span of the audit log")
AUDIT_REMOVE_HOLD = Endpoint("kt.cmd.v1.audit_log.remove_hold", _QUEUE, RemoveHold, Recorded, "Remove a hold")
AUDIT_APPLY_RETENTION = Endpoint(
    "kt.cmd.v1.audit_log.apply_retention", _QUEUE, ApplyRetention, Recorded, "Record that a month of the log goes"
)
RESTORE_EVENTS = Endpoint(
    "kt.cmd.v1.audit_log.restore_events", _QUEUE, RestoreEvents, Restored, "Give the stream back what was cut off"
)
AUDIT_RECORD_REBUILD = Endpoint(
    "kt.cmd.v1.audit_log.record_rebuild", _QUEUE, RecordRebuild, Recorded, "Record that the log was rebuilt"
)
