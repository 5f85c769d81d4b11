"""The liabilities tree: a binary hash tree whose nodes carry, and hash, one sum per asset.

    zero leaf   H(TAG_ZERO ‖ context ‖ width)                                        sums 0
    leaf        H(TAG_LEAF ‖ context ‖ width ‖ customer ‖ salt ‖ balances)           sums = balances
    inner node  H(TAG_NODE ‖ level ‖ width ‖ left hash ‖ left sums ‖ right hash ‖ right sums)
    root        H(TAG_ROOT ‖ context ‖ leaf count ‖ width ‖ top hash ‖ top sums)

H is SHA-256, uncut; tags are 16 bytes, level 1, width 2, customer and leaf count 8, context and
salt 32, each balance and sum 16, all big-endian. Both children's sums are hashed apart, so no inner
node can claim less than the children a customer is shown (a hash of their total alone lets it).
Leaves are ordered by their salted hash, which tells nothing of who or how rich they are, and padded
with zero leaves to the next power of two, so the leaf count alone fixes the shape. `width` is the
number of assets in the published list; `context` binds the snapshot, its cut and that list.

`commit_naive` is the definition; `Tree.build` gives the same root at several times the speed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.errors import Corrupt, Reason, Refused

TAG_ZERO = b"strongroom/zero1"
TAG_LEAF = b"strongroom/leaf1"
TAG_NODE = b"strongroom/node1"
TAG_ROOT = b"strongroom/root1"
HASH_BYTES = 32
SALT_BYTES = 32
AMOUNT_BYTES = 16
AMOUNT_LIMIT = 1 << 128
"""Every balance and every sum is below this."""
CUSTOMER_LIMIT = 1 << 64
WIDTH_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one customer is owed, one balance per asset of the published list, in minor units."""

    customer_no: int
    salt: bytes
    balances: tuple[int, ...]

    def __repr__(self) -> str:
        """Name the customer only: a salt in a log would undo the blinding."""
        return f"<Leaf of customer {self.customer_no}>"


