"""The Merkle tree of a stream, grown in the transactions that write its rows."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError
from libs.common.postgres import Connection
from libs.common.transparency.merkle import HASH_BYTES, UNSEEN_LEAF, Range, leaf_hash, range_hash
from libs.common.transparency.tiles import WIDTH, Edge, TileKey, hash_from, right_edge, tiles_of
from services.audit.domain.streams import STREAM_NUMBERS

log = logging.getLogger(__name__)

BUILD_BATCH: Final = 16_384
"""Rows of an older log that one transaction hashes: 16 MB of them in memory."""

_PASS_BATCH: Final = 65_536

_PUT: Final = """
INSERT INTO tiles (stream, level, index, hashes)
SELECT %b, tile.* FROM unnest(%b::int2[], %b::int8[], %b::bytea[]) AS tile
ON CONFLICT (stream, level, index) DO UPDATE SET hashes = EXCLUDED.hashes"""

_GET: Final = """
SELECT level, index, hashes FROM tiles
JOIN unnest(%b::int2[], %b::int8[]) AS wanted (level, index) USING (level, index) WHERE stream = %b"""

_SIZE: Final = "SELECT index, length(hashes) FROM tiles WHERE stream = %s AND level = 0 ORDER BY index DESC LIMIT 1"
_UNSEEN: Final = "INSERT INTO unseen (stream, first_sequence, last_sequence) VALUES (%s, %s, %s)"
_BODIES: Final = "SELECT sequence, body FROM entries WHERE stream = %s AND sequence > %s AND sequence <= %s"
_NEWEST_SIGNED: Final = "SELECT size, root FROM checkpoints_signed WHERE stream = %s ORDER BY size DESC LIMIT 1"

ReadMessage = Callable[[int], Awaitable[StoredMessage | None]]
"""The message with this sequence, if the stream holds it."""


class StreamTree:
    """Grows one stream's tree. Implements :class:`libs.common.projection.Account`."""

    def __init__(self, stream: str, read: ReadMessage) -> None:
        self._stream = stream
        self._number = STREAM_NUMBERS[stream]
        self._read = read
        self._edge: Edge | None = None

    async def append(self, connection: Connection, first_sequence: int, leaf_hashes: Sequence[bytes]) -> None:
        """Inside the transaction that writes the rows.

        Raises:
            KtError: ``log_damaged`` when the tree does not end where these leaves begin.
        """
        await self.prepare(connection, first_sequence)
        await self.store(connection, self.grow(leaf_hashes))

    async def prepare(self, connection: Connection, first_sequence: int) -> None:
        """The first step of :meth:`append`; :meth:`grow` and :meth:`store` are the others. What is grown and then not
        stored, because the transaction fails, is read again by the next ``prepare``."""
        size = first_sequence - 1
        if self._edge is None or self._edge.size != size:
            self._edge = await self._load(connection, size)

    def grow(self, leaf_hashes: Sequence[bytes]) -> dict[TileKey, bytes]:
        """The tiles to store, computed without the database."""
        return self._edge.append(leaf_hashes) if self._edge is not None else {}

    async def store(self, connection: Connection, tiles: Mapping[TileKey, bytes]) -> None:
        await _put(connection, self._number, tiles)

    async def open(self, connection: Connection, position: int) -> None:
        """See that the tree is as large as the log, and is the one that was last signed.

        The tree of a log that had none is built first, from the log's rows.
        """
        self._edge = None
        size = await stored_size(connection, self._number)
        if size > position:
            raise self._damaged(f"has {size} leaves, but only {position} entries were put on record")
        if size < position:
            await self._build(connection, size, position)
        signed = await (await connection.execute(_NEWEST_SIGNED, (self._number,))).fetchone()
        if signed is None:
            return
        if signed[0] > position:
            raise self._damaged(f"has {position} leaves, but was signed with {signed[0]}")
        if await stored_root(connection, self._number, signed[0]) != signed[1]:
            raise self._damaged(f"gives another root for its first {signed[0]} leaves than the one that was signed")

    async def pass_over(self, connection: Connection, first: int, last: int) -> None:
        await connection.execute(_UNSEEN, (self._number, first, last))
        for start in range(first, last + 1, _PASS_BATCH):
            await self.append(connection, start, [UNSEEN_LEAF] * min(_PASS_BATCH, last + 1 - start))

    async def _build(self, connection: Connection, size: int, position: int) -> None:
        extra = {"stream": self._stream, "from_size": size, "to_size": position}
        log.warning("audit.tree_building", extra=extra)
        for start in range(size, position, BUILD_BATCH):
            end = min(start + BUILD_BATCH, position)
            async with connection.transaction():
                leaves = await self._leaves(connection, start, end)
                await self.append(connection, start + 1, leaves)
            log.info("audit.tree_progress", extra={"stream": self._stream, "size": end, "of": position})
        self._edge = None

    async def _leaves(self, connection: Connection, start: int, end: int) -> list[bytes]:
        """Leaf hashes of the rows behind ``start`` up to ``end``; from the stream where there is no row."""
        cursor = await connection.cursor(binary=True).execute(_BODIES, (self._number, start, end))
        hashes: dict[int, bytes] = {}
        for sequence, body in await cursor.fetchall():
            if hashes.setdefault(sequence, hash_ := leaf_hash(body)) != hash_:
                raise self._damaged(f"can't be built: the log holds two different entries with the number {sequence}")
        missing = [sequence for sequence in range(start + 1, end + 1) if sequence not in hashes]
        unseen = []
        for sequence in missing:
            message = await self._read(sequence)
            hashes[sequence] = leaf_hash(message.body) if message else UNSEEN_LEAF
            if message is None:
                unseen.append(sequence)
        for first, last in _runs(unseen):
            await connection.execute(_UNSEEN, (self._number, first, last))
        return [hashes[sequence] for sequence in range(start + 1, end + 1)]

    async def _load(self, connection: Connection, size: int) -> Edge:
        stored = await stored_size(connection, self._number)
        tiles = await get_tiles(connection, self._number, [key for key, _ in right_edge(size)])
        try:
            if stored == size:
                return Edge(size, tiles)
        except (KeyError, ValueError):
            stored = -1
        raise self._damaged(f"does not end at {size}, where the next entries belong: its tiles were changed")

    def _damaged(self, what: str) -> KtError:
        return KtError(
            "log_damaged",
            f"The tree over {self._stream} {what}.",
            "Compare the log with its proofs and the stream: `kt events verify`.",
        )


