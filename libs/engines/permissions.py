"""Who may do what on the bus: one row per service, enforced by the NATS server.

Direct Get, consumers and flow control are JetStream API subjects (NATS ADR-31, ADR-15). Nobody but the provisioner
may change a stream: immutability is a matter of permissions, because the stream flags alone do not survive
``$JS.API.STREAM.UPDATE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from libs.common.messaging.connection import service_inbox
from libs.common.messaging.identities import Permissions
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS

PROVISIONER: Final = "provisioner"
BACKUP: Final = "backup"


def _read(stream: str) -> tuple[str, ...]:
    return (f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>")


def _newest(stream: str) -> tuple[str, ...]:
    """Asked of the stream's leader; replicas that answer Direct Get may be behind."""
    return (f"$JS.API.STREAM.MSG.GET.{stream}",)


def _info(stream: str) -> tuple[str, ...]:
    return (f"$JS.API.STREAM.INFO.{stream}",)


def _consume(stream: str) -> tuple[str, ...]:
    return (
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        f"$JS.ACK.{stream}.>",
        f"$JS.FC.{stream}.>",
    )


def _snapshot(stream: str) -> tuple[str, ...]:
    return (f"$JS.API.STREAM.SNAPSHOT.{stream}", f"$JS.SNAPSHOT.ACK.{stream}.>")


def _service(name: str, *, publish: tuple[str, ...], serves: tuple[str, ...] = ()) -> Permissions:
    """Served subjects are open to members of the service's queue group only, so each request is handled once."""
    return Permissions(
        publish=publish,
        subscribe=(f"{service_inbox(name)}.>", f"kt.health.v1.{name}", *(f"{subject} {name}" for subject in serves)),
        responses=1,
    )


