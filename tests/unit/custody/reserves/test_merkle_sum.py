"""The liabilities tree sums honestly, hides who is who, and has one shape per number of leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused
from custody.reserves.merkle_sum import (
    AMOUNT_LIMIT,
    Leaf,
    Node,
    Proof,
    Tree,
    checked,
    commit_naive,
    depth_of,
    leaf_node,
    parent,
    salt_of,
    zero_leaf,
)

VECTORS = json.loads(Path("tests/vectors/reserves.json").read_text("utf-8"))
CONTEXT = hashlib.sha256(b"a snapshot").digest()
SECRET = b"s" * 32
Join = Callable[[int, Node, Node], Node]


def leaves_of(*balances: int, secret: bytes = SECRET) -> list[Leaf]:
    return [Leaf(no, salt_of(secret, no), (b,)) for no, b in enumerate(balances, 1)]


def climb(leaf: Node, proof: Proof, join: Join) -> Node:
    node = leaf
    for level, sibling in enumerate(proof.path):
        pair = (sibling, node) if proof.index >> level & 1 else (node, sibling)
        node = join(level + 1, *pair)
    return node


def test_the_published_format_does_not_change() -> None:
    vector = VECTORS["tree"]
    leaves = [
        Leaf(each["customer"], bytes.fromhex(each["salt"]), tuple(each["balances"]))
        for each in vector["leaves"]
    ]
    context = bytes.fromhex(vector["context"])
    assert commit_naive(context, 2, leaves).root.hex() == vector["root"]
    assert Tree.build(context, 2, leaves).commitment.root.hex() == vector["root"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33])
def test_the_fast_tree_is_the_naive_one(count: int) -> None:
    leaves = leaves_of(*range(10**20, 10**20 + count))
    fast, naive = Tree.build(CONTEXT, 1, leaves).commitment, commit_naive(CONTEXT, 1, leaves)
    assert fast == naive
    assert fast.root == naive.root
    assert fast.leaf_count == count
    assert fast.top.sums == (sum(range(10**20, 10**20 + count)),)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_proof_leads_to_the_top(count: int) -> None:
    tree = Tree.build(CONTEXT, 1, leaves_of(*range(count)))
    for leaf in tree.leaves:
        proof = tree.proof(leaf.customer_no)
        assert len(proof.path) == depth_of(count)
        assert climb(leaf_node(CONTEXT, leaf), proof, parent) == tree.commitment.top


def test_a_customer_without_a_leaf_gets_no_proof() -> None:
    with pytest.raises(Refused) as refused:
        Tree.build(CONTEXT, 1, leaves_of(1, 2)).proof(3)
    assert refused.value.reason is Reason.UNKNOWN_CUSTOMER


def broken_parent(level: int, left: Node, right: Node) -> Node:
    """Maxwell's flaw: hash the total of the children only, and claim what you like for it."""
    total = left.sums[0] + right.sums[0]
    body = total.to_bytes(16, "big") + left.hash + right.hash
    return Node(hashlib.sha256(body).digest(), (total,))


