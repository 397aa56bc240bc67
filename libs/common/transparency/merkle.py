"""Merkle trees as RFC 6962 section 2.1 defines them: roots, inclusion proofs, consistency proofs.

Proofs are made in two steps, because the hashes they take lie in some store: a *path* names ranges of leaves in the
order of the proof, and :func:`range_hash` gives the hash of one from the perfect subtrees it consists of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()
"""Root of the tree without leaves."""

UNSEEN_LEAF: Final = bytes(HASH_BYTES)
"""Stands where an entry was gone before the log could see it. No entry has this hash, so none can be put there."""


class NotProven(Exception):
    """A proof does not show what it claims to show; the text says why."""


class Node(NamedTuple):
    """The perfect subtree over the leaves from ``number << level`` up to ``(number + 1) << level``."""

    level: int
    number: int


class Range(NamedTuple):
    """The leaves from ``begin`` up to, and without, ``end``."""

    begin: int
    end: int


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Root over as many hashes as a power of two, at least one."""
    while len(hashes) > 1:
        hashes = [
            sha256(b"\1" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]


def subtrees(begin: int, end: int) -> Iterator[Node]:
    """The fewest perfect subtrees that together are the leaves from ``begin`` up to ``end``, from left to right."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield Node(level, begin >> level)
        begin += 1 << level


def folded(hashes: Sequence[bytes]) -> bytes:
    """The hash over perfect subtrees that get smaller from left to right; of none, that of the empty tree."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def range_hash(leaves: Range, hash_of: Callable[[Node], bytes]) -> bytes:
    """``MTH(D[begin:end])`` for a range of a path, or one that begins at 0."""
    return folded([hash_of(node) for node in subtrees(*leaves)])


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """``MTH`` over leaves given by their hashes."""
    edge = CompactRange()
    edge.extend(leaf_hashes)
    return edge.hash()


def inclusion_path(index: int, size: int) -> list[Range]:
    """The ranges whose hashes are ``PATH(index, D[size])``, from the leaf's sibling upwards.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("a leaf's index is below the size of its tree")
    path: list[Range] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _largest_power_below(end - begin)
        if index < middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(begin, middle))
            begin = middle
    return path[::-1]


def consistency_path(old: int, new: int) -> list[Range]:
    """The ranges whose hashes are ``PROOF(old, D[new])``; none when either tree tells nothing of the other.

    Raises:
        ValueError: ``old`` is larger.
    """
    if not 0 <= old <= new:
        raise ValueError("the older tree is the smaller one")
    if old in (0, new):
        return []
    path: list[Range] = []
    begin, end = 0, new
    while old != end:
        middle = begin + _largest_power_below(end - begin)
        if old <= middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(begin, middle))
            begin = middle
    if begin:
        path.append(Range(begin, end))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """
    Raises:
        NotProven: the leaf with this hash is not at ``index`` in the tree with this size and root.
    """
    if not 0 <= index < size:
        raise NotProven(f"the index {index} lies outside a tree of {size}")
    path = inclusion_path(index, size)
    if len(path) != len(proof):
        raise NotProven(
            f"the inclusion proof has {len(proof)} hashes; for index {index} of {size} it has {len(path)}"
        )
    result = leaf
    for leaves, sibling in zip(path, proof, strict=True):
        result = node_hash(sibling, result) if leaves.end <= index else node_hash(result, sibling)
    if result != root:
        raise NotProven("the inclusion proof leads to another root: entry, index, proof or root was changed")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """
    Raises:
        NotProven: the tree of size ``new`` is not the one of size ``old`` with leaves appended.
    """
    if not 0 <= old <= new:
        raise NotProven(f"a tree of {new} leaves can't continue one of {old}")
    path = consistency_path(old, new)
    if len(path) != len(proof):
        raise NotProven(f"the consistency proof has {len(proof)} hashes; from {old} to {new} it has {len(path)}")
    if old == new and old_root != new_root:
        raise NotProven("two trees of the same size have different roots")
    if old == 0 and old_root != EMPTY_ROOT:
        raise NotProven("the older tree is empty, but its root is not that of the empty tree")
    if not path:
        return
    if _rebuilt(path, proof, old, old_root, within=old) != old_root:
        raise NotProven("the consistency proof does not contain the older tree")
    if _rebuilt(path, proof, old, old_root, within=new) != new_root:
        raise NotProven(
            "the consistency proof leads to another root: what the older tree held was changed or removed"
        )


def _rebuilt(path: Sequence[Range], proof: Sequence[bytes], old: int, old_root: bytes, *, within: int) -> bytes:
    """The root of the tree of size ``within`` from the proof; an old root that is a subtree stands for itself."""
    parts = list(zip(path, proof, strict=True))
    result, begin = (old_root, 0) if path[0].begin == old else (parts[0][1], path[0].begin)
    for leaves, sibling in parts if path[0].begin == old else parts[1:]:
        if leaves.begin < begin:
            result, begin = node_hash(sibling, result), leaves.begin
        elif leaves.end <= within:
            result = node_hash(result, sibling)
    return result


class CompactRange:
    """The leaves from ``begin`` up to ``end`` as the hashes of their perfect subtrees, from left to right.

    It takes logarithmic space, so that a log of any length can be hashed from a stream of entries.
    """

    __slots__ = ("begin", "end", "hashes")

    def __init__(self, begin: int = 0, end: int | None = None, hashes: Iterable[bytes] = ()) -> None:
        """Without ``end``: empty. Else ``hashes`` are those of ``subtrees(begin, end)``.

        Raises:
            ValueError: there are more or fewer hashes than that.
        """
        self.begin = begin
        self.end = begin if end is None else end
        self.hashes = list(hashes)
        if len(self.hashes) != sum(1 for _ in subtrees(self.begin, self.end)):
            raise ValueError("the hashes are not those of the range's perfect subtrees")

    def append(self, node: Node, hash_: bytes) -> None:
        """Append the perfect subtree that begins where this range ends."""
        if node.number << node.level != self.end:
            raise ValueError("a subtree is appended where the range ends")
        level, number = node
        while number & 1 and (number - 1) << level >= self.begin:
            hash_ = node_hash(self.hashes.pop(), hash_)
            level, number = level + 1, number >> 1
        self.hashes.append(hash_)
        self.end = (node.number + 1) << node.level

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Append leaves."""
        start = self.end
        for node in subtrees(start, start + len(leaf_hashes)):
            first = (node.number << node.level) - start
            self.append(node, perfect_root(leaf_hashes[first : first + (1 << node.level)]))

    def hash(self) -> bytes:
        """The root, for a range that begins at 0."""
        return folded(self.hashes)


def _largest_power_below(size: int) -> int:
    """The largest power of two smaller than ``size``, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
