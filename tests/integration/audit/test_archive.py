"""A month is exported and signed before it goes, or it stays."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from libs.cli.export_directory import ExportDirectory
from libs.common.clock import SystemClock
from libs.common.errors import KtError
from libs.common.event_store import EventStore
from libs.common.ids import Uuid7Factory
from libs.common.transparency.manifest import MANIFEST
from services.audit.adapters.archive_directory import ArchiveDirectory
from services.audit.application.archiving import Archiving
from tests.engines import Bus, Database
from tests.integration.audit.test_exports import Exports, KeyService
from tests.integration.audit.test_retention import ORG, World, ago, world


def archived(it: World, database: Database, root: Path) -> World:
    exporting = Exports(it.log, database, KeyService()).service()
    archiving = Archiving(exporting, ArchiveDirectory(root), Uuid7Factory(SystemClock()))
    return replace(it, retention=replace(it.retention, archiving=archiving))


async def test_what_goes_was_archived_for_each_org_and_verifies_offline(
    nats_server: Bus, postgres: Database, tmp_path: Path
) -> None:
    async with world(nats_server, postgres) as plain:
        it = archived(plain, postgres, tmp_path)
        await it.happens(ago(500), accesses=12)
        await it.happens(ago(500), accesses=4, org="other")
        await it.happens(ago(5))
        left_over = tmp_path / ORG / "2025-07.unfinished"
        left_over.mkdir(parents=True)
        assert await it.round() == (["2025-07"], ["2025-07"])

        assert not left_over.exists()
        for org, rows in ((ORG, 12), ("other", 4)):
            verified = ExportDirectory(tmp_path / org / "2025-07", [KeyService().key]).verify(lambda _: None)
            assert sum(log.rows for log in verified.manifest.logs) == rows
            (event,) = [e.event for e in await EventStore(it.log.nc).load(f"kt.evt.v1.{org}.audit_log.log")]
            manifest = (tmp_path / org / "2025-07" / MANIFEST).read_bytes()
            assert event.manifest_digest == sha256(manifest).hexdigest()


async def test_what_can_not_be_archived_stays(nats_server: Bus, postgres: Database, tmp_path: Path) -> None:
    async with world(nats_server, postgres) as plain:
        (tmp_path / "file").touch()
        it = archived(plain, postgres, tmp_path / "file")
        await it.happens(ago(500))
        with pytest.raises(KtError, match="can't be written") as caught:
            await it.round()
        assert caught.value.code == "unavailable"
        assert await it.months() == ["2025-07"]


async def test_a_month_that_was_archived_before_a_crash_is_not_archived_again(
    nats_server: Bus, postgres: Database, tmp_path: Path
) -> None:
    async with world(nats_server, postgres) as plain:
        it = archived(plain, postgres, tmp_path)
        await it.happens(ago(500))
        month = (await it.kept.months())[0]
        assert it.retention.archiving is not None
        digest = await it.retention.archiving.keep(ORG, month)
        assert await it.retention.archiving.keep(ORG, month) == digest


async def test_a_log_with_a_held_month_among_removed_ones_can_be_exported(
    nats_server: Bus, postgres: Database, tmp_path: Path
) -> None:
    async with world(nats_server, postgres) as it:
        for days in (560, 500, 440, 20):
            await it.happens(ago(days))
        await it.hold("2025-07-11", "2025-07-12")
        assert (await it.round())[1] == ["2025-05", "2025-09"]
        system = Exports(it.log, postgres, KeyService())
        manifest = system.verify(await system.export(tmp_path / "x")).manifest
        assert {log.stream: log.rows for log in manifest.logs} == {"KT_EVENTS": 3, "KT_ACCESS": 6}
