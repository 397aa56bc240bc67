"""Examining a range of one stream, and restoring rows and tiles of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from libs.common.calendar import Month
from libs.common.direct_get import StoredMessage
from libs.common.postgres import Connection, Pool, answering
from libs.common.transparency.merkle import HASH_BYTES, UNSEEN_LEAF, leaf_hash, perfect_root
from libs.common.transparency.tiles import HEIGHT, WIDTH, TileKey, split
from services.audit.adapters.entries_projection import COLUMNS
from services.audit.adapters.evidence import DATABASE, EPOCH, Evidence, EvidenceReader, Row
from services.audit.adapters.partitions import Partitions
from services.audit.adapters.stream_restorer import StreamRestorer
from services.audit.adapters.tree import get_tiles
from services.audit.application.ports import Examined
from services.audit.domain.entry import columns_of
from services.audit.domain.examination import Finding, Kind, Side, examine, truth
from services.audit.domain.streams import STREAM_NUMBERS

REPAIRED: Final = "repaired"
_NO_SOURCE: Final = "not repaired: neither the stream nor another row holds the bytes that were proven"
_IN_STREAM: Final = "not repaired here: the stream is restored from a backup, `kt backup restore`"
_NO_PARENT: Final = "not repaired: more of the tree is damaged than these leaves; `kt events rebuild` makes it anew"
_UNDECIDED: Final = "not repaired: no proof tells which side is right"

_TURN: Final = "SELECT pg_advisory_xact_lock(hashtext(%s))"
_DELETE: Final = "DELETE FROM entries WHERE stream = %s AND sequence = %s"
_INSERT: Final = f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"  # noqa: S608
_PUT_TILE: Final = """
INSERT INTO tiles (stream, level, index, hashes) VALUES (%s, 0, %s, %s)
ON CONFLICT (stream, level, index) DO UPDATE SET hashes = EXCLUDED.hashes"""
# The owner of a table can give itself a right. Here it has it for as long as this transaction lasts.
_ALLOW: Final = "GRANT DELETE ON entries TO CURRENT_USER"
_FORBID: Final = "REVOKE DELETE ON entries FROM CURRENT_USER"
_OPEN_TILES: Final = "ALTER TABLE tiles DISABLE TRIGGER tile_only_grows"
_CLOSE_TILES: Final = "ALTER TABLE tiles ENABLE TRIGGER tile_only_grows"


class StreamExaminer:
    """Implements ``Examiner``."""

    def __init__(
        self, pool: Pool, reader: EvidenceReader, stream: str, restorer: StreamRestorer | None = None
    ) -> None:
        """Without a ``restorer`` the stream is given nothing back."""
        self._restorer = restorer
        self._pool = pool
        self._reader = reader
        self._stream = stream
        self._number = STREAM_NUMBERS[stream]

    async def examine(self, first: int, count: int, *, repair: bool) -> Examined:
        evidence = await self._reader.read(first, count)
        findings = [(finding, "") for finding in examine(evidence.seen)]
        if repair and findings:
            findings = await self._repaired(first, count)
            evidence = await self._reader.read(first, count)
        return Examined(evidence.seen, findings, await self._reader.hashes(evidence))

    async def _repaired(self, first: int, count: int) -> list[tuple[Finding, str]]:
        """Inside one transaction: the rights are given back at its end, whatever happens."""
        with answering(DATABASE):
            async with self._pool.connection() as connection, connection.transaction():
                evidence = await self._reader.read_with(connection, first, count)
                await connection.execute(_TURN, (f"audit/repair/{self._stream}",))
                findings = examine(evidence.seen)
                await self._rows(connection, evidence, findings)
                await self._tiles(connection, evidence, findings)
        why = await self._stream_end(evidence, findings)
        after = await self._reader.read(first, count)
        left = {(f.kind, n) for f in examine(after.seen) for n in range(f.first, f.last + 1)}
        return [(finding, _outcome(finding, left, why)) for finding in findings]

    async def _stream_end(self, evidence: Evidence, findings: Iterable[Finding]) -> str:
        """Append to the stream what was cut off, if nothing else is wrong with it here; why not, if not."""
        wrong = {f.kind for f in findings if f.kind.side is Side.STREAM}
        if self._restorer is None or wrong != {Kind.STREAM_SHORTENED}:
            return ""
        sources, seen = _sources(evidence), evidence.seen
        bodies: dict[int, bytes] = {}
        for sequence in range(max(seen.stream_last + 1, seen.first), min(seen.last, seen.size) + 1):
            body = sources.get(truth(seen, sequence) or b"")
            if body is None:
                return f"the log does not hold {sequence}, which was cut off"
            bodies[sequence] = body
        return await self._restorer.restore(bodies)

    async def _rows(self, connection: Connection, evidence: Evidence, findings: Iterable[Finding]) -> None:
        wanted = {n for f in findings if f.kind.side is Side.LOG for n in range(f.first, f.last + 1)}
        sources = _sources(evidence)
        put: dict[int, Row | None] = {}
        for sequence in sorted(wanted):
            if sequence > evidence.seen.size or truth(evidence.seen, sequence) == UNSEEN_LEAF:
                put[sequence] = None
            elif (right := truth(evidence.seen, sequence)) in sources and right is not None:
                put[sequence] = self._row(evidence, sequence, sources[right])
        if not put:
            return
        await connection.execute(_ALLOW)
        await Partitions("entries").ensure(connection, {Month.of(r.recorded_at) for r in put.values() if r})
        for sequence, row in put.items():
            await connection.execute(_DELETE, (self._number, sequence))
            if row is not None:
                values = (self._number, row.sequence, row.recorded_at, *row.columns, row.body)
                await connection.execute(_INSERT, values)
        await connection.execute(_FORBID)

    def _row(self, evidence: Evidence, sequence: int, body: bytes) -> Row:
        message = evidence.messages.get(sequence)
        held = evidence.rows.get(sequence, [])
        if message is not None and message.body == body:
            recorded_at, subject = _moment(message), message.subject
        else:
            recorded_at, subject = held[0].recorded_at if held else _own_time(evidence, body), ""
        return Row(sequence, recorded_at, columns_of(subject or "kt.evt.v1.unknown", body), body)

    async def _tiles(self, connection: Connection, evidence: Evidence, findings: Iterable[Finding]) -> None:
        """Put leaves right where the hash above them says that they are."""
        changed = [f for f in findings if f.kind is Kind.TREE_CHANGED]
        numbers = {(n - 1) // WIDTH for f in changed for n in range(f.first, f.last + 1)}
        right = {number: await self._right_tile(connection, evidence, number) for number in sorted(numbers)}
        tiles = {number: tile for number, tile in right.items() if tile is not None}
        if tiles:
            await connection.execute(_OPEN_TILES)
            for number, tile in tiles.items():
                await connection.execute(_PUT_TILE, (self._number, number, tile))
            await connection.execute(_CLOSE_TILES)

    async def _right_tile(self, connection: Connection, evidence: Evidence, number: int) -> bytes | None:
        """A full tile made from rows and messages, if it is the one that the tree above knows."""
        first = number * WIDTH + 1
        hashes = [_agreed(evidence, sequence) for sequence in range(first, first + WIDTH)]
        if None in hashes:
            return None
        known = [hash_ for hash_ in hashes if hash_ is not None]
        parent = TileKey(1, number >> HEIGHT)
        above = split((await get_tiles(connection, self._number, [parent])).get(parent, b""))
        place = number % WIDTH
        if place >= len(above) or above[place] != perfect_root(known):
            return None
        tile = b"".join(known)
        return tile if len(tile) == WIDTH * HASH_BYTES else None


def _sources(evidence: Evidence) -> Mapping[bytes, bytes]:
    """Bodies by their hash, wherever they were found."""
    bodies = [row.body for rows in evidence.rows.values() for row in rows]
    bodies += [message.body for message in evidence.messages.values()]
    return {leaf_hash(body): body for body in bodies}


def _agreed(evidence: Evidence, sequence: int) -> bytes | None:
    seen = evidence.seen
    leaf = seen.leaves.get(sequence)
    if leaf is not None:
        return leaf
    message, rows = seen.messages.get(sequence), seen.rows.get(sequence, ())
    if message is not None:
        return message.hash
    return rows[0].hash if len(rows) == 1 else None


def _moment(message: StoredMessage) -> datetime:
    return EPOCH + timedelta(microseconds=message.time_ns // 1000)


def _own_time(evidence: Evidence, body: bytes) -> datetime:
    """When the row that holds this body was recorded."""
    return next(row.recorded_at for rows in evidence.rows.values() for row in rows if row.body == body)


def _outcome(finding: Finding, left: set[tuple[Kind, int]], why: str) -> str:
    if not any((finding.kind, n) in left for n in range(finding.first, finding.last + 1)):
        return REPAIRED
    if finding.kind.side is Side.STREAM:
        return f"not repaired: {why}" if why else _IN_STREAM
    if finding.kind is Kind.TREE_CHANGED:
        return _NO_PARENT
    return _UNDECIDED if finding.kind is Kind.UNDECIDED else _NO_SOURCE
