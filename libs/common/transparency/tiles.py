"""Tiles: the hashes of a Merkle tree as they are stored (C2SP tlog-tiles, height 8).

A tile of level ``l`` holds up to 256 hashes next to each other, those of the perfect subtrees over ``256**l`` leaves.
Only the rightmost tile of a level may have fewer, and it is the only one that ever changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from libs.common.transparency.merkle import (
    HASH_BYTES,
    CompactRange,
    Node,
    Range,
    folded,
    perfect_root,
    subtrees,
)

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
TILE_BYTES: Final = WIDTH * HASH_BYTES


class TileKey(NamedTuple):
    level: int
    number: int


class Slice(NamedTuple):
    """``width`` hashes of a tile, a power of two, over which a node is the perfect subtree."""

    key: TileKey
    first: int
    width: int


def slice_of(node: Node) -> Slice:
    """Where the hash of a node comes from."""
    level, height = divmod(node.level, HEIGHT)
    first = node.number << height
    return Slice(TileKey(level, first // WIDTH), first % WIDTH, 1 << height)


def hash_in(tile: bytes, where: Slice) -> bytes:
    """The hash of a node from its tile.

    Raises:
        ValueError: the tile is too short.
    """
    hashes = split(tile[where.first * HASH_BYTES : (where.first + where.width) * HASH_BYTES])
    if len(hashes) != where.width:
        raise ValueError(f"tile {where.key.level}/{where.key.number} is too short")
    return perfect_root(hashes)


def hash_from(tiles: Mapping[TileKey, bytes], node: Node) -> bytes:
    """
    Raises:
        KeyError: the tile is not among them.
        ValueError: it is too short.
    """
    where = slice_of(node)
    return hash_in(tiles[where.key], where)


def split(tile: bytes) -> list[bytes]:
    """The hashes of a tile.

    Raises:
        ValueError: it does not consist of whole hashes.
    """
    if len(tile) % HASH_BYTES:
        raise ValueError("a tile consists of whole hashes")
    return [tile[start : start + HASH_BYTES] for start in range(0, len(tile), HASH_BYTES)]


def tiles_of(ranges: Sequence[Range]) -> set[TileKey]:
    """The tiles that the hashes of these ranges are made from."""
    return {slice_of(node).key for leaves in ranges for node in subtrees(*leaves)}


def right_edge(size: int) -> Iterator[tuple[TileKey, int]]:
    """The tiles that are not full in a tree of this size, and how many hashes each holds; from the leaves up."""
    level, count = 0, size
    while count:
        if count % WIDTH:
            yield TileKey(level, count // WIDTH), count % WIDTH
        level, count = level + 1, count // WIDTH


class Edge:
    """The right edge of a growing tree: all that is needed to append to it, and its root."""

    def __init__(self, size: int = 0, tiles: Mapping[TileKey, bytes] | None = None) -> None:
        """``tiles`` holds those of :func:`right_edge`; of each, only as much as the size takes is used.

        Raises:
            KeyError: one of them is missing.
            ValueError: one of them is too short.
        """
        self.size = size
        self._partial: list[bytearray] = []
        for key, width in right_edge(size):
            tile = (tiles or {})[key][: width * HASH_BYTES]
            if len(tile) != width * HASH_BYTES:
                raise ValueError(f"tile {key.level}/{key.number} is too short for a tree of {size}")
            self._level(key.level)[:] = tile

    def append(self, leaf_hashes: Sequence[bytes]) -> dict[TileKey, bytes]:
        """Append leaves. Returns the tiles that are new or have grown, with their whole content."""
        changed: dict[TileKey, bytes] = {}
        level, begin, hashes = 0, self.size, list(leaf_hashes)
        while hashes:
            partial = self._level(level)
            index, parents = begin // WIDTH, []
            partial += b"".join(hashes)
            while len(partial) >= TILE_BYTES:
                tile = bytes(partial[:TILE_BYTES])
                del partial[:TILE_BYTES]
                changed[TileKey(level, index)] = tile
                parents.append(perfect_root(split(tile)))
                index += 1
            if partial:
                changed[TileKey(level, index)] = bytes(partial)
            level, begin, hashes = level + 1, begin // WIDTH, parents
        self.size += len(leaf_hashes)
        return changed

    def root(self) -> bytes:
        return folded([hash_ for partial in reversed(self._partial) for hash_ in _perfect_parts(bytes(partial))])

    def compact(self) -> CompactRange:
        """The whole tree as the roots of its perfect subtrees."""
        parts = [hash_ for partial in reversed(self._partial) for hash_ in _perfect_parts(bytes(partial))]
        return CompactRange(0, self.size, parts)

    def _level(self, level: int) -> bytearray:
        while len(self._partial) <= level:
            self._partial.append(bytearray())
        return self._partial[level]


def _perfect_parts(partial: bytes) -> Iterator[bytes]:
    hashes = split(partial)
    for node in subtrees(0, len(hashes)):
        first = node.number << node.level
        yield perfect_root(hashes[first : first + (1 << node.level)])
