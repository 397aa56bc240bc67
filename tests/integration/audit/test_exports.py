"""Exports of a real log: whole, filtered, gone on with, and of a log that somebody has changed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard
from psycopg.conninfo import make_conninfo

from libs.cli.export_directory import ExportDirectory, VerifiedExport
from libs.common.clock import SystemClock
from libs.common.errors import KtError
from libs.common.ids import Uuid7Factory
from libs.common.protocol.exports import FindExport, GetExportPiece, OpenExport
from libs.common.protocol.keys import (
    CheckpointKey,
    CheckpointKeysReply,
    SignCheckpointReply,
    SignExportReply,
)
from libs.common.protocol.parties import Caller
from libs.common.subjects import ACCESS, EVENTS, access_subject
from libs.common.transparency.manifest import digest_text
from libs.common.transparency.note import Note, VerifierKey
from libs.common.transparency.origin import LogOrigin, export_origin
from services.audit.adapters.encoders import FormatEncoders
from services.audit.adapters.export_rows import PostgresRowSource
from services.audit.adapters.export_store import PostgresExportStore, PostgresTiles
from services.audit.adapters.signed_checkpoints import PostgresCheckpoints, PostgresTrees
from services.audit.application.checkpointing import Checkpointing
from services.audit.application.exporting import Exporting
from services.audit.application.segments import SegmentMaker
from services.audit.domain.checkpoint import Schedule
from services.audit.domain.export import Limits
from tests.engines import Bus, Database
from tests.integration.audit.log import Log, open_log
from tests.unit.transparency.signing import Signer

SMALL = Limits(rows=5, span=40)
INSTALLATION = "019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11"
TWICE = """
INSERT INTO entries SELECT stream, sequence, recorded_at + interval '1 s', event_id, org, type, category, action, outcome,
actor, resource_type, resource_id, gateway, correlation, body FROM entries WHERE sequence = 4"""
AUDITOR = Caller(org="acme", actor_type="auditor", actor_id="eve", request_id="r1")


class KeyService:
    """Signs as the key service does."""

    async def sign(
        self, stream: str, size: int, root: bytes, old_size: int, proof: Sequence[bytes]
    ) -> SignCheckpointReply:
        return SignCheckpointReply(note=str(Signer(self.origin(stream)).checkpoint(size, root)), key_id=INSTALLATION)

    async def sign_export(self, manifest_sha256: str) -> SignExportReply:
        text = digest_text(INSTALLATION, manifest_sha256)
        note = Note(text, (Signer(export_origin(INSTALLATION)).sign(text),))
        return SignExportReply(note=str(note), key_id=INSTALLATION)

    async def keys(self) -> CheckpointKeysReply:
        key = CheckpointKey(id=INSTALLATION, public=self.key.public, created_at="")
        return CheckpointKeysReply(installation=INSTALLATION, keys=[key])

    @property
    def key(self) -> VerifierKey:
        return Signer(self.origin(EVENTS)).key

    def origin(self, stream: str) -> str:
        return str(LogOrigin(INSTALLATION, "*", stream))


class UpToDate:
    async def caught_up(self, within_s: float) -> bool:
        return True


@dataclass
class Exports:
    log: Log
    database: Database
    key_service: KeyService
    limits: Limits = SMALL

    def service(self) -> Exporting:
        """A new instance: it remembers nothing."""
        pool = self.log.pool
        trees, checkpoints, clock = PostgresTrees(pool), PostgresCheckpoints(pool), SystemClock()
        schedule = Schedule(timedelta(seconds=60), 10_000)
        source, encoders = PostgresRowSource(pool), FormatEncoders()
        return Exporting(
            store=PostgresExportStore(pool),
            source=source,
            maker=SegmentMaker(source, trees, PostgresTiles(pool), encoders, self.limits),
            encoders=encoders,
            checkpoints=checkpoints,
            checkpointing=Checkpointing(trees, checkpoints, self.key_service, clock, schedule),
            signer=self.key_service,
            freshness=UpToDate(),
            clock=clock,
        )

    async def export(self, directory: Path, **query: Any) -> Path:
        service = self.service()
        opened = await service.open("", OpenExport(id=Uuid7Factory(SystemClock()).new(), caller=AUDITOR, **query))
        await self.fetch(service, opened.id, directory)
        return directory

    async def fetch(self, service: Exporting, export_id: str, directory: Path, segment: int = 0) -> None:
        directory.mkdir(exist_ok=True)  # noqa: ASYNC240 - a test's
        final = False
        while not final:
            final = await self.fetch_segment(service, export_id, directory, segment)
            segment += 1
        for part in ("manifest", "signature"):
            piece = await service.piece("", GetExportPiece(org="acme", id=export_id, part=part))
            (directory / piece.name).write_bytes(piece.data)

    async def fetch_segment(self, service: Exporting, export_id: str, directory: Path, segment: int) -> bool:
        """True when it was the last one."""
        rows = await service.piece("", GetExportPiece(org="acme", id=export_id, segment=segment))
        if rows.name:
            (directory / rows.name).write_bytes(rows.data)
        if rows.proofs:
            asked = GetExportPiece(org="acme", id=export_id, segment=segment, part="proofs")
            proofs = await service.piece("", asked)
            (directory / proofs.name).write_bytes(proofs.data)
        return rows.final

    def verify(self, directory: Path) -> VerifiedExport:
        return ExportDirectory(directory, [self.key_service.key]).verify(lambda _: None)

    async def as_admin(self, statement: str, *parameters: Any) -> None:
        """What the service's role may not do."""
        dsn = make_conninfo(self.database.admin_dsn, options="-c search_path=audit")
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(statement.encode(), parameters)