SERVICES: Final[Mapping[str, Permissions]] = MappingProxyType(
    {
        "api": _service(
            "api",
            publish=(
                "kt.cmd.v1.config_variable",
                "kt.cmd.v1.git_token",
                "kt.cmd.v1.gateway",
                "kt.cmd.v1.token",
                "kt.cmd.v1.revoke_token",
                "kt.cmd.v1.audit_log.set_retention",
                "kt.cmd.v1.audit_log.add_hold",
                "kt.cmd.v1.audit_log.remove_hold",
                "kt.cmd.v1.signing_keys",
                "kt.cmd.v1.webhook",
                "kt.keys.v1.transport_key",
                "kt.keys.v1.sign_client_token",
                "kt.keys.v1.client_jwks",
                "kt.keys.v1.status",
                "kt.keys.v1.legacy_status",
                "kt.keys.v1.deep_rotate",
                "kt.keys.v1.deep_rotation",
                "kt.resolver.v1.resolve",
                "kt.resolver.v1.reveal",
                "kt.resolver.v1.get",
                "kt.resolver.v1.list",
                "kt.resolver.v1.history",
                "kt.resolver.v1.gateways",
                "kt.resolver.v1.tokens",
                "kt.resolver.v1.revocations",
                "kt.access.v1.*.token.*",
                "kt.audit.v1.list",
                "kt.webhooks.v1.admit",
                "kt.webhooks.v1.get",
                "kt.webhooks.v1.list",
                "kt.webhooks.v1.deliveries",
                "kt.webhooks.v1.redeliver",
                "kt.webhooks.v1.test",
                "kt.access.v1.*.audit_log.*",
                "kt.access.v1.*.operation.*",
                "kt.audit.v1.checkpoint",
                "kt.audit.v1.checkpoint_keys",
                "kt.audit.v1.prove",
                "kt.audit.v1.consistency",
                "kt.audit.v1.examine",
                "kt.audit.v1.keeping",
                "kt.audit.v1.rebuild",
                "kt.audit.v1.rebuild_status",
                "kt.audit.v1.open_export",
                "kt.audit.v1.find_export",
                "kt.audit.v1.export_piece",
                "kt.health.v1.*",
            ),
        ),
        "command": _service(
            "command",
            serves=("kt.cmd.v1.>",),
            publish=(
                "kt.keys.v1.seal",
                "kt.keys.v1.reseal",
                "kt.keys.v1.take_over",
                "kt.keys.v1.checkpoint_keys",
                ALL_EVENTS,
                *_read(EVENTS),
                *_newest(EVENTS),
                *_consume(EVENTS),
            ),
        ),
        "keys": _service(
            "keys",
            serves=("kt.keys.v1.>",),
            publish=(
                "kt.cmd.v1.encryption_key",
                "kt.cmd.v1.deep_rotation",
                "kt.cmd.v1.backup.created",
                "kt.cmd.v1.backup.restored",
                "kt.keys.v1.present",
                *_read(EVENTS),
                *_consume(EVENTS),
                *_info(EVENTS),
            ),
        ),
        "resolver": _service(
            "resolver",
            serves=(
                "kt.resolver.v1.>",
                "kt.gw.v1.*.*.*.resolve",
                "kt.gw.v1.*.*.*.bootstrap",
                "kt.gw.v1.*.*.*.report",
                "kt.gw.v1.*.*.*.access",
            ),
            publish=(
                "kt.keys.v1.open",
                "kt.keys.v1.legacy_rows",
                "kt.keys.v1.client_jwks",
                ALL_ACCESS,
                *_read(EVENTS),
                *_newest(EVENTS),
                *_consume(EVENTS),
                *_info(EVENTS),
                *_read(ACCESS),
                *_newest(ACCESS),
                *_consume(ACCESS),
                *_info(ACCESS),
            ),
        ),
        "audit": _service(
            "audit",
            serves=("kt.audit.v1.>",),
            publish=(
                "kt.keys.v1.sign_checkpoint",
                "kt.keys.v1.sign_export",
                "kt.keys.v1.checkpoint_keys",
                "kt.cmd.v1.audit_log.apply_retention",
                "kt.cmd.v1.audit_log.record_rebuild",
                "kt.cmd.v1.audit_log.restore_events",
                *_read(EVENTS),
                *_consume(EVENTS),
                *_info(EVENTS),
                *_read(ACCESS),
                *_consume(ACCESS),
                *_info(ACCESS),
            ),
        ),
        # It talks to strangers, so it may do least: no event of its own but what became of deliveries.
        "webhooks": _service(
            "webhooks",
            serves=("kt.webhooks.v1.>",),
            publish=(
                "kt.keys.v1.sign_webhook",
                "kt.cmd.v1.webhook_upkeep",
                "kt.access.v1.*.webhook.*",
                "kt.access.v1.*.webhook_request.*",
                *_read(EVENTS),
                *_newest(EVENTS),
                *_consume(EVENTS),
                *_info(EVENTS),
                *_read(ACCESS),
                *_newest(ACCESS),
                *_consume(ACCESS),
                *_info(ACCESS),
            ),
        ),
    }
)
"""Permissions by service name."""

PROVISIONING: Final = Permissions(
    publish=(
        "$JS.API.INFO",
        "$JS.API.STREAM.>",
        "$JS.SNAPSHOT.RESTORE.>",
        *_consume(EVENTS),
        *_consume(ACCESS),
    ),
    subscribe=(f"{service_inbox(PROVISIONER)}.>",),
)

BACKING_UP: Final = Permissions(
    publish=(
        "kt.keys.v1.authenticate_backup",
        *_snapshot(EVENTS),
        *_consume(EVENTS),
        *_info(EVENTS),
        *_snapshot(ACCESS),
        *_consume(ACCESS),
        *_info(ACCESS),
    ),
    subscribe=(f"{service_inbox(BACKUP)}.>",),
)
"""Reads both streams, whole or as the server's snapshots. Nothing it may publish changes
anything but the audit log, where the key service puts each archive before it marks it."""

GATEWAY: Final = Permissions(
    publish=("kt.gw.v1.{{tag(org)}}.{{name()}}.{{tag(token)}}.>",),
    subscribe=("_INBOX.gw.{{tag(org)}}.{{name()}}.{{tag(token)}}.>", "kt.feed.v1.{{tag(org)}}.>"),
)
"""The scope of the gateway signing key: a gateway can only speak as itself, with the token it showed, and hear only
its own org."""
