"""What the resolver answers: values for those entitled to them, and the current state of secrets and gateways."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from libs.common.messaging.rpc import Binary, Endpoint, Message
from libs.common.protocol.parties import Caller

MAX_REFERENCES = 100
"""References in one resolve request."""

MAX_REPORT_TARGETS = 60
"""Targets in one part of a gateway's report: with the longest names an event of 16 KiB holds them."""

MAX_REPORT_PARTS = 20

Purpose = Literal["startup", "reload", "rotation", "reconnect", "request"]


class ResolveForCaller(Message):
    """Resolve for a machine that asked over HTTP. ``references_allowed`` are the globs of its token."""

    caller: Caller
    references_allowed: tuple[str, ...]
    references: list[str] = Field(min_length=1, max_length=MAX_REFERENCES)
    recipient_key: Binary
    purpose: Purpose = "request"


class ResolveForGateway(Message):
    """Resolve for the gateway that the subject names; the server enforced that name.

    References are names of config variables, and those of other kinds with their kind: ``git_token/NAME``.
    """

    references: list[str] = Field(min_length=1, max_length=MAX_REFERENCES)
    recipient_key: Binary
    purpose: Purpose


class Resolution(Message):
    """The fate of one reference. ``reason``: not_found, deleted, not_permitted, undecryptable, invalid_reference,
    unavailable. Version and sequence are 0 for the value of an older plaintext row."""

    reference: str
    status: Literal["resolved", "failed"]
    version: int = 0
    sequence: int = 0
    reason: str = ""


class ResolveReply(Message):
    """In the order asked. ``box`` holds JSON ``{reference: base64 value}`` for what was resolved."""

    results: list[Resolution]
    box: Binary | None


class RevealRequest(Message):
    """The value of a variable that is not sensitive, for the API to show."""

    caller: Caller
    name: str
    recipient_key: Binary


KindOfSecret = Literal["config_variable", "git_token"]


class GetSecret(Message):
    org: str
    kind: KindOfSecret = "config_variable"
    name: str


class SecretView(Message):
    """``legacy``: an older plaintext row. It has no history yet: version and sequence are 0, the times empty."""

    name: str
    description: str
    sensitive: bool
    version: int
    sequence: int
    created_at: str
    updated_at: str
    legacy: bool = False


class ListSecrets(Message):
    """Names behind ``after``, in byte order. Shows every write acknowledged before the request.

    With ``legacy`` older plaintext rows alone.
    """

    org: str
    kind: KindOfSecret = "config_variable"
    prefix: str = ""
    after: str = ""
    limit: int = Field(default=50, ge=1, le=500)
    legacy: bool = False


class SecretList(Message):
    """``after`` is what the next page's ``after`` has to be when there may be ``more``; a page may be short."""

    items: list[SecretView]
    more: bool
    after: str = ""


class SecretHistory(Message):
    """Every event of a name, oldest first."""

    items: list[HistoryEntry]


class HistoryEntry(Message):
    """``value_state`` is what became of the value that the event brought: current, kept, destroyed; else empty."""

    sequence: int
    event_id: str
    type: str
    time: str
    action: str
    version: int
    actor_type: str
    actor_id: str
    from_version: int = 0
    value_state: Literal["", "current", "kept", "destroyed"] = ""


class ListGateways(Message):
    org: str


class GatewayTarget(Message):
    """``store`` is ``store`` or ``env``; ``version`` is the one Envoy acknowledged, 0 for environment references."""

    target: str
    store: str
    reference: str
    version: int


class AppliedSource(Message):
    repository: str
    path: str
    ref: str
    commit: str
    config_digest: str
    applied_at: str


class GatewayView(Message):
    """A gateway and its last report; ``seen_at`` is empty before the first. ``references`` are its globs.

    ``source`` is the commit that its configuration comes from, when that is in a repository.
    """

    name: str
    config_digest: str
    targets: list[GatewayTarget]
    seen_at: str
    references: list[str]
    source: AppliedSource | None = None


class GatewayList(Message):
    items: list[GatewayView]


class GatewayBootstrap(Message):
    pass


class GatewayBootstrapReply(Message):
    """``revoked_clients`` are the ids (``jti``) of client tokens that were revoked and have not expired."""

    org: str
    client_jwks: dict[str, Any]
    revoked_clients: list[str] = Field(default_factory=list)


class ConfigSource(Message):
    """A file in a repository, as of one commit. ``ref`` is empty for the repository's HEAD."""

    repository: str = Field(max_length=2048)
    path: str = Field(max_length=2048)
    ref: str = Field(default="", max_length=2048)
    commit: str = Field(pattern="^[0-9a-f]{40}$")


class AuditPolicy(Message):
    """``retention_days`` is 0 when the config asks for nothing."""

    retention_days: int = Field(ge=0, le=36_500)
    log_all_access: bool


class GatewayReport(Message):
    """What a gateway says of itself. Those about targets name all of them, in parts; those of a source have one."""

    kind: Literal[
        "config_loaded",
        "config_reloaded",
        "reload_refused",
        "version_adopted",
        "config_source_applied",
        "config_source_refused",
        "audit_policy_applied",
    ]
    config_digest: str = ""
    reason: str = ""
    source: ConfigSource | None = None
    policy: AuditPolicy | None = None
    part: int = Field(default=0, ge=0, lt=MAX_REPORT_PARTS)
    parts: int = Field(default=1, ge=1, le=MAX_REPORT_PARTS)
    targets: list[GatewayTarget] = Field(default_factory=list, max_length=MAX_REPORT_TARGETS)


class Noted(Message):
    pass


_QUEUE = "resolver"
RESOLVE = Endpoint("kt.resolver.v1.resolve", _QUEUE, ResolveForCaller, ResolveReply, "Resolve for a machine")
REVEAL = Endpoint("kt.resolver.v1.reveal", _QUEUE, RevealRequest, ResolveReply, "Value of a non-sensitive variable")
GET = Endpoint("kt.resolver.v1.get", _QUEUE, GetSecret, SecretView, "One secret, without its value")
LIST = Endpoint("kt.resolver.v1.list", _QUEUE, ListSecrets, SecretList, "A page of secrets of one kind")
HISTORY = Endpoint("kt.resolver.v1.history", _QUEUE, GetSecret, SecretHistory, "What happened to a secret")
GATEWAYS = Endpoint("kt.resolver.v1.gateways", _QUEUE, ListGateways, GatewayList, "Gateways and what they use")
GATEWAY_RESOLVE = Endpoint("kt.gw.v1.*.*.*.resolve", _QUEUE, ResolveForGateway, ResolveReply, "Resolve for a gateway")
GATEWAY_BOOTSTRAP = Endpoint(
    "kt.gw.v1.*.*.*.bootstrap", _QUEUE, GatewayBootstrap, GatewayBootstrapReply, "What a gateway needs to begin"
)
GATEWAY_REPORT = Endpoint("kt.gw.v1.*.*.*.report", _QUEUE, GatewayReport, Noted, "What a gateway loaded or adopted")
