"""A year and a half of the log's life in one sitting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from libs.common.direct_get import StoredMessage
from libs.common.subjects import ACCESS, EVENTS
from libs.common.transparency.merkle import inclusion_path, leaf_hash, root_of, verify_inclusion
from services.audit.adapters.evidence import EvidenceReader
from services.audit.adapters.examiner import StreamExaminer
from services.audit.adapters.tree import stored_hashes, stored_root
from services.audit.domain.streams import STREAM_NUMBERS
from tests.engines import Bus, Database
from tests.integration.audit.log import SUBJECTS
from tests.integration.audit.test_rebuild import Rebuilt, a_log

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_retention_holds_rebuild_and_verification_go_on_for_a_year_and_a_half(
    nats_server: Bus, postgres: Database
) -> None:
    async with a_log(nats_server, postgres) as it:
        world, removed = it.world, list[str]()
        world.clock.moment = START
        await world.hold("2026-03-05", "2026-03-06")
        for _ in range(26):
            world.clock.moment += timedelta(days=21)
            await world.happens(world.clock.moment, accesses=2)
            recorded, gone = await world.round()
            assert recorded == gone
            removed += gone
            await it.sign()
        assert world.clock.moment == datetime(2027, 7, 1, tzinfo=UTC)
        assert removed == ["2026-01", "2026-02", "2026-04", "2026-05"]
        assert (await world.months())[0] == "2026-03"
        oldest = await world.log.rows("SELECT min(recorded_at) FROM entries WHERE recorded_at > '2026-04-01'")
        assert world.clock.moment - oldest[0][0] > timedelta(days=366)
        await _all_is_well(it)

        rows = await it.world.log.table()
        assert (await it.rebuild()).phase == "completed"
        assert await it.world.log.table() == rows
        assert (await world.months())[0] == "2026-03"
        await _all_is_well(it)

        await it.as_administrator("DELETE FROM audit.entries WHERE recorded_at > '2027-01-01' AND sequence % 5 = 0")
        assert await _findings(it, ACCESS)


async def _all_is_well(it: Rebuilt) -> None:
    for stream in (EVENTS, ACCESS):
        assert await _findings(it, stream) == []
        await _every_remaining_entry_is_proven(it, stream)


class AtTheseTimes(EvidenceReader):
    """The server's clock can't be set: its messages get the times at which the test let things happen."""

    def __init__(self, it: Rebuilt, stream: str) -> None:
        super().__init__(it.world.log.bulk, it.world.log.pool, stream, SUBJECTS[stream])
        self._times = {sequence: at for (of, sequence), at in it.world.times.items() if of == stream}

    async def _messages(self, first: int, last: int) -> dict[int, StoredMessage]:
        found = await super()._messages(first, last)
        return {n: m._replace(time_ns=int(self._times[n].timestamp()) * 10**9) for n, m in found.items()}


async def _findings(it: Rebuilt, stream: str) -> list[str]:
    log, reader = it.world.log, AtTheseTimes(it, stream)
    examined = await StreamExaminer(log.pool, reader, stream).examine(1, 4096, repair=False)
    return [f"{finding.kind} {finding.first}-{finding.last}" for finding, _ in examined.findings]


async def _every_remaining_entry_is_proven(it: Rebuilt, stream: str) -> None:
    number, bodies = STREAM_NUMBERS[stream], [body for _, body in await it.world.log.messages(stream)]
    size, root = len(bodies), root_of([leaf_hash(body) for body in bodies])
    async with it.world.log.pool.connection() as connection:
        assert await stored_root(connection, number, size) == root
        rows = await it.world.log.rows("SELECT sequence, body FROM entries WHERE stream = %s ORDER BY 1", number)
        assert rows
        for sequence, body in rows:
            proof = await stored_hashes(connection, number, inclusion_path(sequence - 1, size))
            assert proof is not None
            verify_inclusion(leaf_hash(body), sequence - 1, size, proof, root)
