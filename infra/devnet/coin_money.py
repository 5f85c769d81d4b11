"""Coins of a local network that are free for everybody: mined to a script anybody can spend."""

from __future__ import annotations

from dataclasses import dataclass, field

from chains.bitcoin.address import script_of
from chains.bitcoin.params import NETWORKS
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, parse_tx
from infra.devnet.coin_nodes import MATURITY, MINER, MINER_WITNESS, CoreNode

FEE = 10_000
LOCAL = NETWORKS["regtest"]
SPARE = 20
"""Mature coins to begin with."""


@dataclass(slots=True)
class Miner:
    """Pays from the coins that the node mined to OP_TRUE, and from its own change."""

    node: CoreNode
    _coins: list[tuple[OutPoint, int]] = field(default_factory=list)
    _height: int = 0

    def __post_init__(self) -> None:
        short = MATURITY + SPARE - self.node.height()
        if short > 0:
            self.node.mine(short)

    def pay(self, to: str, *amounts: int, fee: int = FEE, replaceable: bool = False) -> str:
        """Send these amounts to an address, one coin each; return the transaction's id."""
        outputs = [TxOut(amount, script_of(to, LOCAL)) for amount in amounts]
        return self.spend(*outputs, fee=fee, replaceable=replaceable).tx_id

    def spend(self, *outputs: TxOut, fee: int = FEE, replaceable: bool = False) -> Tx:
        """Send a transaction with these outputs, and one more that takes the rest."""
        wanted = sum(output.amount for output in outputs) + fee
        chosen, held = [], 0
        while held < wanted:
            outpoint, amount = self._coins.pop() if self._coins else self._mined()
            chosen.append(outpoint)
            held += amount
        rest = TxOut(held - wanted, script_of(MINER, LOCAL))
        sequence = 0xFFFFFFFD if replaceable else 0xFFFFFFFF
        inputs = tuple(TxIn(outpoint, sequence) for outpoint in chosen)
        tx = Tx(2, inputs, (*outputs, rest), 0).signed(((MINER_WITNESS,),) * len(inputs))
        self.node.call("sendrawtransaction", tx.serialise().hex(), 0)
        self._coins.append((OutPoint(tx.tx_hash, len(outputs)), rest.amount))
        return tx

    def _mined(self) -> tuple[OutPoint, int]:
        """Return the next mature coin of a block."""
        self._height += 1
        while self.node.height() < self._height + MATURITY:
            self.node.mine()
        block_hash = self.node.call("getblockhash", self._height)
        mined = self.node.call("getblock", block_hash, 1)["tx"][0]
        tx = parse_tx(bytes.fromhex(self.node.call("getrawtransaction", mined)))
        return OutPoint(tx.tx_hash, 0), tx.outputs[0].amount