@asynccontextmanager
async def exports(bus: Bus, database: Database) -> AsyncIterator[Exports]:
    async with contextlib.AsyncExitStack() as stack:
        yield Exports(await stack.enter_async_context(open_log(bus, database)), database, KeyService())


def lines(directory: Path, stream: str) -> list[bytes]:
    content = b"".join(
        zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        for path in sorted(directory.glob(f"{stream}-*"))
        if "proofs" not in path.name
    )
    return content.splitlines()


async def test_a_whole_export_holds_the_stored_bytes_and_verifies_offline(
    nats_server: Bus, postgres: Database, tmp_path: Path
) -> None:
    async with exports(nats_server, postgres) as system:
        await system.log.append("A", times=13)
        await system.log.record(7)
        await system.log.put(access_subject("acme", "config_variable", "B"), b"no event\nat all \xff")
        await system.log.project()

        directory = await system.export(tmp_path / "x")

        found = system.verify(directory)
        assert found.manifest.complete
        assert [(log.log.stream, log.log.first, log.log.last) for log in found.logs] == [
            (EVENTS, 1, 13),
            (ACCESS, 1, 8),
        ]
        assert lines(directory, EVENTS) == [body for _, body in await system.log.messages(EVENTS)]
        assert len(found.manifest.files) == 5
        assert (found.manifest.requester.id, found.manifest.filter) == ("eve", "")


async def test_a_period_is_a_contiguous_range(nats_server: Bus, postgres: Database, tmp_path: Path) -> None:
    async with exports(nats_server, postgres) as system:
        await system.log.append("A", times=9)
        await system.log.project()
        times: list[datetime] = [
            row[0] for row in await system.log.rows("SELECT recorded_at FROM entries ORDER BY 1")
        ]

        directory = await system.export(tmp_path / "x", begins=times[2], ends=times[6])
        nothing = await system.export(tmp_path / "y", ends=times[0])

        found = system.verify(directory)
        assert found.manifest.complete
        assert (found.logs[0].log.first, found.logs[0].log.last) == (3, 6)
        assert system.verify(nothing).manifest.files == []


async def test_filtered_rows_and_those_beside_other_orgs_have_proofs(
    nats_server: Bus, postgres: Database, tmp_path: Path
) -> None:
    async with exports(nats_server, postgres) as system:
        for number in range(12):
            await system.log.append(f"V_{number}", actor="alice" if number % 3 == 0 else "bob")
            if number % 4 == 0:
                await system.log.append(f"V_{number}", org="other")
        await system.log.append("LATE", times=100, actor="bob")
        await system.log.append("LAST", actor="alice")
        await system.log.project()

        filtered = await system.export(tmp_path / "x", filter="actor = alice")
        own = await system.export(tmp_path / "y")

        found = system.verify(filtered).manifest
        assert (found.filter, found.complete, found.logs[0].rows) == ("actor=alice", False, 5)
        assert all(b'"alice"' in line for line in lines(filtered, EVENTS))
        assert any(file.proofs for file in found.files)
        found = system.verify(own).manifest
        assert (found.complete, found.logs[0].rows, found.logs[0].last) == (False, 113, 116)
        assert not any(b'"other"' in line for line in lines(own, EVENTS))


