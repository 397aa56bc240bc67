"""One example of every event, from which its golden sample is written once and for ever."""

from __future__ import annotations

from typing import Final

from libs.common.events import Actor, Metadata, Origin, Resource
from libs.common.events.audit import (
    AuditExported,
    AuditRead,
    AuditRepaired,
    ExportedRange,
    OperationDenied,
    Repair,
)
from libs.common.events.audit_log import (
    HoldAdded,
    HoldRemoved,
    LogRebuilt,
    ReproducedTree,
    RetentionApplied,
    RetentionSet,
    RetiredRange,
)
from libs.common.events.backup import BackupCreated, BackupRestored, StreamEnd
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableDeleted,
    ConfigVariableResolved,
    ConfigVariableResolveFailed,
    ConfigVariableRevealed,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableTakenOver,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
    LegacyRowResolved,
    LegacyRowRevealed,
)
from libs.common.events.encryption_key import DeepRotationCompleted, DeepRotationStarted, EncryptionKeyRotated
from libs.common.events.gateway import (
    GatewayAuditPolicyApplied,
    GatewayConfigLoaded,
    GatewayConfigReloaded,
    GatewayConfigSourceApplied,
    GatewayConfigSourceRefused,
    GatewayEnrolled,
    GatewayReloadRefused,
    GatewayVersionAdopted,
    TargetReference,
)
from libs.common.events.gateway_access import (
    GatewayAccessLogEnded,
    GatewayAccessLogStarted,
    GatewayRequestFailed,
    GatewayRequestServed,
    GatewayRequestsRefused,
    GatewayRequestsUnrecorded,
    RefusedFrom,
)
from libs.common.events.git_token import (
    GitTokenCreated,
    GitTokenDeleted,
    GitTokenResolved,
    GitTokenResolveFailed,
    GitTokenRolledBack,
    GitTokenRotated,
    GitTokenUpdated,
    GitTokenVersionDestroyed,
)
from libs.common.events.secret import SealedRef
from libs.common.events.token import SigningKeysChanged, TokenIssued, TokenRefused, TokenRevoked
from libs.common.events.webhook import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDelivered,
    WebhookDeliveryFailed,
    WebhookDisabled,
    WebhookRedeliveryRequested,
    WebhookSecretRetired,
    WebhookSecretRotated,
    WebhookTested,
    WebhookUpdated,
)

METADATA: Final = Metadata(
    id="01936c2f-8a10-7c3e-9b1a-2f6d5e4c3b2a",
    time="2026-11-23T07:39:03.192164Z",
    org="default",
    source="keeptrusts/command",
    actor=Actor("operator", "alice"),
    origin=Origin("req-7f3a", "192.0.2.10", "kt/0.1"),
    command_id="5b1f6d3e-0a52-5f7c-8f54-0d7f3b9c1e22",
)

_SEALED = SealedRef("9f0c1c44-6f0e-5a35-8f07-7d8c52f8a001", "3f" * 32)
_TARGETS = (
    TargetReference("openai-primary", "store", "OPENAI_API_KEY", 2),
    TargetReference("local", "env", "LOCAL_API_KEY", 0),
)
_CONFIG_DIGEST = "a1" * 32
_SOURCE = ("https://git.example.com/platform/gateways.git", "policy-config.yaml", "main", "5e" * 20)


def _variable(version: int = 0) -> Resource:
    return Resource("config_variable", "OPENAI_API_KEY", version)


def _git_token(version: int = 0) -> Resource:
    return Resource("git_token", "CONFIG_REPO", version)


_LOG = Resource("audit_log", "log")
_RETIRED = RetiredRange("KT_ACCESS", 1, 48_211, 48_211, 1_204_455, "7e" * 32)
_GATEWAY = Resource("gateway", "keeptrusts-proxy")
_EPOCH = "01936c2f-7c00-7a3e-8b1a-2f6d5e4c3b2a"
_FIRST_AT, _LAST_AT = "2026-11-23T07:39:00.000000Z", "2026-11-23T07:39:03.192164Z"
_WEBHOOK = Resource("webhook", "8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10")
_URL = "https://receiver.example.com/keeptrusts"
_DELIVERY = (
    "b5c8f1de-02f4-5b3a-8a52-6d4f7f3a9b21",
    "01936c2f-9b21-7d4f-8c2b-3f7e6d5c4b3a",
    "kt.config_variable.rotated.v1",
)