@dataclass(frozen=True, slots=True)
class Node:
    """A hash and the sums below it."""

    hash: bytes
    sums: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Commitment:
    """What is published of a tree."""

    context: bytes
    leaf_count: int
    top: Node

    @property
    def root(self) -> bytes:
        """Return the 32 bytes that commit to everything else here."""
        width = len(self.top.sums)
        return _sha256(
            TAG_ROOT
            + self.context
            + self.leaf_count.to_bytes(8, "big")
            + width.to_bytes(2, "big")
            + self.top.hash
            + sums_bytes(self.top.sums)
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """One customer's way up: the leaf, its place, and its sibling at every level from below."""

    leaf: Leaf
    index: int
    path: tuple[Node, ...]


def salt_of(secret: bytes, customer_no: int) -> bytes:
    """Return a customer's salt in one snapshot, from the snapshot's own 32 secret bytes.

    One salt tells nothing of another, and a new secret changes them all.
    """
    if len(secret) != SALT_BYTES:
        raise ValueError("a snapshot's secret has 32 bytes")
    message = b"strongroom/salt1" + customer_no.to_bytes(8, "big")
    return hmac.digest(secret, message, "sha256")


def depth_of(leaf_count: int) -> int:
    """Return the number of levels above the leaves."""
    return (leaf_count - 1).bit_length() if leaf_count else 0


def sums_bytes(sums: Sequence[int]) -> bytes:
    """Return 16 big-endian bytes per sum."""
    return b"".join([value.to_bytes(AMOUNT_BYTES, "big") for value in sums])


def zero_leaf(context: bytes, width: int) -> Node:
    """Return the node that fills the places behind the last customer."""
    return Node(_sha256(TAG_ZERO + context + width.to_bytes(2, "big")), (0,) * width)


def leaf_node(context: bytes, leaf: Leaf) -> Node:
    """Return the node of one customer."""
    width = len(leaf.balances)
    body = leaf.customer_no.to_bytes(8, "big") + leaf.salt + sums_bytes(leaf.balances)
    return Node(
        _sha256(TAG_LEAF + context + width.to_bytes(2, "big") + body),
        leaf.balances,
    )


def parent(level: int, left: Node, right: Node) -> Node:
    """Join two nodes of level - 1; the leaves are level 0."""
    width = len(left.sums)
    assert width == len(right.sums), "both children count the same assets"
    both = left.hash + sums_bytes(left.sums) + right.hash + sums_bytes(right.sums)
    return Node(
        _sha256(TAG_NODE + level.to_bytes(1, "big") + width.to_bytes(2, "big") + both),
        tuple(a + b for a, b in zip(left.sums, right.sums, strict=True)),
    )


def commit_naive(context: bytes, width: int, leaves: Iterable[Leaf]) -> Commitment:
    """Build the tree as the definition reads, every padding leaf included."""
    kept = checked(context, width, leaves)
    level = sorted((leaf_node(context, leaf) for leaf in kept), key=lambda node: node.hash)
    depth = depth_of(len(kept))
    level += [zero_leaf(context, width)] * ((1 << depth) - len(kept))
    for height in range(1, depth + 1):
        level = [
            parent(height, left, right) for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    (top,) = level
    return Commitment(context, len(kept), top)


def checked(context: bytes, width: int, leaves: Iterable[Leaf]) -> list[Leaf]:
    """Return the leaves when a tree may be built of them.

    Refused: malformed_amount (negative, not an int), amount_out_of_range (a balance of 2^128 or
    more), balance_overflow (a total of 2^128 or more). Corrupt: one customer or one salt twice.
    """
    if len(context) != HASH_BYTES or not 0 < width < WIDTH_LIMIT:
        raise ValueError("a tree needs a context of 32 bytes and 1 to 65535 assets")
    kept = list(leaves)
    for leaf in kept:
        if len(leaf.salt) != SALT_BYTES or len(leaf.balances) != width:
            raise ValueError(
                f"customer {leaf.customer_no}: the salt has 32 bytes, one balance per asset"
            )
        if type(leaf.customer_no) is not int or not 0 <= leaf.customer_no < CUSTOMER_LIMIT:
            raise ValueError("a customer number is an int of 64 bits")
        if {*map(type, leaf.balances)} != {int} or min(leaf.balances) < 0:
            raise Refused(Reason.MALFORMED_AMOUNT, "a liability is an integer >= 0, never netted")
        if max(leaf.balances) >= AMOUNT_LIMIT:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "a liability is below 2^128")
    if len({leaf.customer_no for leaf in kept}) != len(kept):
        raise Corrupt("a customer has two leaves in one liabilities tree")
    if len({leaf.salt for leaf in kept}) != len(kept):
        raise Corrupt("two customers share a salt")
    if any(sum(column) >= AMOUNT_LIMIT for column in zip(*(e.balances for e in kept), strict=True)):
        raise Refused(Reason.BALANCE_OVERFLOW, "a total of liabilities is below 2^128")
    return kept


class Tree:
    """Every level as one run of bytes, so that two siblings are one slice of what is hashed.

    While building, a node's sums are one integer with 128 bits per asset: no total reaches 2^128
    (checked before), so one addition adds all assets and no lane spills into the next.
    """

    def __init__(self, context: bytes, width: int, leaves: list[Leaf], levels: list[bytes]) -> None:
        self._width = width
        self._node_bytes = HASH_BYTES + AMOUNT_BYTES * width
        self._leaves = leaves
        self._levels = levels
        self._index = {leaf.customer_no: index for index, leaf in enumerate(leaves)}
        self.commitment = Commitment(context, len(leaves), self._node(len(levels) - 1, 0))

    @classmethod
    def build(cls, context: bytes, width: int, leaves: Iterable[Leaf]) -> Tree:
        """Build all levels. Refused and Corrupt as `checked`."""
        kept = checked(context, width, leaves)
        span = AMOUNT_BYTES * width
        prefix = TAG_LEAF + context + width.to_bytes(2, "big")
        sha256 = hashlib.sha256
        rows = []
        for leaf in kept:
            sums = sums_bytes(leaf.balances)
            body = prefix + leaf.customer_no.to_bytes(8, "big") + leaf.salt + sums
            rows.append((sha256(body).digest() + sums, leaf))
        rows.sort(key=lambda row: row[0])
        ordered = [leaf for _, leaf in rows]
        zero = zero_leaf(context, width)
        level = b"".join([node for node, _ in rows]) or zero.hash + bytes(span)
        sums_of = [int.from_bytes(node[HASH_BYTES:], "big") for node, _ in rows]
        levels = []
        for height in range(1, depth_of(len(kept)) + 1):
            if len(sums_of) % 2:
                level += zero.hash + bytes(span)
                sums_of.append(0)
            levels.append(level)
            level, sums_of = _raise_level(height, width, level, sums_of)
            zero = parent(height, zero, zero)
        levels.append(level)
        return cls(context, width, ordered, levels)

    @property
    def leaves(self) -> Sequence[Leaf]:
        """Return the leaves in the order of the tree."""
        return self._leaves

    def proof(self, customer_no: int) -> Proof:
        """Return a customer's proof. Refused: unknown_customer (no leaf in this snapshot)."""
        index = self._index.get(customer_no)
        if index is None:
            raise Refused(Reason.UNKNOWN_CUSTOMER, f"customer {customer_no} has no leaf")
        path = tuple(
            self._node(level, (index >> level) ^ 1) for level in range(len(self._levels) - 1)
        )
        return Proof(self._leaves[index], index, path)

    def _node(self, level: int, index: int) -> Node:
        start = index * self._node_bytes
        node = self._levels[level][start : start + self._node_bytes]
        assert len(node) == self._node_bytes, "siblings are stored together"
        sums = (
            int.from_bytes(node[at : at + AMOUNT_BYTES], "big")
            for at in range(HASH_BYTES, self._node_bytes, AMOUNT_BYTES)
        )
        return Node(node[:HASH_BYTES], tuple(sums))


def _raise_level(height: int, width: int, level: bytes, sums: list[int]) -> tuple[bytes, list[int]]:
    span = AMOUNT_BYTES * width
    pair = 2 * (HASH_BYTES + span)
    prefix = TAG_NODE + height.to_bytes(1, "big") + width.to_bytes(2, "big")
    sha256 = hashlib.sha256
    above = [left + right for left, right in zip(sums[::2], sums[1::2], strict=True)]
    nodes = [
        sha256(prefix + level[start : start + pair]).digest() + total.to_bytes(span, "big")
        for start, total in zip(range(0, len(level), pair), above, strict=True)
    ]
    return b"".join(nodes), above


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
