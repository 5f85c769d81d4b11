"""What followers ask of proven blocks: which outputs are ours, which of our coins are used up.

A block is agreed by its hash and proves itself (chains.bitcoin.block), so one node is enough for
its contents. Outputs of a coinbase are paid in the block that makes them spendable, a hundred
above: which block that was, the parents' hashes say.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import partial
from typing import TypeVar

from chains.base import NATIVE, Block, Payment
from chains.bitcoin.address import address_of_script, script_of
from chains.bitcoin.block import IncompleteBlock, Paid, RawBlock, parse_block
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.params import MATURITY, BitcoinParams
from chains.bitcoin.tx import outpoint_of
from chains.bitcoin.watch import Watched
from chains.rpc import NodeSet
from core.errors import Unavailable

T = TypeVar("T")

_BLOCKS_KEPT = 4
_LINKS_KEPT = 1_000


class Followed:
    """Reads blocks for one follower after another; safe to share between threads."""

    def __init__(self, params: BitcoinParams, nodes: NodeSet[BitcoinNode]) -> None:
        self._params = params
        self._nodes = nodes
        self.scripts = Watched(lambda address: script_of(address, params.place))
        self._coins = Watched(lambda text: outpoint_of(text).serialise(), may_forget=True)
        self._blocks: OrderedDict[str, RawBlock] = OrderedDict()
        self._coinbases: OrderedDict[str, list[Paid]] = OrderedDict()
        self._parents: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.RLock()

    def payments(self, block: Block, watched: Collection[str]) -> tuple[Payment, ...]:
        """Return the payments to these addresses, a coinbase's of the block that matures first."""
        if block.ref.height == 0:
            return ()
        asked = watched if isinstance(watched, (set, frozenset)) else frozenset(watched)
        scripts = self.scripts.keys_of(asked)
        plain = [one for one in self._read(block).paid(scripts) if not one.is_coinbase]
        found = [one for one in self._matured(block) if one.script in scripts] + plain
        paid = (self.payment(one, asked) for one in found)
        return tuple(one for one in paid if one is not None)

    def payment(self, paid: Paid, watched: Collection[str]) -> Payment | None:
        """Return an output as a payment, None when it is nobody's here or pays nothing."""
        address = address_of_script(paid.script, self._params.place)
        if address is None or address not in watched or not paid.amount:
            return None
        return Payment(
            tx_id=paid.tx_hash[::-1].hex(),
            position=str(paid.index),
            asset_key=NATIVE,
            to_address=address,
            from_address=None,
            amount=paid.amount,
            claimed=paid.amount,
            extra_depth=self._params.extra_depth(paid.amount),
        )

    def used(self, block: Block, outpoints: Collection[str]) -> Mapping[str, str]:
        """Return which of these coins a block uses up, and in which transaction."""
        if block.ref.height == 0 or not outpoints:
            return {}
        asked = outpoints if isinstance(outpoints, (set, frozenset)) else frozenset(outpoints)
        found = {}
        for one in self._read(block).used(self._coins.keys_of(asked)):
            name = f"{one.coin[31::-1].hex()}:{int.from_bytes(one.coin[32:], 'little')}"
            if name in asked:
                found[name] = one.tx_hash[::-1].hex()
        return found

    def link(self, block_hash: str, parent_hash: str) -> None:
        """Remember a proven header's link."""
        with self._lock:
            _keep(self._parents, block_hash, parent_hash, _LINKS_KEPT)

    def _read(self, block: Block) -> RawBlock:
        """Return a proven block from the first node that has it."""
        with self._lock:
            kept = self._blocks.get(block.ref.hash)
        if kept is None:
            kept = self._fetch(block.ref.hash, block.ref.height)
            with self._lock:
                _keep(self._blocks, kept.hash, kept, _BLOCKS_KEPT)
        if (kept.height, kept.parent_hash) != (block.ref.height, block.parent_hash):
            raise ValueError("a block is read by the chain that made it")
        return kept

    def _fetch(self, block_hash: str, height: int) -> RawBlock:
        place = self._params.place

        def ask(node: BitcoinNode) -> RawBlock:
            raw = node.raw_block(block_hash)
            try:
                return parse_block(raw, block_hash=block_hash, height=height, network=place)
            except IncompleteBlock:
                node.counters.incomplete += 1
                raise

        read = self._nodes.first(ask, "contents")
        with self._lock:
            _keep(self._coinbases, block_hash, read.coinbase(), _LINKS_KEPT)
        self.link(block_hash, read.parent_hash)
        return read

    def _matured(self, block: Block) -> list[Paid]:
        """Return the outputs that become spendable here; the first block's never do."""
        height = block.ref.height - MATURITY
        if height < 1:
            return []
        made_in = self._ancestor(block, height)
        with self._lock:
            kept = self._coinbases.get(made_in)
        return self._fetch(made_in, height).coinbase() if kept is None else kept

    def _ancestor(self, block: Block, height: int) -> str:
        """Return the hash of a block's ancestor. Unavailable: its branch was left."""
        name, at, is_loaded = block.parent_hash, block.ref.height - 1, False
        while at > height:
            with self._lock:
                parent = self._parents.get(name)
            if parent is not None:
                name, at = parent, at - 1
            elif is_loaded:
                raise Unavailable(f"unknown_block: {at} of another branch")
            else:
                ask = partial(BitcoinNode.headers, low=height + 1, high=at)
                headers = self._nodes.first(ask, "headers")
                for header in headers:
                    self.link(header.hash, header.parent_hash)
                is_loaded = True
        return name


def _keep(cache: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