_ARCHIVE = Resource("backup", "0d5f8a54-6a0e-5c4f-9a0c-8d1b7e2f3a46")
_DATA_KEYS = Resource("encryption_key", "key-encryption")
_ROTATION = "01936c2f-8a11-7d21-8c40-5b1e9a7f3d02"
_OLD_KEY = "0190a5c2-7b1e-7c4d-9f3a-2b6d8e0f1a3c"
_NEW_KEY = "01936c2f-8a12-7a55-b1de-1c2f7e4a9b60"
_TRANSPORT_KEY = "01936c2f-8a12-7b93-92f0-6d0e3c5b8a17"

EXAMPLES: Final[tuple[tuple[object, Resource], ...]] = (
    (ConfigVariableCreated(1, "OpenAI production API key", sensitive=True, sealed=_SEALED), _variable(1)),
    (ConfigVariableTakenOver(1, "OpenAI production API key", sensitive=True, sealed=_SEALED), _variable(1)),
    (ConfigVariableUpdated("OpenAI key of the search team", sensitive=True), _variable(1)),
    (ConfigVariableRotated(2, _SEALED), _variable(2)),
    (ConfigVariableRolledBack(3, 1, _SEALED), _variable(3)),
    (ConfigVariableDeleted(3), _variable(3)),
    (ConfigVariableVersionDestroyed(1, _SEALED), _variable(1)),
    (ConfigVariableResolved(2, "rotation"), _variable(2)),
    (ConfigVariableResolveFailed("not_found", "startup"), _variable()),
    (ConfigVariableRevealed(1), _variable(1)),
    (LegacyRowResolved("startup"), _variable()),
    (LegacyRowRevealed(), _variable()),
    (GitTokenCreated(1, "Read access to the gateway configuration", sensitive=True, sealed=_SEALED), _git_token(1)),
    (GitTokenUpdated("Read access, expires in March", sensitive=True), _git_token(1)),
    (GitTokenRotated(2, _SEALED), _git_token(2)),
    (GitTokenRolledBack(3, 1, _SEALED), _git_token(3)),
    (GitTokenDeleted(3), _git_token(3)),
    (GitTokenVersionDestroyed(1, _SEALED), _git_token(1)),
    (GitTokenResolved(2, "rotation"), _git_token(2)),
    (GitTokenResolveFailed("not_permitted", "startup"), _git_token()),
    (GatewayEnrolled("01936c2f-8a10", ("OPENAI_*",)), _GATEWAY),
    (GatewayConfigLoaded(_CONFIG_DIGEST, 0, 1, _TARGETS), _GATEWAY),
    (GatewayConfigReloaded(_CONFIG_DIGEST, 0, 1, _TARGETS), _GATEWAY),
    (GatewayReloadRefused(_CONFIG_DIGEST, "unresolved"), _GATEWAY),
    (GatewayConfigSourceApplied(*_SOURCE, _CONFIG_DIGEST), _GATEWAY),
    (GatewayConfigSourceRefused(*_SOURCE, "invalid_config"), _GATEWAY),
    (GatewayAuditPolicyApplied("5c" * 32, 730, log_all_access=True), _GATEWAY),
    (GatewayVersionAdopted(_CONFIG_DIGEST, 0, 1, _TARGETS), _GATEWAY),
    (
        GatewayAccessLogStarted(_EPOCH, 1, "all", "01936c2e-1a00-7d4f-8c2b-3f7e6d5c4b3a", previous_ended=True),
        _GATEWAY,
    ),
    (
        GatewayRequestServed(
            _EPOCH, 2, "openai-primary", "store", "OPENAI_API_KEY", 2, 2, 200, 812_345, 512, 2048, "01936c2f-8a11"
        ),
        _GATEWAY,
    ),
    (
        GatewayRequestFailed(
            *(_EPOCH, 3, "provider_unauthorized", "openai-primary", "store", "OPENAI_API_KEY", 2, 1, 401),
            *(91_204, 512, 164, "01936c2f-8a11"),
        ),
        _GATEWAY,
    ),
    (
        GatewayRequestsRefused(
            _EPOCH, 4, "unauthenticated", 41, _FIRST_AT, _LAST_AT, (RefusedFrom("192.0.2.99", 40),), elsewhere=1
        ),
        _GATEWAY,
    ),
    (
        GatewayRequestsUnrecorded(_EPOCH, 5, "queue_full", 12, exact=True, first_at=_FIRST_AT, last_at=_LAST_AT),
        _GATEWAY,
    ),
    (
        AuditRead("list", "category=secret_management AND resource=OPENAI_API_KEY", continued=False),
        Resource("audit_log", "default"),
    ),
    (
        AuditRepaired("KT_EVENTS", (Repair("row_changed", 17, 17, "repaired"),)),
        Resource("audit_log", "default"),
    ),
    (
        AuditExported(
            "01936c2f-8a10-7c3e-9b1a-2f6d5e4c3b2a",
            "ndjson",
            "category=secret_management",
            "2026-10-01T00:00:00.000000Z",
            "2026-11-01T00:00:00.000000Z",
            (ExportedRange("KT_EVENTS", 18, 52), ExportedRange("KT_ACCESS", 1042, 9310)),
            continued=False,
        ),
        Resource("audit_log", "default"),
    ),
    (
        OperationDenied("insufficient_scope", "config_variables:write", "01936c2f-8a10", 3, _FIRST_AT, _LAST_AT),
        Resource("operation", "rotate_config_variable"),
    ),
    (GatewayAccessLogEnded(_EPOCH, 6, served=1, failed=1, refused=41, unrecorded=12), _GATEWAY),
    (TokenIssued("gateway", "keeptrusts-proxy", 1795419543, "k1", ("*",)), Resource("token", "01936c2f-8a10")),
    (TokenRevoked("gateway", "keeptrusts-proxy", 1795419543), Resource("token", "01936c2f-8a10")),
    (
        TokenRefused("revoked", 17, "2026-11-23T07:38:03.192164Z", "2026-11-23T07:39:02.714020Z", "api"),
        Resource("token", "01936c2f-8a10"),
    ),
    (
        SigningKeysChanged(("2026a", "2026b"), "2026b", added=("2026b",), removed=("2025b",)),
        Resource("signing_keys", "jwt"),
    ),
    (RetentionSet(730), _LOG),
    (HoldAdded("case-17", "2026-01-01T00:00:00.000000Z", "2026-04-01T00:00:00.000000Z", "Inquiry 17"), _LOG),
    (HoldRemoved("case-17", "Inquiry 17 is closed"), _LOG),
    (RetentionApplied("2025-11", 366, (_RETIRED,), "5c" * 32), _LOG),
    (LogRebuilt("admin/alice", 48_213, (ReproducedTree("KT_EVENTS", 1201, "c5" * 32),)), _LOG),
    (
        EncryptionKeyRotated("mk-0123456789abcdef", "mk-fedcba9876543210", 3),
        Resource("encryption_key", "mk-fedcba9876543210"),
    ),
    (
        BackupCreated(
            *("c2" * 32, _FIRST_AT, (StreamEnd("KT_ACCESS", 9310), StreamEnd("KT_EVENTS", 52)), 17),
            master_fingerprints=("mk-fedcba9876543210",),
        ),
        _ARCHIVE,
    ),
    (BackupRestored("c2" * 32, _FIRST_AT, _LAST_AT, "home"), _ARCHIVE),
    (WebhookCreated(_URL, ("kt.config_variable.*",), "Tells the on-call channel", _SEALED), _WEBHOOK),
    (WebhookUpdated(_URL, ("*",), "Tells the on-call channel", enabled=True), _WEBHOOK),
    (WebhookDisabled("gone"), _WEBHOOK),
    (WebhookSecretRotated(_SEALED, "2026-11-24T07:39:03.192164Z"), _WEBHOOK),
    (WebhookSecretRetired((_SEALED,)), _WEBHOOK),
    (WebhookDeleted(), _WEBHOOK),
    (WebhookTested(), _WEBHOOK),
    (WebhookRedeliveryRequested(*_DELIVERY), _WEBHOOK),
    (WebhookDelivered(*_DELIVERY, 2, 200), _WEBHOOK),
    (WebhookDeliveryFailed(*_DELIVERY, 10, 503, "rejected"), _WEBHOOK),
    (DeepRotationStarted(_ROTATION, (_OLD_KEY,), _NEW_KEY, _TRANSPORT_KEY, 1200), _DATA_KEYS),
    (DeepRotationCompleted(_ROTATION, _NEW_KEY, 1199, 1, (_OLD_KEY,)), _DATA_KEYS),
)
