"""The key service: keyring and sealed store. Values enter and leave it only inside HPKE boxes."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from libs.common.clock import SystemClock
from libs.common.ids import Uuid7Factory
from libs.common.legacy_table import TableName
from libs.common.names import checked_org
from libs.common.postgres import Pool, open_pool
from libs.common.projection import ProjectionRunner
from libs.common.service import Service, run_service
from libs.common.stream_reader import stream_range
from services.keys.adapters.deep_rotation import PostgresDamagedValues, PostgresDeepRotations
from services.keys.adapters.legacy_table import PostgresLegacyClaims, PostgresLegacyTable, open_legacy_pool
from services.keys.adapters.postgres import (
    PostgresKeyringStore,
    PostgresRestoreNotices,
    PostgresRotationNotices,
    PostgresSealedStore,
)
from services.keys.adapters.projection import KeysProjection
from services.keys.adapters.recorder import BusBackupRecorder, BusRotationRecorder
from services.keys.adapters.rpc import KeysEndpoints
from services.keys.adapters.scrubber import Scrubber
from services.keys.adapters.signed_heads import PostgresSignedHeads
from services.keys.adapters.successor import BusSuccessor
from services.keys.application.backups import Backups
from services.keys.application.checkpoint_signing import CheckpointSigner
from services.keys.application.client_tokens import ClientTokens
from services.keys.application.damage import Damages
from services.keys.application.deep_rotation import DeepRotator
from services.keys.application.destruction import Sweeper
from services.keys.application.forge import Forge
from services.keys.application.keyring import Keyring
from services.keys.application.legacy import LegacyRows, RowRemover
from services.keys.application.notices import DeepRotationSender, NoticeSender
from services.keys.application.open_keyring import open_keyring
from services.keys.application.opening import Opening, Unsealer
from services.keys.application.ports import BackupRecorder, LegacyTable
from services.keys.application.sealing import Sealing
from services.keys.application.status import Status
from services.keys.application.succession import Succession
from services.keys.application.webhook_signatures import WebhookSignatures
from services.keys.settings import (
    KeysSettings,
    MasterKeys,
    legacy_dsn_from_environment,
    master_keys_from_environment,
)

log = logging.getLogger(__name__)

SCHEMA: Final = "keys"
POOL_SIZE: Final = 8
"""One connection leads the projection; commits of concurrent seals share a flush."""


@asynccontextmanager
async def compose(service: Service, settings: KeysSettings) -> AsyncIterator[None]:
    masters = master_keys_from_environment()
    async with open_pool(settings.postgres_dsn, SCHEMA, POOL_SIZE) as pool, legacy_table(settings) as table:
        parts = await build(pool, masters, settings.legacy_org, table, BusBackupRecorder(service.client))
        await parts.endpoints.backups.record_restores()
        parts.endpoints.serve(service.rpc)
        projection = KeysProjection()
        runner = ProjectionRunner(service.nc, pool, projection)

        async def caught_up() -> bool:
            _, last = await stream_range(service.nc, projection.stream)
            return runner.position >= last

        sweeper = Sweeper(PostgresSealedStore(pool), SystemClock(), caught_up)
        recorder = BusRotationRecorder(service.client)
        service.background += [
            runner.run,
            sweeper.run,
            Scrubber(pool).run,
            NoticeSender(PostgresRotationNotices(pool), recorder).run,
            DeepRotationSender(PostgresDeepRotations(pool), recorder).run,
            parts.endpoints.rotator.run,
            parts.damages.run,
            Succession(
                parts.endpoints.keyring,
                PostgresKeyringStore(pool),
                BusSuccessor(service.client).is_there,
                service.rpc.decline,
            ).run,
        ]
        if table is not None:
            service.background.append(RowRemover(table, PostgresLegacyClaims(pool, SystemClock())).run)
        service.positions = lambda: {projection.name: runner.position}
        yield


@asynccontextmanager
async def legacy_table(settings: KeysSettings) -> AsyncIterator[PostgresLegacyTable | None]:
    """The table of older plaintext rows; None where none is configured."""
    conninfo = legacy_dsn_from_environment()
    if conninfo is None:
        yield None
        return
    checked_org(settings.legacy_org)
    name = TableName.parse(settings.legacy_table)
    async with open_legacy_pool(conninfo) as pool:
        yield PostgresLegacyTable(pool, name)


@dataclass(frozen=True, slots=True)
class Parts:
    """The use cases on an open keyring."""

    endpoints: KeysEndpoints
    damages: Damages


async def build(
    pool: Pool, masters: MasterKeys, legacy_org: str, table: LegacyTable | None, recorder: BackupRecorder
) -> Parts:
    """Open the keyring and build the use cases on it.

    Raises:
        KtError: ``wrong_master_key`` or ``undecryptable``; nothing is written then.
    """
    keyring_store, sealed_store, rotations = (
        PostgresKeyringStore(pool),
        PostgresSealedStore(pool),
        PostgresDeepRotations(pool),
    )
    clock = SystemClock()
    forge = Forge(masters.current, Uuid7Factory(clock), clock, os.urandom)
    opened = await open_keyring(keyring_store, forge, masters.previous)
    log.info(
        "keyring.opened",
        extra={
            "master": masters.current.fingerprint,
            "keys": len(opened.keys),
            "rewrapped": opened.rewrapped,
            "superseded": opened.superseded,
        },
    )
    keyring = Keyring(keyring_store, forge, opened.keys, masters.previous)
    unsealer = Unsealer(keyring, sealed_store)
    damages = Damages(PostgresDamagedValues(pool), unsealer, clock)
    sealing = Sealing(keyring, sealed_store, forge, unsealer, damages)
    endpoints = KeysEndpoints(
        keyring=keyring,
        sealing=sealing,
        opening=Opening(unsealer, damages),
        client_tokens=ClientTokens(keyring),
        webhook_signatures=WebhookSignatures(unsealer, damages),
        status=Status(keyring_store, rotations, damages, (masters.current, *masters.previous)),
        legacy=LegacyRows(legacy_org, table, PostgresLegacyClaims(pool, clock), sealing),
        rotator=DeepRotator(keyring, keyring_store, rotations, forge),
        master=masters.current,
        checkpoints=CheckpointSigner(keyring, keyring_store, PostgresSignedHeads(pool), clock),
        backups=Backups(keyring_store, PostgresRestoreNotices(pool), recorder),
    )
    return Parts(endpoints, damages)


def main() -> None:
    run_service("keys", KeysSettings, compose)


if __name__ == "__main__":
    main()
