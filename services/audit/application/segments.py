"""Making the files of an export. No row leaves that is not what the tree holds at its place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from libs.common.errors import KtError
from libs.common.transparency.manifest import EXTENSIONS, ExportedFile, ProofsFile, file_name, proofs_name
from libs.common.transparency.merkle import HASH_BYTES, leaf_hash
from libs.common.transparency.tiles import WIDTH, TileKey
from services.audit.application.export_ports import Encoder, Encoders, RowSource, Tiles
from services.audit.application.export_proofs import Paths, damaged, hashes_around, leaf_in
from services.audit.application.ports import Trees
from services.audit.domain.export import DEFAULT_LIMITS, Export, Limits, Place, Row, Segment
from services.audit.domain.filter import Filter
from services.audit.domain.filter_text import parse

BATCH: Final = 2048
"""Rows that are read and worked on at once. The work is done beside the event loop, which goes on in between."""

MAX_WINDOW: Final = 131_072
"""Sequences that one query looks at: as many as it may return at first, more while few of them match."""


@dataclass(frozen=True, slots=True)
class Made:
    """A segment and the bytes of its files; both are empty when it has no rows."""

    segment: Segment
    rows: bytes
    proofs: bytes


@dataclass(frozen=True, slots=True)
class SegmentMaker:
    source: RowSource
    trees: Trees
    tiles: Tiles
    encoders: Encoders
    limits: Limits = DEFAULT_LIMITS

    async def make(self, export: Export, place: Place) -> Made:
        """
        Raises:
            KtError: ``log_damaged`` when a row was changed or removed; ``unavailable``.
        """
        encoder = self.encoders.encoder(export.format, place.log.stream)
        sequences, last = await self._encode(export, place, encoder)
        if not sequences:
            await self.check_accounted(place.log.stream, place.first, last)
            return Made(Segment(place.number, place.log.stream, last, None), b"", b"")
        rows = await asyncio.to_thread(encoder.finish)
        contiguous = len(sequences) == sequences[-1] - sequences[0] + 1
        if not contiguous or sequences[0] != place.first or sequences[-1] != last:
            await self.check_accounted(place.log.stream, place.first, last)
        name = file_name(place.log.stream, sequences[0], sequences[-1], EXTENSIONS[export.format])
        left: list[str] = []
        right: list[str] = []
        proofs, proofs_file = b"", None
        if contiguous:
            left, right = await hashes_around(self.trees, place.log, sequences[0], sequences[-1])
        else:
            lines = await Paths(self.tiles, place.log).lines(sequences)
            proofs = await asyncio.to_thread(self.encoders.packed, lines)
            proofs_file = ProofsFile(name=proofs_name(name), bytes=len(proofs), sha256=sha256(proofs).hexdigest())
        file = ExportedFile(
            name=name,
            stream=place.log.stream,
            first=sequences[0],
            last=sequences[-1],
            rows=len(sequences),
            bytes=len(rows),
            sha256=sha256(rows).hexdigest(),
            contiguous=contiguous,
            left=left,
            right=right,
            proofs=proofs_file,
        )
        return Made(Segment(place.number, place.log.stream, last, file), rows, proofs)

    async def _encode(self, export: Export, place: Place, encoder: Encoder) -> tuple[list[int], int]:
        """The sequences of the rows, and how far the segment reaches."""
        filter_: Filter = parse(export.filter)
        sequences: list[int] = []
        first, stored, window = place.first, 0, BATCH
        while first <= place.last and stored < self.limits.bytes:
            limit = min(BATCH, self.limits.rows - len(sequences))
            if not limit:
                break
            last = min(place.last, first + window - 1)
            rows = await self.source.rows(export.org, filter_, place.log.stream, first=first, last=last, limit=limit)
            if rows:
                await self._check(place, rows)
                await asyncio.to_thread(encoder.add, rows)
                sequences += [row.sequence for row in rows]
                stored += sum([len(row.body) for row in rows])
            first = rows[-1].sequence + 1 if len(rows) == limit else last + 1
            window = min(2 * window, MAX_WINDOW) if len(rows) < limit // 2 else window
        return sequences, first - 1

    async def _check(self, place: Place, rows: Sequence[Row]) -> None:
        """That the rows are what was put on record, each once."""
        stream, first, last = place.log.stream, rows[0].sequence, rows[-1].sequence
        numbers = {(row.sequence - 1) // WIDTH for row in rows}
        tiles = await self.tiles.tiles(stream, [TileKey(0, number) for number in sorted(numbers)])
        leaves = await asyncio.to_thread(_leaves, rows)
        if last - first + 1 == len(rows) and b"".join(leaves) == _between(tiles, first, last):
            return  # nearly always, and at a fraction of the cost
        before = 0
        for row, leaf in zip(rows, leaves, strict=True):
            if row.sequence == before:
                raise _changed(stream, row.sequence, "is there twice")
            stored = leaf_in(tiles, row.sequence)
            if not stored:
                raise damaged(stream)
            if stored != leaf:
                raise _changed(stream, row.sequence, "is not what was put on record: it was changed")
            before = row.sequence

    async def check_accounted(self, stream: str, first: int, last: int) -> None:
        """That every entry of a range is there, whoever's it is, or was never seen.

        Raises:
            KtError: ``log_damaged``.
        """
        width = max(0, last - first + 1)
        accounted = await self.source.accounted(stream, first, last) if width else 0
        if accounted != width:
            raise KtError(
                "log_damaged",
                f"Of the {width} entries {stream}:{first} to {last}, {width - accounted} are missing from"
                " the log, so it can't be exported.",
                "`kt events verify` says which, `kt events repair` restores them.",
            )


def _between(tiles: Mapping[TileKey, bytes], first: int, last: int) -> bytes:
    """The leaves of consecutive sequences."""
    begin, end = (first - 1) // WIDTH, (last - 1) // WIDTH
    joined = b"".join([tiles.get(TileKey(0, number), b"") for number in range(begin, end + 1)])
    return joined[(first - 1 - begin * WIDTH) * HASH_BYTES : (last - begin * WIDTH) * HASH_BYTES]


def _leaves(rows: Sequence[Row]) -> list[bytes]:
    return [leaf_hash(row.body) for row in rows]


def _changed(stream: str, sequence: int, how: str) -> KtError:
    return KtError(
        "log_damaged",
        f"The row {stream}:{sequence} {how}, so it can't be exported.",
        "`kt events verify` says which side is right, `kt events repair` restores it.",
    )
