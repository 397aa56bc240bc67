"""Gathering what the log, the stream and the tree hold for a range of sequences."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from libs.common.direct_get import DirectReader, StoredMessage
from libs.common.errors import KtError
from libs.common.postgres import Connection, Pool, answering
from libs.common.stream_reader import API_TIMEOUT_S
from libs.common.transparency.merkle import CompactRange, Range, leaf_hash, perfect_root, subtrees
from libs.common.transparency.tiles import HEIGHT, TILE_BYTES, WIDTH, TileKey, split
from services.audit.adapters.entries_projection import COLUMNS, projection_name
from services.audit.adapters.tree import get_tiles, stored_hashes, stored_root, stored_size
from services.audit.domain.entry import Columns, columns_of
from services.audit.domain.examination import MessageSeen, RowSeen, Seen, truth
from services.audit.domain.streams import STREAM_NUMBERS

DATABASE: Final = "The audit log's database"
_ROWS: Final = f"SELECT {', '.join(COLUMNS[1:])} FROM entries WHERE stream = %s AND sequence BETWEEN %s AND %s"  # noqa: S608
_LAST_ROW: Final = "SELECT max(sequence) FROM entries WHERE stream = %s"
_SIGNED: Final = "SELECT size, root FROM checkpoints_signed WHERE stream = %s ORDER BY size DESC LIMIT 1"
_MINIMUM: Final = "SELECT max(minimum) FROM minimums WHERE stream = %s"
_RETIRED: Final = """
SELECT DISTINCT first_sequence, last_sequence FROM retired
WHERE stream = %s AND last_sequence >= %s AND first_sequence <= %s"""
_POSITION: Final = "SELECT sequence FROM checkpoints WHERE projection = %s"
_LOOKS: Final = 4
_AGAIN_S: Final = 0.1
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    sequence: int
    recorded_at: datetime
    columns: Columns
    body: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen, and the bytes behind it. ``last_row`` is the last sequence that any row has."""

    seen: Seen
    last_row: int
    rows: Mapping[int, list[Row]] = field(default_factory=dict)
    messages: Mapping[int, StoredMessage] = field(default_factory=dict)


