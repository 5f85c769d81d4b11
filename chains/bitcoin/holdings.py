"""What addresses hold after a block, as one node says: its unspent coins, moved back.

A node knows what is unspent at its newest block only. For an earlier one, coins made above it are
left out and coins used above it are put back, block by block; only so far, else Unavailable. The
coins of a coinbase count from the block in which they can be spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from chains.base import BlockRef
from chains.bitcoin.node import BitcoinNode, MadeCoin
from chains.bitcoin.params import MATURITY
from core.errors import Unavailable

MOVED_BACK_MAX = 100
"""Blocks between the one that is asked for and a node's newest one."""
SCRIPTS_MAX = 10_000
"""Scripts of one question to a node."""


def balances_at(node: BitcoinNode, scripts: Sequence[bytes], at: BlockRef) -> Mapping[bytes, int]:
    """Return what each script holds after a block.

    Unavailable: the node does not have the block, has gone too far beyond it, or moved meanwhile.
    """
    if node.block_hash(at.height) != at.hash:
        raise Unavailable(f"unknown_block: {at.height}")
    held: Counter[bytes] = Counter()
    for place in range(0, len(scripts), SCRIPTS_MAX):
        some = scripts[place : place + SCRIPTS_MAX]
        wanted = frozenset(some)
        tip, coins = node.unspent(some)
        if not 0 <= tip.height - at.height <= MOVED_BACK_MAX:
            raise Unavailable(f"too_far: {at.height} is asked for at {tip.height}")
        above = node.hashes(at.height + 1, tip.height)
        if (above[-1] if above else at.hash) != tip.hash:
            raise Unavailable(f"unknown_block: {tip.height} is of another branch")
        for block_hash in above:
            coins += [coin for coin in node.used_coins(block_hash) if coin.script in wanted]
        for coin in coins:
            if coin.script in wanted and _counts(coin, at):
                held[coin.script] += coin.amount
    if node.block_hash(at.height) != at.hash:
        raise Unavailable(f"unknown_block: {at.height} was left meanwhile")
    return {script: held[script] for script in scripts}


def _counts(coin: MadeCoin, at: BlockRef) -> bool:
    ripe = coin.height + MATURITY if coin.is_coinbase else coin.height
    return ripe <= at.height