@pytest.mark.parametrize("format_", ["ocsf", "csv", "parquet"])
async def test_other_formats_verify_as_well(
    nats_server: Bus, postgres: Database, tmp_path: Path, format_: str
) -> None:
    async with exports(nats_server, postgres) as system:
        for number in range(12):
            await system.log.append(f"V_{number}", actor="alice" if number % 3 == 0 else "bob")
        await system.log.put(access_subject("acme", "config_variable", "B"), b"no event\nat all \xff")
        await system.log.project()

        whole = await system.export(tmp_path / "x", format=format_)
        filtered = await system.export(tmp_path / "y", format=format_, filter="actor=alice")

        assert system.verify(whole).manifest.complete
        found = system.verify(filtered).manifest
        assert (found.format, found.complete, found.logs[0].rows) == (format_, False, 4)
        assert any(file.proofs for file in found.files)


async def test_an_export_goes_on_in_another_instance(nats_server: Bus, postgres: Database, tmp_path: Path) -> None:
    async with exports(nats_server, postgres) as system:
        await system.log.append("A", times=17)
        await system.log.project()
        first = system.service()
        opened = await first.open("", OpenExport(id=Uuid7Factory(SystemClock()).new(), caller=AUDITOR))
        (tmp_path / "x").mkdir()
        for segment in range(2):
            assert not await system.fetch_segment(first, opened.id, tmp_path / "x", segment)
        await system.log.append("A", times=9)
        await system.log.project()

        second = system.service()
        with pytest.raises(KtError, match="not every file"):
            await second.piece("", GetExportPiece(org="acme", id=opened.id, part="manifest"))
        last = max(path.name for path in (tmp_path / "x").iterdir())
        found = await second.find("", FindExport(org="acme", id=opened.id, after=last))
        assert found.segment == 2
        await system.fetch(second, opened.id, tmp_path / "x", found.segment)
        await system.fetch(system.service(), opened.id, tmp_path / "y")

        assert system.verify(tmp_path / "x").logs[0].log.last == 17
        for path in (tmp_path / "x").iterdir():
            assert path.read_bytes() == (tmp_path / "y" / path.name).read_bytes()
        with pytest.raises(KtError) as caught:
            await second.find("", FindExport(org="other", id=opened.id))
        assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        ("UPDATE entries SET body = body || 'x' WHERE sequence = 7", "row KT_EVENTS:7 is not what was put on record"),
        ("DELETE FROM entries WHERE sequence = 7", "1 are missing"),
        ("DELETE FROM entries WHERE sequence > 10", "2 are missing"),
        ("DELETE FROM entries WHERE sequence < 3", "2 are missing"),
        ("DELETE FROM entries", "are missing"),
        ("UPDATE entries SET sequence = 19 - sequence WHERE sequence IN (9, 10)", "KT_EVENTS:9 is not what"),
        (TWICE, "KT_EVENTS:4 is there twice"),
    ],
)
async def test_a_log_that_was_changed_is_not_exported(
    nats_server: Bus, postgres: Database, tmp_path: Path, attack: str, named: str
) -> None:
    async with exports(nats_server, postgres) as system:
        await system.log.append("A", times=12)
        await system.log.project()
        await system.export(tmp_path / "before")

        await system.as_admin(attack)
        with pytest.raises(KtError, match=named) as caught:
            await system.export(tmp_path / "after")
        assert caught.value.code == "log_damaged"

        assert system.verify(tmp_path / "before").manifest.complete


async def test_entries_that_go_by_retention_meanwhile_are_no_damage(
    nats_server: Bus, postgres: Database, tmp_path: Path
) -> None:
    async with exports(nats_server, postgres) as system:
        await system.log.append("A", times=12)
        await system.log.project()
        service = system.service()
        opened = await service.open("", OpenExport(id=Uuid7Factory(SystemClock()).new(), caller=AUDITOR))
        await system.as_admin("INSERT INTO minimums VALUES (1, 8, now())")
        await system.as_admin("DELETE FROM entries WHERE sequence <= 8")

        with pytest.raises(KtError, match="went by retention") as caught:
            await system.fetch(service, opened.id, tmp_path / "x")

        assert caught.value.code == "conflict"
        later = system.verify(await system.export(tmp_path / "y")).manifest
        assert (later.complete, later.logs[0].first, later.logs[0].minimum) == (True, 9, 8)


async def test_what_the_role_of_the_service_may_not_do(nats_server: Bus, postgres: Database) -> None:
    async with exports(nats_server, postgres) as system:
        for statement in ("UPDATE exports SET org = ''", "DELETE FROM exports", "DELETE FROM export_segments"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await system.log.rows(statement)
