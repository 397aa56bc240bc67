"""The audit service: puts both streams on record and answers questions about them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from nats.aio.client import Client

from libs.common.clock import SystemClock
from libs.common.direct_get import DirectReader
from libs.common.errors import KtError
from libs.common.ids import Uuid7Factory
from libs.common.messaging.bulk import bulk_connection
from libs.common.messaging.connection import ConnectionGuard
from libs.common.postgres import Pool, open_pool
from libs.common.projection import ProjectionRunner
from libs.common.protocol.audit import (
    CHECKPOINT,
    CHECKPOINT_KEYS,
    CONSISTENCY,
    EXAMINE,
    KEEPING,
    LIST,
    PROVE,
    REBUILD,
    REBUILD_STATUS,
)
from libs.common.protocol.exports import EXPORT_PIECE, FIND_EXPORT, OPEN_EXPORT
from libs.common.service import Service, run_service
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS
from services.audit.adapters.archive_directory import ArchiveDirectory
from services.audit.adapters.encoders import FormatEncoders
from services.audit.adapters.entries_projection import EntriesProjection, projection_name
from services.audit.adapters.entries_reader import PostgresEntryReader
from services.audit.adapters.entry_finder import PostgresEntryFinder
from services.audit.adapters.evidence import EvidenceReader
from services.audit.adapters.examiner import StreamExaminer
from services.audit.adapters.export_rows import PostgresRowSource
from services.audit.adapters.export_store import PostgresExportStore, PostgresTiles
from services.audit.adapters.fresh_log import PostgresFreshLog
from services.audit.adapters.kept_log import PostgresKeptLog
from services.audit.adapters.key_service import BusSigner
from services.audit.adapters.places import PostgresPlaces
from services.audit.adapters.rebuild_recorder import BusRebuildRecorder
from services.audit.adapters.rebuilds import PostgresRebuilds
from services.audit.adapters.recording import Recording
from services.audit.adapters.retention_recorder import BusRetentionRecorder
from services.audit.adapters.signed_checkpoints import PostgresCheckpoints, PostgresTrees
from services.audit.adapters.stream_freshness import StreamFreshness
from services.audit.adapters.stream_restorer import StreamRestorer
from services.audit.adapters.tree import StreamTree
from services.audit.application.archiving import Archiving
from services.audit.application.checkpointing import Checkpointing
from services.audit.application.copying import Copying
from services.audit.application.examining import Examining
from services.audit.application.exporting import Exporting
from services.audit.application.keeping import Keeping
from services.audit.application.list_events import ListEventsHandler
from services.audit.application.proving import Proving
from services.audit.application.rebuilding import Rebuilding
from services.audit.application.retention import Retention
from services.audit.application.segments import SegmentMaker
from services.audit.domain.checkpoint import Schedule
from services.audit.domain.copies import parse_targets, parse_witnesses
from services.audit.settings import AuditSettings, bucket_secret, git_token

SUBJECTS: Final = {EVENTS: ALL_EVENTS, ACCESS: ALL_ACCESS}
BATCH: Final = 4000
"""PostgreSQL inserts binary COPY rows 1,000 at a time: in larger batches it works while more rows are prepared."""

POOL_SIZE: Final = 10
"""Two for the projections, up to three for keeping and rebuilding, the others for readers."""

NICE: Final = 10


def yield_to_others() -> None:
    """Let the services that somebody waits for go first: what is on the stream can be put on record a moment later.

    Processes of different sessions are ranked by their autogroup, where the kernel has them (sched(7)).
    """
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE), encoding="ascii")


@asynccontextmanager
async def compose(service: Service, settings: AuditSettings) -> AsyncIterator[None]:
    yield_to_others()
    guard = ConnectionGuard()
    async with (
        bulk_connection(service.name, settings.nats_url, settings.nats_creds, guard) as nc,
        open_pool(settings.postgres_dsn, "audit", POOL_SIZE) as pool,
    ):
        runners = {stream: runner_of(nc, pool, stream) for stream in SUBJECTS}
        recording = Recording(runners)
        service.background.extend((recording.run, guard.until_lost))
        service.positions = lambda: {projection_name(stream): runner.position for stream, runner in runners.items()}
        freshness = StreamFreshness(service.nc, runners)
        service.rpc.serve(LIST, ListEventsHandler(PostgresEntryReader(pool), freshness))
        checkpointing = serve_proofs(service, settings, pool, freshness)
        exporting = serve_exports(service, pool, checkpointing, freshness)
        restorer = StreamRestorer(service.client, checkpointing, PostgresTrees(pool))
        examiners = {
            stream: StreamExaminer(
                pool,
                EvidenceReader(service.nc, pool, stream, subject),
                stream,
                restorer if stream == EVENTS else None,
            )
            for stream, subject in SUBJECTS.items()
        }
        service.rpc.serve(EXAMINE, Examining(examiners, recording.halted).examine)
        keeping = PostgresKeptLog(pool)
        archiving = archiving_into(settings.audit_archive, exporting)
        retention = Retention(keeping, BusRetentionRecorder(service.client), SystemClock(), archiving)
        service.background.append(retention.run)
        service.rpc.serve(KEEPING, Keeping(keeping, freshness))
        serve_rebuilds(service, settings, nc, pool)
        async with copying(settings, pool) as copier:
            if copier is not None:
                service.background.append(lambda: copier.run(SUBJECTS))
            yield


@asynccontextmanager
async def copying(settings: AuditSettings, pool: Pool) -> AsyncIterator[Copying | None]:
    """What brings signed states outside; None when no place is set."""
    targets = parse_targets(settings.audit_checkpoint_copies)
    witnesses = parse_witnesses(settings.audit_witnesses)
    if not targets and not witnesses:
        yield None
        return
    from services.audit.adapters.copies.connected import Credentials, connected  # noqa: PLC0415 - 20 MiB of clients

    credentials = Credentials(
        settings.audit_bucket_access_key, bucket_secret(), settings.audit_bucket_region, git_token()
    )
    clock = SystemClock()
    async with connected(targets, witnesses, credentials, clock) as (copies, cosigners):
        yield Copying(
            copies=copies,
            witnesses=cosigners,
            places=PostgresPlaces(pool),
            checkpoints=PostgresCheckpoints(pool),
            trees=PostgresTrees(pool),
            clock=clock,
        )


def serve_proofs(service: Service, settings: AuditSettings, pool: Pool, freshness: StreamFreshness) -> Checkpointing:
    trees, checkpoints, signer = PostgresTrees(pool), PostgresCheckpoints(pool), BusSigner(service.client)
    schedule = Schedule(timedelta(seconds=settings.audit_checkpoint_seconds), settings.audit_checkpoint_events)
    checkpointing = Checkpointing(trees, checkpoints, signer, SystemClock(), schedule)
    proving = Proving(
        trees=trees,
        checkpoints=checkpoints,
        checkpointing=checkpointing,
        entries=PostgresEntryFinder(pool),
        signer=signer,
        freshness=freshness,
        places=PostgresPlaces(pool),
    )
    service.rpc.serve(CHECKPOINT, proving.checkpoint)
    service.rpc.serve(CHECKPOINT_KEYS, proving.checkpoint_keys)
    service.rpc.serve(PROVE, proving.prove)
    service.rpc.serve(CONSISTENCY, proving.consistency)
    service.background.append(lambda: checkpointing.run(SUBJECTS))
    return checkpointing


def serve_exports(
    service: Service, pool: Pool, checkpointing: Checkpointing, freshness: StreamFreshness
) -> Exporting:
    source, encoders = PostgresRowSource(pool), FormatEncoders()
    exporting = Exporting(
        store=PostgresExportStore(pool),
        source=source,
        maker=SegmentMaker(source, PostgresTrees(pool), PostgresTiles(pool), encoders),
        encoders=encoders,
        checkpoints=PostgresCheckpoints(pool),
        checkpointing=checkpointing,
        signer=BusSigner(service.client),
        freshness=freshness,
        clock=SystemClock(),
    )
    service.rpc.serve(OPEN_EXPORT, exporting.open)
    service.rpc.serve(FIND_EXPORT, exporting.find)
    service.rpc.serve(EXPORT_PIECE, exporting.piece)
    return exporting


def archiving_into(directory: str, exporting: Exporting) -> Archiving | None:
    """
    Raises:
        KtError: ``misconfigured``.
    """
    if not directory:
        return None
    if not Path(directory).is_absolute():
        raise KtError("misconfigured", "KEEPTRUSTS_AUDIT_ARCHIVE is no absolute path.", "Give the whole path.")
    return Archiving(exporting, ArchiveDirectory(Path(directory)), Uuid7Factory())


def serve_rebuilds(service: Service, settings: AuditSettings, nc: Client, pool: Pool) -> None:
    recorder = BusRetentionRecorder(service.client)

    async def remove_retired(fresh: Pool) -> None:
        await Retention(PostgresKeptLog(fresh), recorder, SystemClock()).remove()

    def runner(fresh: Pool, stream: str, name: str) -> ProjectionRunner:
        return runner_of(nc, fresh, stream, name)

    rebuilding = Rebuilding(
        PostgresRebuilds(pool),
        PostgresFreshLog(settings.postgres_dsn, pool, nc, runner, remove_retired),
        PostgresCheckpoints(pool),
        BusRebuildRecorder(service.client),
        SystemClock(),
    )
    service.rpc.serve(REBUILD, rebuilding.request)
    service.rpc.serve(REBUILD_STATUS, rebuilding.look)
    service.background.append(rebuilding.run)


def runner_of(nc: Client, pool: Pool, stream: str, name: str = "") -> ProjectionRunner:
    tree = StreamTree(stream, DirectReader(nc, stream).at)
    projection = EntriesProjection(stream, SUBJECTS[stream], tree, name)
    return ProjectionRunner(nc, pool, projection, batch=BATCH, account=tree)


if __name__ == "__main__":
    run_service("audit", AuditSettings, compose)
