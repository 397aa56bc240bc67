"""Composition root of the command service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common.clock import SystemClock
from libs.common.event_store import EventStore
from libs.common.ids import Uuid7Factory
from libs.common.protocol import backups as backup_protocol
from libs.common.protocol import command
from libs.common.protocol.tokens import REVOKE_TOKEN
from libs.common.secret_kinds import KINDS
from libs.common.service import Service, run_service
from services.command.adapters.log_keys import BusLogKeys
from services.command.adapters.sealer import BusSealer
from services.command.application.aggregates import Aggregates
from services.command.application.audit_log import AuditLogs
from services.command.application.backups import Backups
from services.command.application.records import Records
from services.command.application.restoring import Restoring
from services.command.application.secrets import Secrets
from services.command.application.tokens import Tokens
from services.command.application.webhooks import SECRET_KIND, Webhooks
from services.command.settings import CommandSettings


@asynccontextmanager
async def compose(service: Service, _settings: CommandSettings) -> AsyncIterator[None]:
    clock = SystemClock()
    aggregates = Aggregates(EventStore(service.nc), clock, Uuid7Factory(clock))
    webhooks = Webhooks(aggregates, BusSealer(service.client, SECRET_KIND), clock)
    records, tokens, audit_logs = Records(aggregates), Tokens(aggregates), AuditLogs(aggregates)
    for name, endpoint in command.SECRETS.items():
        secrets = Secrets(KINDS[name], aggregates, BusSealer(service.client, name))
        service.rpc.serve(endpoint, secrets.handle, direct=True)
    service.rpc.serve(command.GATEWAY, records.enroll)
    service.rpc.serve(command.TOKEN, tokens.record)
    service.rpc.serve(REVOKE_TOKEN, tokens.revoke)
    service.rpc.serve(command.SIGNING_KEYS, records.record_signing_keys)
    service.rpc.serve(command.ENCRYPTION_KEY, records.record_key_rotation)
    service.rpc.serve(command.WEBHOOK, webhooks.handle)
    service.rpc.serve(command.WEBHOOK_UPKEEP, webhooks.keep_up)
    service.rpc.serve(command.DEEP_ROTATION, records.record_deep_rotation)
    service.rpc.serve(command.AUDIT_RETENTION, audit_logs.set_retention)
    service.rpc.serve(command.AUDIT_ADD_HOLD, audit_logs.add_hold)
    service.rpc.serve(command.AUDIT_REMOVE_HOLD, audit_logs.remove_hold)
    service.rpc.serve(command.AUDIT_APPLY_RETENTION, audit_logs.apply_retention)
    log_keys = BusLogKeys(service.client)
    service.background.append(log_keys.keep)
    service.rpc.serve(command.RESTORE_EVENTS, Restoring(log_keys, EventStore(service.nc)).restore)
    service.rpc.serve(command.AUDIT_RECORD_REBUILD, audit_logs.record_rebuild)
    backups = Backups(aggregates)
    service.rpc.serve(backup_protocol.RECORD_BACKUP, backups.record_backup)
    service.rpc.serve(backup_protocol.RECORD_RESTORE, backups.record_restore)
    yield


if __name__ == "__main__":
    run_service("command", CommandSettings, compose)
