"""The proofs that a file of an export carries: hashes around its rows, or a path for each of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from libs.common.errors import KtError
from libs.common.transparency.export_rows import proof_line
from libs.common.transparency.merkle import HASH_BYTES, Node, Range, inclusion_path, node_hash, range_hash, subtrees
from libs.common.transparency.tiles import HEIGHT, WIDTH, TileKey, slice_of, split
from services.audit.application.export_ports import Tiles
from services.audit.application.ports import Trees
from services.audit.domain.export import LogRange

_BATCH: Final = 256


async def hashes_around(trees: Trees, log: LogRange, first: int, last: int) -> tuple[list[str], list[str]]:
    """The hashes (base64) of the perfect subtrees before ``first`` and behind ``last``."""
    ranges = [*_ranges(0, first - 1), *_ranges(last, log.size)]
    before = sum(1 for _ in subtrees(0, first - 1))
    hashes = [base64.b64encode(hash_).decode() for hash_ in await trees.hashes(log.stream, ranges)]
    return hashes[:before], hashes[before:]


def _ranges(begin: int, end: int) -> list[Range]:
    return [Range(node.number << node.level, (node.number + 1) << node.level) for node in subtrees(begin, end)]


class Paths:
    """Makes inclusion proofs of rows in their order. A tile's inner hashes are computed once for all its rows."""

    def __init__(self, tiles: Tiles, log: LogRange) -> None:
        self._tiles = tiles
        self._log = log
        self._expanded: dict[TileKey, list[list[bytes]]] = {}
        self._ragged: dict[Range, bytes] = {}

    async def lines(self, sequences: Sequence[int]) -> list[bytes]:
        """A line of proof for each row.

        Raises:
            KtError: ``log_damaged`` when the tree does not hold the hashes.
        """
        made: list[bytes] = []
        for start in range(0, len(sequences), _BATCH):
            batch = sequences[start : start + _BATCH]
            paths = [inclusion_path(sequence - 1, self._log.size) for sequence in batch]
            await self._load({slice_of(node).key for path in paths for node in _nodes(path)})
            for sequence, path in zip(batch, paths, strict=True):
                made.append(proof_line(sequence, [self._hash(leaves) for leaves in path]))
        return made

    async def _load(self, wanted: set[TileKey]) -> None:
        """Keep the inner tiles, which later rows need again, and of the leaves only those of these rows."""
        self._expanded = {key: tile for key, tile in self._expanded.items() if key.level or key in wanted}
        missing = sorted(wanted - self._expanded.keys())
        found = await self._tiles.tiles(self._log.stream, missing)
        for key in missing:
            if key not in found:
                raise damaged(self._log.stream)
            self._expanded[key] = _levels(found[key])

    def _hash(self, leaves: Range) -> bytes:
        size = leaves.end - leaves.begin
        if size & (size - 1) == 0 and leaves.begin % size == 0:
            return self._node(Node(size.bit_length() - 1, leaves.begin // size))
        if leaves not in self._ragged:  # only at the right edge of the tree, so there are few of them
            self._ragged[leaves] = range_hash(leaves, self._node)
        return self._ragged[leaves]

    def _node(self, node: Node) -> bytes:
        where, height = slice_of(node), node.level % HEIGHT
        try:
            return self._expanded[where.key][height][where.first >> height]
        except (KeyError, IndexError):
            raise damaged(self._log.stream) from None


def _nodes(path: Sequence[Range]) -> Iterator[Node]:
    for leaves in path:
        yield from subtrees(*leaves)


def _levels(tile: bytes) -> list[list[bytes]]:
    """The hashes of a tile, and those of the perfect subtrees over them, by height."""
    levels = [split(tile)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return levels


def leaf_in(tiles: Mapping[TileKey, bytes], sequence: int) -> bytes:
    """The leaf of a sequence from its tile; empty when that does not hold it."""
    index = sequence - 1
    tile = tiles.get(TileKey(0, index // WIDTH), b"")
    return tile[index % WIDTH * HASH_BYTES : (index % WIDTH + 1) * HASH_BYTES]


def damaged(stream: str) -> KtError:
    return KtError(
        "log_damaged",
        f"The tree over {stream} does not hold the hashes that this takes.",
        "Compare the log with its proofs and the stream: `kt events verify`.",
    )
