"""Trees and proofs: the published vectors, and the RFC's own definitions for every shape of tree."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.transparency.merkle import (
    EMPTY_ROOT,
    CompactRange,
    Node,
    NotProven,
    Range,
    consistency_path,
    inclusion_path,
    leaf_hash,
    perfect_root,
    range_hash,
    root_of,
    subtrees,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.transparency import reference
from tests.unit.transparency.reference import LEAVES

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
L1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
L23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
L4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
L4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
L45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
L67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
L7 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"

INCLUSION: list[tuple[int, int, Sequence[str]]] = [
    (0, 1, []),
    (0, 8, [L1, L23, L4567]),
    (5, 8, [L4, L67, ROOTS[4]]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], L23, L4]),
]
CONSISTENCY: list[tuple[int, int, Sequence[str]]] = [
    (1, 1, []),
    (1, 8, [L1, L23, L4567]),
    (6, 8, [L45, L67, ROOTS[4]]),
    (2, 5, [L23, L4]),
]
"""Leaf indexes count from 0 here."""


def proof_of(ranges: Sequence[Range], leaves: Sequence[bytes]) -> list[bytes]:
    def hash_of(node: Node) -> bytes:
        return perfect_root(leaves[node.number << node.level : (node.number + 1) << node.level])

    return [range_hash(part, hash_of) for part in ranges]


def entries(count: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(count)]


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries(count)]


def raw(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert root_of([leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == ROOTS[size]
    assert reference.mth(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "expected"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int, expected: Sequence[str]) -> None:
    leaves = [leaf_hash(leaf) for leaf in LEAVES]
    assert proof_of(inclusion_path(index, size), leaves) == raw(expected)
    verify_inclusion(leaves[index], index, size, raw(expected), bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "expected"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old: int, new: int, expected: Sequence[str]) -> None:
    assert proof_of(consistency_path(old, new), [leaf_hash(leaf) for leaf in LEAVES]) == raw(expected)
    verify_consistency(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), raw(expected))


def test_every_proof_of_small_trees_is_the_one_the_rfc_defines() -> None:
    for size in range(1, 35):
        leaves, root = hashes(size), reference.mth(entries(size))
        for index in range(size):
            proof = proof_of(inclusion_path(index, size), leaves)
            assert proof == reference.path(index, entries(size))
            verify_inclusion(leaves[index], index, size, proof, root)
        for old in range(1, size + 1):
            proof = proof_of(consistency_path(old, size), leaves)
            assert proof == reference.proof(old, entries(size))
            verify_consistency(old, reference.mth(entries(old)), size, root, proof)


sizes = st.integers(1, 600)


@given(size=sizes, data=st.data())
def test_a_leaf_is_proven_at_its_own_index_alone(size: int, data: st.DataObject) -> None:
    index, claimed = data.draw(st.integers(0, size - 1)), data.draw(st.integers(-1, size))
    leaves = hashes(size)
    proof, root = proof_of(inclusion_path(index, size), leaves), root_of(leaves)
    verify_inclusion(leaves[index], index, size, proof, root)
    if claimed != index:
        with pytest.raises(NotProven):
            verify_inclusion(leaves[index], claimed, size, proof, root)


@given(size=sizes, data=st.data())
def test_no_inclusion_proof_survives_a_change_of_any_part(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = hashes(size)
    proof, root = proof_of(inclusion_path(index, size), leaves), root_of(leaves)
    parts = [leaves[index], root, *proof]
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(parts[part])
    changed[bit // 8] ^= 1 << bit % 8
    parts[part] = bytes(changed)
    with pytest.raises(NotProven):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])
    for other in (proof[:-1], [*proof, root]):
        if len(other) != len(proof):
            with pytest.raises(NotProven):
                verify_inclusion(leaves[index], index, size, other, root)


@given(new=sizes, data=st.data())
def test_a_tree_continues_only_what_it_began_with(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    leaves = hashes(new)
    other = [*leaves[:changed], leaf_hash(b"another"), *leaves[changed + 1 :]]
    old_root, proof = root_of(leaves[:old]), proof_of(consistency_path(old, new), leaves)
    verify_consistency(old, old_root, new, root_of(leaves), proof)
    with pytest.raises(NotProven):
        verify_consistency(old, old_root, new, root_of(other), proof_of(consistency_path(old, new), other))
    with pytest.raises(NotProven):
        verify_consistency(old, root_of(other[:old]), new, root_of(leaves), proof)


@given(new=sizes, data=st.data())
def test_no_consistency_proof_survives_a_change_of_any_part(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    leaves = hashes(new)
    proof = proof_of(consistency_path(old, new), leaves)
    parts = [root_of(leaves[:old]), root_of(leaves), *proof]
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(parts[part])
    changed[bit // 8] ^= 1 << bit % 8
    parts[part] = bytes(changed)
    with pytest.raises(NotProven):
        verify_consistency(old, parts[0], new, parts[1], parts[2:])
    with pytest.raises(NotProven):
        verify_consistency(old, root_of(leaves[:old]), new, root_of(leaves), [*proof, leaves[0]])


def test_a_smaller_tree_continues_nothing_and_everything_continues_the_empty_one() -> None:
    leaves = hashes(5)
    with pytest.raises(NotProven):
        verify_consistency(5, root_of(leaves), 4, root_of(leaves[:4]), [])
    with pytest.raises(NotProven):
        verify_consistency(4, root_of(leaves[:4]), 4, root_of(leaves), [])
    with pytest.raises(NotProven):
        verify_consistency(0, root_of(leaves), 5, root_of(leaves), [])
    verify_consistency(0, EMPTY_ROOT, 5, root_of(leaves), [])


@given(begin=st.integers(0, 300), steps=st.lists(st.integers(0, 90), max_size=8))
def test_a_range_grown_in_any_steps_is_the_same(begin: int, steps: list[int]) -> None:
    leaves = hashes(begin + sum(steps))
    grown = CompactRange(begin)
    for step in steps:
        grown.extend(leaves[grown.end : grown.end + step])
    whole = [Range(node.number << node.level, (node.number + 1) << node.level) for node in subtrees(begin, grown.end)]
    assert grown.hashes == proof_of(whole, leaves)
    left = CompactRange(0, begin, CompactRange(0).hashes if begin == 0 else _compact(leaves[:begin]))
    for node, hash_ in zip(subtrees(begin, grown.end), grown.hashes, strict=True):
        left.append(node, hash_)
    assert left.hash() == root_of(leaves)


def _compact(leaves: Sequence[bytes]) -> list[bytes]:
    edge = CompactRange()
    edge.extend(leaves)
    return edge.hashes


def test_a_range_takes_only_what_fits_it() -> None:
    with pytest.raises(ValueError, match="perfect subtrees"):
        CompactRange(0, 3, [EMPTY_ROOT])
    with pytest.raises(ValueError, match="ends"):
        CompactRange(0).append(Node(0, 1), EMPTY_ROOT)
    for index, size in ((0, 0), (-1, 3), (3, 3)):
        with pytest.raises(ValueError, match="below"):
            inclusion_path(index, size)
    with pytest.raises(ValueError, match="smaller"):
        consistency_path(3, 2)
