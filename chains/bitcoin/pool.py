"""What waits for a block, as one node sees it: shown, never counted.

A transaction is read once and kept by its id, which it proves itself by; what the node no longer
names (mined, replaced, evicted) is dropped at the next look.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

from chains.base import Payment
from chains.bitcoin.block import Paid
from chains.bitcoin.followed import Followed
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.tx import parse_tx
from chains.rpc import NodeSet

KEPT_MAX = 200_000
"""Transactions that are kept at once; what is beyond is not shown."""
READ_MAX = 2_000
"""Transactions that one look reads; the rest follows with the next looks."""
BATCH = 100

_Outputs = tuple[tuple[int, bytes], ...]


class Pool:
    """The outputs of the transactions that wait."""

    def __init__(self, nodes: NodeSet[BitcoinNode]) -> None:
        self._nodes = nodes
        self._kept: dict[str, _Outputs] = {}
        self._lock = threading.Lock()

    def payments(self, followed: Followed, watched: Collection[str]) -> tuple[Payment, ...]:
        """Return the payments to these addresses that wait. Unavailable: no node answers."""
        asked = watched if isinstance(watched, (set, frozenset)) else frozenset(watched)
        scripts = followed.scripts.keys_of(asked)
        with self._lock:
            self._nodes.first(self._look, "the pool")
            waiting = list(self._kept.items())
        found = []
        for tx_id, outputs in waiting:
            for index, (amount, script) in enumerate(outputs):
                if script not in scripts:
                    continue
                tx_hash = bytes.fromhex(tx_id)[::-1]
                paid = Paid(tx_hash, index, script, amount, is_coinbase=False)
                payment = followed.payment(paid, asked)
                if payment is not None:
                    found.append(payment)
        return tuple(found)

    def _look(self, node: BitcoinNode) -> None:
        names = node.waiting()
        present = set(names)
        for gone in [tx_id for tx_id in self._kept if tx_id not in present]:
            del self._kept[gone]
        fresh = [tx_id for tx_id in names if tx_id not in self._kept]
        fresh = fresh[: min(READ_MAX, KEPT_MAX - len(self._kept))]
        for place in range(0, len(fresh), BATCH):
            for tx_id, raw in node.transactions(fresh[place : place + BATCH]).items():
                outputs = parse_tx(raw).outputs
                self._kept[tx_id] = tuple((one.amount, one.script) for one in outputs)