def forged_for(tree: Tree, customer_no: int, leaves: list[Node]) -> Proof:
    """Shrink each sibling's sum so that every inner node is the larger child, not the sum."""
    honest = tree.proof(customer_no)
    ours = honest.index
    mine, other = leaves[ours].sums[0], leaves[ours ^ 1].sums[0]
    pairs = [max(leaves[i].sums[0], leaves[i + 1].sums[0]) for i in (0, 2)]
    near, far = pairs[ours // 2], pairs[1 - ours // 2]
    assert near == max(mine, other)
    hashes = [pair_hash(leaves[i], leaves[i + 1]) for i in (0, 2)]
    path = (
        Node(leaves[ours ^ 1].hash, (near - mine,)),
        Node(hashes[1 - ours // 2], (max(near, far) - near,)),
    )
    return replace(honest, path=path)


def pair_hash(left: Node, right: Node) -> bytes:
    claimed = max(left.sums[0], right.sums[0])
    return hashlib.sha256(claimed.to_bytes(16, "big") + left.hash + right.hash).digest()


def test_v02_a_tree_of_maxima_convinces_everyone_only_under_the_broken_rule() -> None:
    vector = VECTORS["broken_sum_tree"]
    leaves = leaves_of(*vector["balances"])
    tree = Tree.build(CONTEXT, 1, leaves)
    nodes = [leaf_node(CONTEXT, leaf) for leaf in tree.leaves]
    tops = {
        climb(nodes[forged.index], forged, broken_parent)
        for forged in (forged_for(tree, leaf.customer_no, nodes) for leaf in leaves)
    }
    # The control: all four customers verify, under one root that publishes 900 of 2,400.
    (top,) = tops
    assert top.sums == (vector["published_total"],)
    assert sum(vector["balances"]) == vector["true_total"]
    # Ours: the same proofs lead to as many tops as there are stories, none of them the honest one.
    ours = [
        climb(nodes[forged.index], forged, parent)
        for forged in (forged_for(tree, leaf.customer_no, nodes) for leaf in leaves)
    ]
    assert len({node.hash for node in ours}) == len(leaves)
    assert tree.commitment.top not in ours
    assert tree.commitment.top.sums == (vector["true_total"],)


@pytest.mark.parametrize(
    ("balance", "reason"),
    [
        (-1, Reason.MALFORMED_AMOUNT),
        (-(1 << 200), Reason.MALFORMED_AMOUNT),
        (True, Reason.MALFORMED_AMOUNT),
        (1.0, Reason.MALFORMED_AMOUNT),
        (AMOUNT_LIMIT, Reason.AMOUNT_OUT_OF_RANGE),
    ],
)
def test_v01_a_leaf_outside_its_range_is_refused(balance: int, reason: Reason) -> None:
    for build in (Tree.build, commit_naive):
        with pytest.raises(Refused) as refused:
            build(CONTEXT, 1, leaves_of(700, 500, balance))
        assert refused.value.reason is reason


def test_a_total_that_does_not_fit_is_refused_and_one_below_it_is_not() -> None:
    assert Tree.build(CONTEXT, 1, leaves_of(AMOUNT_LIMIT - 2, 1)).commitment.top.sums[0]
    with pytest.raises(Refused) as refused:
        Tree.build(CONTEXT, 1, leaves_of(AMOUNT_LIMIT - 1, 1))
    assert refused.value.reason is Reason.BALANCE_OVERFLOW


def test_one_asset_never_spills_into_the_next() -> None:
    big = AMOUNT_LIMIT - 2
    leaves = [
        Leaf(1, salt_of(SECRET, 1), (big, 0, big)),
        Leaf(2, salt_of(SECRET, 2), (1, 5, 1)),
    ]
    assert Tree.build(CONTEXT, 3, leaves).commitment == commit_naive(CONTEXT, 3, leaves)


def test_v03_one_customer_or_one_salt_twice_is_corrupt() -> None:
    one, two = leaves_of(5, 5)
    with pytest.raises(Corrupt, match="two leaves"):
        checked(CONTEXT, 1, [one, replace(two, customer_no=one.customer_no)])
    with pytest.raises(Corrupt, match="salt"):
        checked(CONTEXT, 1, [one, replace(two, salt=one.salt)])


def test_v03_equal_balances_and_equal_salts_still_give_two_leaves() -> None:
    one, two = leaves_of(5, 5)
    assert leaf_node(CONTEXT, one) != leaf_node(CONTEXT, replace(two, salt=one.salt))


def test_v03_salts_differ_between_customers_and_between_snapshots() -> None:
    secrets = [SeededEntropy(seed).token_bytes(32) for seed in range(5)]
    salts = {salt_of(secret, no) for secret in secrets for no in range(1, 201)}
    assert len(salts) == 1000
    assert {len(salt) for salt in salts} == {32}


def test_v04_no_hash_is_shortened() -> None:
    tree = Tree.build(CONTEXT, 1, leaves_of(1, 2, 3))
    proof = tree.proof(1)
    hashes = [tree.commitment.root, tree.commitment.top.hash, *(node.hash for node in proof.path)]
    assert {len(each) for each in hashes} == {32}


def test_the_order_of_leaves_tells_nothing() -> None:
    tree = Tree.build(CONTEXT, 1, leaves_of(*range(64)))
    again = Tree.build(CONTEXT, 1, reversed(leaves_of(*range(64))))
    other = Tree.build(CONTEXT, 1, leaves_of(*range(64), secret=b"t" * 32))
    numbers = [leaf.customer_no for leaf in tree.leaves]
    assert again.commitment == tree.commitment
    assert numbers != sorted(numbers)
    assert numbers != [leaf.customer_no for leaf in other.leaves]
    hashes = [leaf_node(CONTEXT, leaf).hash for leaf in tree.leaves]
    assert all(before < after for before, after in pairwise(hashes))


def test_leaf_inner_and_zero_nodes_cannot_pass_for_each_other() -> None:
    zero = zero_leaf(CONTEXT, 1)
    leaf = leaf_node(CONTEXT, Leaf(0, bytes(32), (0,)))
    inner = parent(1, zero, zero)
    assert len({zero.hash, leaf.hash, inner.hash, parent(2, zero, zero).hash}) == 4
    assert parent(1, zero, leaf).hash != parent(1, leaf, zero).hash


def test_the_number_of_leaves_is_part_of_the_root() -> None:
    commitment = Tree.build(CONTEXT, 1, leaves_of(1, 2, 3)).commitment
    assert replace(commitment, leaf_count=4).root != commitment.root


def test_another_snapshot_gives_other_leaves() -> None:
    (leaf,) = leaves_of(5)
    assert leaf_node(CONTEXT, leaf) != leaf_node(bytes(32), leaf)


def test_no_salt_is_shown_by_repr() -> None:
    (leaf,) = leaves_of(5)
    assert leaf.salt.hex() not in repr(leaf)
    assert repr(leaf.salt) not in repr(leaf)
