"""Tiles hold a tree of any size, however it grew, and every hash of it can be had from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.transparency.merkle import HASH_BYTES, Range, leaf_hash, range_hash, root_of, subtrees
from libs.common.transparency.tiles import TILE_BYTES, Edge, TileKey, hash_from, right_edge, tiles_of

LEAVES = [leaf_hash(b"%d" % number) for number in range(70_000)]


@given(steps=st.lists(st.integers(0, 700), max_size=6), reload=st.booleans())
def test_a_tree_grown_in_any_steps_has_the_same_tiles_and_root(steps: list[int], reload: bool) -> None:
    tiles: dict[TileKey, bytes] = {}
    edge = Edge()
    for step in steps:
        tiles |= edge.append(LEAVES[edge.size : edge.size + step])
        assert edge.root() == root_of(LEAVES[: edge.size])
        edge = Edge(edge.size, tiles) if reload else edge
    at_once = Edge()
    assert tiles == at_once.append(LEAVES[: sum(steps)])
    assert edge.compact().hash() == at_once.root()


def test_the_tiles_of_70_000_leaves_are_those_of_the_specification() -> None:
    edge = Edge()
    tiles = edge.append(LEAVES)
    widths = {key: len(tile) // HASH_BYTES for key, tile in tiles.items()}
    assert sum(1 for key, width in widths.items() if key.level == 0 and width == 256) == 273
    assert dict(right_edge(70_000)) == {TileKey(0, 273): 112, TileKey(1, 1): 17, TileKey(2, 0): 1}
    assert {key: width for key, width in widths.items() if width < 256} == dict(right_edge(70_000))
    assert widths[TileKey(1, 0)] == 256
    assert dict(right_edge(256)) == {TileKey(1, 0): 1}


@given(size=st.integers(1, 70_000), data=st.data())
def test_a_root_of_the_past_is_found_in_the_tiles_of_today(size: int, data: st.DataObject) -> None:
    wanted = Range(0, data.draw(st.integers(0, size)))
    tiles = {key: TILES[key] for key in tiles_of([wanted])}
    assert range_hash(wanted, lambda node: hash_from(tiles, node)) == _root(wanted.end)


TILES = Edge().append(LEAVES)


def _root(size: int) -> bytes:
    return Edge(size, {key: TILES[key] for key, _ in right_edge(size)}).root()


def test_every_node_of_a_range_comes_from_one_tile() -> None:
    for node in subtrees(0, 66_000):
        first = node.number << node.level
        assert hash_from(TILES, node) == root_of(LEAVES[first : first + (1 << node.level)])


def test_tiles_that_are_missing_or_cut_are_not_taken() -> None:
    tiles = {key: TILES[key] for key, _ in right_edge(1000)}
    with pytest.raises(KeyError):
        Edge(1000, {})
    with pytest.raises(ValueError, match="too short"):
        Edge(1000, {**tiles, TileKey(0, 3): TILES[TileKey(0, 3)][: TILE_BYTES // 2]})
    with pytest.raises(ValueError, match="whole hashes"):
        hash_from({TileKey(0, 0): b"x" * 31}, next(subtrees(0, 1)))
