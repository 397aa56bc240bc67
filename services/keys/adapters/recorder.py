"""The command service over the bus: it alone writes events."""

from __future__ import annotations

from typing import Final

from libs.common.ids import derived_id
from libs.common.messaging.connection import WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.backups import (
    RECORD_BACKUP,
    RECORD_RESTORE,
    AuthenticateBackup,
    RecordBackup,
    RecordRestore,
    archive_id,
)
from libs.common.protocol.command import DEEP_ROTATION, ENCRYPTION_KEY, RecordDeepRotation, RecordKeyRotation
from libs.common.protocol.parties import Caller
from services.keys.application.ports import RestoreNotice, RotationNotice
from services.keys.domain.deep_rotation import DeepRotation

MAX_NAMED: Final = 100
"""Keys named in one event, which has a limited size. A key is only kept for values that are damaged."""


class BusRotationRecorder:
    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def record(self, notice: RotationNotice) -> None:
        request = RecordKeyRotation(
            command_id=notice.id,
            caller=Caller(org=notice.org, actor_type="service", actor_id="keys", request_id=notice.id),
            from_fingerprint=notice.from_fingerprint,
            to_fingerprint=notice.to_fingerprint,
            rewrapped=notice.rewrapped,
        )
        await self._client.call(ENCRYPTION_KEY, request)

    async def record_deep_rotation(self, rotation: DeepRotation) -> None:
        """The start by who asked for it; the completion by this service, with the request it began with."""
        who = rotation.requester
        completed = rotation.completed_at is not None
        caller = Caller(
            org=rotation.org,
            actor_type="service" if completed else who.actor_type,
            actor_id="keys" if completed else who.actor_id,
            request_id=who.request_id,
            source_ip="" if completed else who.source_ip,
            user_agent="" if completed else who.user_agent,
        )
        request = RecordDeepRotation(
            command_id=derived_id("deep-rotation", rotation.id, "completed" if completed else "started"),
            caller=caller,
            stage="completed" if completed else "started",
            rotation_id=rotation.id,
            old_keys=rotation.old_keys[-MAX_NAMED:],
            new_key=rotation.new_key,
            transport_key=rotation.transport_key,
            data_keys=rotation.data_keys,
            rewrapped=rotation.rewrapped,
            damaged=rotation.damaged,
            destroyed_keys=rotation.destroyed_keys[-MAX_NAMED:],
        )
        await self._client.call(DEEP_ROTATION, request)


class BusBackupRecorder:
    """Each event names the bus identity that acted: the server lets nobody else ask for a mark, or fill engines."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def record_backup(self, org: str, made: AuthenticateBackup) -> None:
        command_id = derived_id("backup-created", made.manifest_sha256, org)
        request = RecordBackup(
            command_id=command_id,
            caller=Caller(org=org, actor_type="service", actor_id="backup", request_id=command_id),
            archive_id=archive_id(made.manifest_sha256),
            made=made,
        )
        await self._client.call(RECORD_BACKUP, request, timeout_s=WITHIN_REQUEST_TIMEOUT_S)

    async def record_restore(self, org: str, notice: RestoreNotice) -> None:
        command_id = derived_id("backup-restored", notice.id, org)
        request = RecordRestore(
            command_id=command_id,
            caller=Caller(org=org, actor_type="service", actor_id="provisioner", request_id=command_id),
            archive_id=archive_id(notice.manifest_sha256),
            manifest_sha256=notice.manifest_sha256,
            taken_at=notice.taken_at,
            restored_at=notice.restored_at,
            into=notice.into,
        )
        await self._client.call(RECORD_RESTORE, request)
