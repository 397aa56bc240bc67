"""What the key service knows of its keys, as messages."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.clock import rfc3339
from libs.common.protocol import keys as protocol
from services.keys.domain.damage import Damage
from services.keys.domain.deep_rotation import DeepRotation
from services.keys.domain.keyring import KeyringEntry
from services.keys.domain.status import KeysStatus, KeyUse, MasterUse, summary


def status(found: KeysStatus) -> protocol.KeysStatusReply:
    return protocol.KeysStatusReply(
        master_fingerprint=found.wrapped_under,
        previous_fingerprint=", ".join(found.previous),
        entries=[_key(use) for use in found.keys],
        masters=[_master(use) for use in found.masters],
        deep_rotation=None if found.deep_rotation is None else deep_rotation(found.deep_rotation),
        damaged=[_damaged(damage) for damage in found.damaged],
        summary=list(summary(found)),
    )


def deep_rotation(found: DeepRotation) -> protocol.DeepRotationView:
    return protocol.DeepRotationView(
        id=found.id,
        state="running" if found.completed_at is None else "completed",
        started_at=rfc3339(found.started_at),
        started_by=f"{found.requester.actor_type}/{found.requester.actor_id}",
        completed_at=None if found.completed_at is None else rfc3339(found.completed_at),
        data_keys=found.data_keys,
        rewrapped=found.rewrapped,
        damaged=found.damaged,
        old_keys=list(found.old_keys),
        new_key=found.new_key,
        transport_key=found.transport_key,
        destroyed_keys=list(found.destroyed_keys),
    )


def checkpoint_keys(installation: str, entries: Sequence[KeyringEntry]) -> protocol.CheckpointKeysReply:
    return protocol.CheckpointKeysReply(
        installation=installation,
        keys=[
            protocol.CheckpointKey(
                id=entry.id,
                public=entry.public,
                created_at=rfc3339(entry.created_at),
                retired_at=rfc3339(entry.retired_at) if entry.retired_at else "",
            )
            for entry in entries
        ],
    )


def _key(use: KeyUse) -> protocol.KeyStatus:
    return protocol.KeyStatus(
        id=use.entry.id,
        purpose=use.entry.purpose,
        algorithm=use.entry.algorithm,
        master_fingerprint=use.entry.master_fingerprint,
        created_at=rfc3339(use.entry.created_at),
        sealed_values=use.sealed_values,
        state=use.state.value,
    )


def _master(use: MasterUse) -> protocol.MasterKeyStatus:
    return protocol.MasterKeyStatus(fingerprint=use.fingerprint, given=use.given, keys=use.keys)


def _damaged(damage: Damage) -> protocol.DamagedValue:
    return protocol.DamagedValue(
        sealed_id=damage.sealed_id,
        kind=damage.kind,
        name=damage.name,
        why=damage.why,
        found_at=rfc3339(damage.found_at),
    )