async def stored_size(connection: Connection, stream: int) -> int:
    """How many leaves the tiles hold."""
    row = await (await connection.execute(_SIZE, (stream,))).fetchone()
    return 0 if row is None else int(row[0]) * WIDTH + int(row[1]) // HASH_BYTES


async def stored_root(connection: Connection, stream: int, size: int) -> bytes | None:
    """The root of the first ``size`` leaves; None when tiles are missing or too short for it."""
    hashes = await stored_hashes(connection, stream, [Range(0, size)])
    return hashes[0] if hashes else None


async def stored_hashes(connection: Connection, stream: int, ranges: Sequence[Range]) -> list[bytes] | None:
    """The hashes of the ranges of a path; None when tiles are missing or too short for it."""
    tiles = await get_tiles(connection, stream, tiles_of(ranges))
    try:
        return [range_hash(leaves, lambda node: hash_from(tiles, node)) for leaves in ranges]
    except (KeyError, ValueError):
        return None


async def get_tiles(connection: Connection, stream: int, keys: Iterable[TileKey]) -> dict[TileKey, bytes]:
    """Those of the tiles that there are."""
    wanted = sorted(keys)
    if not wanted:
        return {}
    columns = ([key.level for key in wanted], [key.number for key in wanted])
    cursor = await connection.cursor(binary=True).execute(_GET, (*columns, stream))
    return {TileKey(level, number): hashes for level, number, hashes in await cursor.fetchall()}


async def _put(connection: Connection, stream: int, tiles: Mapping[TileKey, bytes]) -> None:
    keys = sorted(tiles)
    values: tuple[Any, ...] = (
        stream,
        [key.level for key in keys],
        [key.number for key in keys],
        [tiles[key] for key in keys],
    )
    await connection.execute(_PUT, values)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive numbers as first and last of each run."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
