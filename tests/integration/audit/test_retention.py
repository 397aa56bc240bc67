"""Months of the log go when all of them is old enough and nobody holds them, on record first; proofs remain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from libs.common.calendar import Month
from libs.common.clock import rfc3339
from libs.common.direct_get import DirectReader, StoredMessage
from libs.common.errors import KtError
from libs.common.event_store import EventStore
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.gateway import GatewayAuditPolicyApplied
from libs.common.ids import Uuid7Factory
from libs.common.postgres import Connection, Pool
from libs.common.projection import ProjectionRunner
from libs.common.protocol import command as protocol
from libs.common.protocol.parties import Caller
from libs.common.subjects import ACCESS, GATEWAY_POLICY, access_subject
from libs.common.transparency.merkle import leaf_hash, root_of
from services.audit.adapters.entries_projection import EntriesProjection
from services.audit.adapters.kept_log import PostgresKeptLog
from services.audit.adapters.tree import StreamTree
from services.audit.application.retention import Retention
from services.command.application.aggregates import Aggregates
from services.command.application.audit_log import AuditLogs
from tests.engines import Bus, Database
from tests.integration.audit.log import SUBJECTS, Log, open_log, reach, running

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORG = "acme"


@dataclass
class MovingClock:
    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment


class AtTheseTimes(EntriesProjection):
    """Gives messages the times they would have had; one that is not told is stored now."""

    def __init__(
        self, stream: str, tree: StreamTree, times: dict[tuple[str, int], datetime], clock: MovingClock, name: str
    ):
        super().__init__(stream, SUBJECTS[stream], tree, name)
        self._times = times
        self._clock = clock

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        moments = [self._times.setdefault((self.stream, m.sequence), self._clock.now()) for m in messages]
        timed = zip(messages, moments, strict=True)
        await super().apply(connection, [m._replace(time_ns=int(at.timestamp()) * 10**9) for m, at in timed])


@dataclass
class World:
    log: Log
    clock: MovingClock
    kept: PostgresKeptLog
    commands: AuditLogs
    retention: Retention
    times: dict[tuple[str, int], datetime] = field(default_factory=dict)

    async def happens(self, moment: datetime, accesses: int = 3, org: str = ORG) -> None:
        """Something is read at that time."""
        end = await self.log.end(ACCESS)
        await self.log.record(accesses, org=org)
        self.times.update({(ACCESS, end + n): moment for n in range(1, accesses + 1)})
        await self.project()

    async def project(self) -> None:
        runners = {stream: self.runner(stream) for stream in SUBJECTS}
        async with running(list(runners.values())):
            for stream, runner in runners.items():
                await reach(runner, await self.log.end(stream))

    async def round(self) -> tuple[list[str], list[str]]:
        """What one round of the service puts on record, and then removes."""
        recorded = await self.retention.record()
        await self.project()
        return [str(m) for m in recorded], [str(m) for m in await self.retention.remove()]

    async def months(self) -> list[str]:
        return [str(month) for month in await self.kept.months() if (await self.kept.content(month)).ranges]

    async def hold(self, begins: str, ends: str | None, org: str = ORG) -> None:
        request = protocol.AddHold(
            command_id=f"hold-{begins}",
            caller=caller(org),
            hold="case",
            begins=datetime.fromisoformat(f"{begins}T00:00:00Z"),
            ends=datetime.fromisoformat(f"{ends}T00:00:00Z") if ends else None,
            reason="inquiry",
        )
        await self.commands.add_hold("", request)
        await self.project()

    async def release(self) -> None:
        await self.commands.remove_hold(
            "", protocol.RemoveHold(command_id="release", caller=caller(), hold="case", reason="closed")
        )
        await self.project()

    async def keep(self, days: int, org: str = ORG) -> None:
        request = protocol.SetRetention(
            command_id=f"keep-{days}", caller=caller(org), days=days, understood=days < 365
        )
        await self.commands.set_retention("", request)
        await self.project()

    async def policy_asks(self, days: int, subject: str = "") -> None:
        """A gateway reports its config."""
        event = GatewayAuditPolicyApplied("5c" * 32, days, log_all_access=True)
        metadata = Metadata(
            "e", rfc3339(self.clock.now()), ORG, "keeptrusts/test", Actor("gateway", "edge"), Origin("r")
        )
        body = encode(event, Resource("gateway", "edge"), metadata)[1]
        await self.log.put(subject or access_subject(ORG, GATEWAY_POLICY, "edge"), body)
        await self.project()

    def runner(self, stream: str, pool: Pool | None = None, name: str = "") -> ProjectionRunner:
        tree = StreamTree(stream, DirectReader(self.log.bulk, stream).at)
        projection = AtTheseTimes(stream, tree, self.times, self.clock, name)
        return ProjectionRunner(self.log.bulk, pool or self.log.pool, projection, account=tree)


@dataclass
class DirectRecorder:
    """The command service without the bus in between."""

    commands: AuditLogs

    async def record(
        self, org: str, month: Month, days: int, ranges: Sequence[protocol.Retired], manifest_digest: str
    ) -> None:
        request = protocol.ApplyRetention(
            command_id=f"{org}/{month}",
            caller=caller(org),
            period=str(month),
            days=days,
            ranges=tuple(ranges),
            manifest_digest=manifest_digest,
        )
        await self.commands.apply_retention("", request)


def caller(org: str = ORG) -> Caller:
    return Caller(org=org, actor_type="service", actor_id="audit", request_id="r")


@asynccontextmanager
async def world(bus: Bus, database: Database) -> AsyncIterator[World]:
    async with open_log(bus, database) as log:
        clock = MovingClock()
        commands = AuditLogs(Aggregates(EventStore(log.nc), clock, Uuid7Factory(clock)))
        kept = PostgresKeptLog(log.pool)
        yield World(log, clock, kept, commands, Retention(kept, DirectRecorder(commands), clock))


def ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


async def test_a_month_goes_when_its_last_day_is_older_than_a_year_and_a_day(
    nats_server: Bus, postgres: Database
) -> None:
    async with world(nats_server, postgres) as it:
        for day in ("2025-09-30", "2025-10-01", "2025-10-31", "2025-11-30", "2026-11-01"):
            await it.happens(datetime.fromisoformat(f"{day}T12:00:00Z"))
        it.clock.moment = datetime(2026, 11, 1, 23, 59, tzinfo=UTC)
        assert await it.round() == (["2025-09"], ["2025-09"])
        it.clock.moment = datetime(2026, 11, 2, tzinfo=UTC)
        assert await it.round() == (["2025-10"], ["2025-10"])
        assert await it.round() == ([], [])
        assert await it.months() == ["2025-11", "2026-11"]


async def test_what_goes_is_on_record_with_what_it_was(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500), accesses=5)
        await it.happens(ago(10), accesses=2)
        bodies = [body for _, body in await it.log.messages(ACCESS)]
        await it.round()
        (event,) = [e.event for e in await EventStore(it.log.nc).load(f"kt.evt.v1.{ORG}.audit_log.log")]
        (went,) = event.ranges
        assert (event.period, event.days) == ("2025-07", 366)
        assert (went.stream, went.first_sequence, went.last_sequence, went.entries) == (ACCESS, 1, 5, 5)
        assert (went.tree_size, went.root) == (7, root_of([leaf_hash(body) for body in bodies]).hex())


async def test_a_held_month_stays_until_the_hold_is_removed(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        for days in (560, 500, 440):
            await it.happens(ago(days))
        await it.hold("2025-07-11", "2025-07-12")
        assert await it.round() == (["2025-05", "2025-09"], ["2025-05", "2025-09"])
        assert await it.months() == ["2025-07", "2026-11"]
        await it.release()
        assert await it.round() == (["2025-07"], ["2025-07"])


async def test_a_hold_of_another_org_holds_the_month_they_share(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        await it.hold("2025-07-01", None, org="other")
        assert await it.round() == ([], [])


async def test_a_hold_between_the_record_and_the_removal_wins(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        assert await it.retention.record() == [Month(2025, 7)]
        await it.hold("2025-07-01", None)
        assert await it.retention.remove() == []
        assert "2025-07" in await it.months()


async def test_a_hold_that_is_not_projected_yet_is_respected(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        request = protocol.AddHold(
            command_id="late", caller=caller(), hold="late", begins=ago(900), ends=None, reason=""
        )
        await it.commands.add_hold("", request)
        assert await it.retention.record() == []


async def test_a_longer_retention_keeps_more(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        await it.keep(730)
        assert await it.round() == ([], [])


async def test_a_gateway_s_policy_lengthens_what_the_org_keeps_and_never_shortens_it(
    nats_server: Bus, postgres: Database
) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        await it.policy_asks(730)
        assert await it.round() == ([], [])
        await it.policy_asks(30)
        assert (await it.round())[1] == ["2025-07"]
        await it.happens(ago(300))
        assert await it.round() == ([], [])


async def test_a_policy_under_the_subject_of_another_gateway_is_not_believed(
    nats_server: Bus, postgres: Database
) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        await it.policy_asks(730, subject=access_subject("other", GATEWAY_POLICY, "edge"))
        assert (await it.round())[1] == ["2025-07"]


async def test_orgs_in_one_month_keep_it_for_the_longest_any_of_them_wants(
    nats_server: Bus, postgres: Database
) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(100))
        await it.happens(ago(100), org="other")
        await it.keep(30)
        assert await it.round() == ([], [])
        await it.keep(30, org="other")
        recorded, removed = await it.round()
        assert recorded == removed == ["2026-08"]


async def test_a_removal_that_was_interrupted_is_finished(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        await it.retention.record()
        await it.project()
        async with await psycopg.AsyncConnection.connect(postgres.dsn("audit"), autocommit=True) as connection:
            await connection.execute("ALTER TABLE audit.entries DETACH PARTITION audit.entries_2025_07")
        assert [str(m) for m in await it.retention.remove()] == ["2025-07"]
        assert await it.retention.remove() == []


async def test_a_month_with_missing_rows_stays_for_whoever_looks_into_it(
    nats_server: Bus, postgres: Database
) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500), accesses=5)
        async with await psycopg.AsyncConnection.connect(postgres.admin_dsn, autocommit=True) as admin:
            await admin.execute("DELETE FROM audit.entries WHERE sequence = 3")
        assert await it.round() == ([], [])


async def test_readers_go_on_while_a_month_is_removed(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(ago(500))
        await it.happens(ago(5))
        await it.retention.record()
        await it.project()
        async with await psycopg.AsyncConnection.connect(postgres.dsn("audit")) as reader:
            await reader.execute("SELECT count(*) FROM audit.entries")
            removal = asyncio.create_task(it.retention.remove())
            for _ in range(5):  # the removal waits for the reader above, and holds up nobody
                assert await it.log.rows("SELECT count(*) FROM entries WHERE recorded_at > '2026-01-01'")
            await reader.rollback()
        assert [str(m) for m in await asyncio.wait_for(removal, 20)] == ["2025-07"]


async def test_only_one_instance_works_at_a_time(nats_server: Bus, postgres: Database) -> None:
    async with (
        world(nats_server, postgres) as it,
        it.kept.turn() as mine,
        PostgresKeptLog(it.log.pool).turn() as other,
    ):
        assert mine
        assert not other


@pytest.mark.parametrize("table", ["entries", "entries_2026_11"])
async def test_the_service_has_no_right_to_change_or_delete_entries(
    nats_server: Bus, postgres: Database, table: str
) -> None:
    async with world(nats_server, postgres) as it:
        await it.happens(NOW)
        for change in ("UPDATE {} SET org = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await it.log.rows(change.format(table))


async def test_without_the_database_it_waits(nats_server: Bus, postgres: Database) -> None:
    async with world(nats_server, postgres) as it:
        await it.log.pool.close()
        with pytest.raises(KtError) as caught:
            await it.kept.months()
        assert caught.value.code == "unavailable"