class EvidenceReader:
    """Reads the evidence of one stream."""

    def __init__(self, nc: Client, pool: Pool, stream: str, subject: str) -> None:
        self._nc = nc
        self._pool = pool
        self._stream = stream
        self._subject = subject
        self._number = STREAM_NUMBERS[stream]
        self._reader = DirectReader(nc, stream)

    async def read(self, first: int, count: int) -> Evidence:
        """From ``first`` on, up to the end of the log or of the rows, whichever is later.

        Raises:
            KtError: ``unavailable``.
        """
        with answering(DATABASE):
            async with self._pool.connection() as connection, connection.transaction():
                return await self.read_with(connection, first, count)

    async def read_with(self, connection: Connection, first: int, count: int) -> Evidence:
        """As the first thing in a transaction. The log goes on growing: all that is read of it is of one moment, and
        the stream is looked at behind that moment."""
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        size = await self._size(connection)
        last_row = await self._number_of(connection, _LAST_ROW)
        last = min(first + count - 1, max(size, last_row))
        rows = await self._rows(connection, first, last)
        signed = await (await connection.execute(_SIGNED, (self._number,))).fetchone()
        stream_first, stream_last, expires = await self._stream_range()
        leaves, holds = await self._leaves(connection, first, min(last, size), size, signed)
        messages = await self._messages(max(first, stream_first), min(last, size, stream_last))
        seen = Seen(
            first=first,
            last=last,
            size=size,
            signed=signed[0] if signed and holds else 0,
            minimum=await self._number_of(connection, _MINIMUM),
            stream_first=stream_first,
            stream_last=stream_last,
            expires=expires,
            leaves=leaves,
            rows={n: [_row_seen(row, messages.get(n)) for row in found] for n, found in rows.items()},
            messages={
                n: MessageSeen(leaf_hash(message.body), message.time_ns // 1000) for n, message in messages.items()
            },
            retired=await (await connection.execute(_RETIRED, (self._number, first, last))).fetchall(),
        )
        return Evidence(seen, last_row, rows, messages)

    async def hashes(self, evidence: Evidence) -> list[bytes]:
        """The perfect subtrees over what the entries of the range hash to; from the tree where none are kept."""
        seen = evidence.seen
        last = min(seen.last, seen.size)
        if last < seen.first:
            return []
        edge = CompactRange(seen.first - 1)
        start = seen.first
        if seen.first <= seen.minimum:
            start = min(seen.minimum, last) + 1
            nodes = list(subtrees(seen.first - 1, start - 1))
            ranges = [Range(node.number << node.level, (node.number + 1) << node.level) for node in nodes]
            with answering(DATABASE):
                async with self._pool.connection() as connection:
                    found = await stored_hashes(connection, self._number, ranges)
            for node, hash_ in zip(nodes, found or (), strict=found is not None):
                edge.append(node, hash_)
            if found is None:
                return []
        edge.extend([_entry_hash(seen, sequence) for sequence in range(start, last + 1)])
        return edge.hashes

    async def _stream_range(self) -> tuple[int, int, bool]:
        try:
            info = await self._nc.jetstream(timeout=API_TIMEOUT_S).stream_info(self._stream)
        except (NatsError, TimeoutError):
            raise KtError(
                "unavailable", f"The stream {self._stream} does not answer.", "`kt status` shows what runs."
            ) from None
        return max(info.state.first_seq, 1), info.state.last_seq, bool(info.config.max_age)

    async def _size(self, connection: Connection) -> int:
        """The largest that anything says: what was cut off is missing, not as if it had never been."""
        position = await (await connection.execute(_POSITION, (projection_name(self._stream),))).fetchone()
        signed = await (await connection.execute(_SIGNED, (self._number,))).fetchone()
        stored = await stored_size(connection, self._number)
        return max(stored, position[0] if position else 0, signed[0] if signed else 0)

    async def _number_of(self, connection: Connection, query: str) -> int:
        row = await (await connection.execute(query.encode(), (self._number,))).fetchone()
        return int(row[0] or 0) if row else 0

    async def _rows(self, connection: Connection, first: int, last: int) -> dict[int, list[Row]]:
        cursor = await connection.cursor(binary=True).execute(_ROWS.encode(), (self._number, first, last))
        found: dict[int, list[Row]] = defaultdict(list)
        for sequence, recorded_at, *columns, body in await cursor.fetchall():
            found[sequence].append(Row(sequence, recorded_at, Columns._make(columns), bytes(body)))
        return found

    async def _messages(self, first: int, last: int) -> dict[int, StoredMessage]:
        found: dict[int, StoredMessage] = {}
        for look in range(_LOOKS):
            missing = [n for n in range(first, last + 1) if n not in found]
            if not missing:
                break
            if look:
                await asyncio.sleep(_AGAIN_S)  # the replica that answered may have been behind
            for message in await self._reader.between(self._subject, missing[0], missing[-1]):
                found[message.sequence] = message
        return found

    async def _leaves(
        self, connection: Connection, first: int, last: int, size: int, signed: tuple[int, bytes] | None
    ) -> tuple[dict[int, bytes], bool]:
        """The leaves that fit the tiles above them, and whether the tree gives the root that was signed."""
        if last < first:
            return {}, signed is None
        numbers = range((first - 1) // WIDTH, (last - 1) // WIDTH + 1)
        keys = {
            TileKey(level, number >> (level * HEIGHT))
            for number in numbers
            for level in range(_levels(size))
            if size >> (level * HEIGHT)
        }
        tiles = _Tiles(await get_tiles(connection, self._number, keys), size)
        leaves: dict[int, bytes] = {}
        for number in numbers:
            if tiles.fits(TileKey(0, number)):
                hashes = split(tiles.found[TileKey(0, number)])
                leaves.update(enumerate(hashes, number * WIDTH + 1))
        holds = signed is None or await stored_root(connection, self._number, signed[0]) == bytes(signed[1])
        return {n: hash_ for n, hash_ in leaves.items() if first <= n <= last}, holds


class _Tiles:
    """Tiles checked against their parents. A tile at the right edge has none: it goes into the root itself."""

    def __init__(self, found: Mapping[TileKey, bytes], size: int) -> None:
        self.found = found
        self._size = size
        self._known: dict[TileKey, bool] = {}

    def fits(self, key: TileKey) -> bool:
        if key not in self._known:
            self._known[key] = self._fits(key)
        return self._known[key]

    def _fits(self, key: TileKey) -> bool:
        tile = self.found.get(key, b"")
        width = min(WIDTH, (self._size >> (key.level * HEIGHT)) - key.number * WIDTH)
        if len(tile) * WIDTH != width * TILE_BYTES:
            return False
        if width < WIDTH:
            return True
        parent, place = TileKey(key.level + 1, key.number // WIDTH), key.number % WIDTH
        hashes = split(self.found.get(parent, b""))
        return place < len(hashes) and hashes[place] == perfect_root(split(tile)) and self.fits(parent)


def _levels(size: int) -> int:
    return size.bit_length() // HEIGHT + 1


def _entry_hash(seen: Seen, sequence: int) -> bytes:
    """What the row says; where there is none or several, what belongs there."""
    rows = seen.rows.get(sequence, ())
    if len(rows) == 1:
        return rows[0].hash
    return truth(seen, sequence) or bytes(32)


def _row_seen(row: Row, message: StoredMessage | None) -> RowSeen:
    recorded_us = microseconds(row.recorded_at)
    hold = row.columns == expected_columns(row, message) and not _moved_in_time(row, recorded_us, message)
    return RowSeen(leaf_hash(row.body), hold, recorded_us)


def expected_columns(row: Row, message: StoredMessage | None) -> Columns:
    """What the body says. The subject is only asked for a body that is no event; then the org can't be checked."""
    subject = message.subject if message else f"kt.evt.v1.{row.columns.org}"
    return columns_of(subject, row.body)


def _moved_in_time(row: Row, recorded_us: int, message: StoredMessage | None) -> bool:
    """A stream that was restored holds later times than the log. So does one whose rows were moved back in time; the
    event's own time, which is proven, is then nearer to the message's."""
    if message is None or message.body != row.body or recorded_us == message.time_ns // 1000:
        return False
    stored_us = message.time_ns // 1000
    try:
        happened = microseconds(datetime.fromisoformat(orjson.loads(row.body)["time"]))
    except (ValueError, KeyError, TypeError):
        return recorded_us > stored_us
    return recorded_us > stored_us or abs(stored_us - happened) < abs(recorded_us - happened)


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
