"""Commands that put on record what another part did: gateways, the keys of tokens, the keys of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.common.events import Resource
from libs.common.events.encryption_key import DeepRotationCompleted, DeepRotationStarted
from libs.common.names import checked_identity
from libs.common.protocol.command import (
    EnrollGateway,
    RecordDeepRotation,
    Recorded,
    RecordKeyRotation,
    RecordSigningKeys,
)
from services.command.application.aggregates import Aggregates
from services.command.domain.deep_rotation import DEEP_ROTATION, Record
from services.command.domain.encryption_key import ENCRYPTION_KEY, RecordRotation
from services.command.domain.gateway import GATEWAY, Enroll
from services.command.domain.signing_keys import SIGNING_KEYS, RecordKeys

MASTER_KEY: Final = Resource("encryption_key", "master")
TOKEN_KEYS: Final = Resource("signing_keys", "jwt")
DATA_KEYS: Final = Resource("encryption_key", "key-encryption")


@dataclass(frozen=True, slots=True)
class Records:
    aggregates: Aggregates

    async def enroll(self, _subject: str, request: EnrollGateway) -> Recorded:
        resource = Resource("gateway", checked_identity(request.gateway))
        command = Enroll(request.token_id, request.references)
        sequence = await self.aggregates.carry_out(GATEWAY, command, resource, request.caller, request.command_id)
        return Recorded(sequence=sequence)

    async def record_signing_keys(self, _subject: str, request: RecordSigningKeys) -> Recorded:
        command = RecordKeys(request.before, request.kids)
        sequence = await self.aggregates.carry_out(
            SIGNING_KEYS, command, TOKEN_KEYS, request.caller, request.command_id
        )
        return Recorded(sequence=sequence)

    async def record_key_rotation(self, _subject: str, request: RecordKeyRotation) -> Recorded:
        command = RecordRotation(request.from_fingerprint, request.to_fingerprint, request.rewrapped)
        sequence = await self.aggregates.carry_out(
            ENCRYPTION_KEY, command, MASTER_KEY, request.caller, request.command_id
        )
        return Recorded(sequence=sequence)

    async def record_deep_rotation(self, _subject: str, request: RecordDeepRotation) -> Recorded:
        command = Record(_event(request))
        sequence = await self.aggregates.carry_out(
            DEEP_ROTATION, command, DATA_KEYS, request.caller, request.command_id
        )
        return Recorded(sequence=sequence)


def _event(request: RecordDeepRotation) -> DeepRotationStarted | DeepRotationCompleted:
    if request.stage == "started":
        return DeepRotationStarted(
            rotation_id=request.rotation_id,
            old_keys=request.old_keys,
            new_key=request.new_key,
            transport_key=request.transport_key,
            data_keys=request.data_keys,
        )
    return DeepRotationCompleted(
        rotation_id=request.rotation_id,
        new_key=request.new_key,
        rewrapped=request.rewrapped,
        damaged=request.damaged,
        destroyed_keys=request.destroyed_keys,
    )
