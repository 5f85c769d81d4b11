"""Real coins of a local network: what was mined pays whoever a test names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from chains.bitcoin.address import script_of
from chains.bitcoin.build import Coin
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut
from infra.devnet.coin_nodes import MATURITY, MINER, MINER_WITNESS, CoreNode
from tests.support.bitcoin import LOCAL, coin_of

_SUBSIDY = 50 * COIN
_FEE = 10_000


@dataclass(slots=True)
class Mint:
    """Spends the coins that a node mined for everybody, one after another."""

    node: CoreNode
    _heights: Iterator[int] = field(default_factory=lambda: iter(range(1, 150)))

    def __post_init__(self) -> None:
        self.node.mine(MATURITY + 1)

    def pay(self, address: str, *amounts: int) -> list[Coin]:
        """Pay these amounts to an address, one coin each, in a block."""
        self.node.mine()
        block_hash = self.node.call("getblockhash", next(self._heights))
        mined = self.node.call("getblock", block_hash, 1)["tx"][0]
        outpoint = OutPoint(bytes.fromhex(mined)[::-1], 0)
        script = script_of(address, LOCAL)
        rest = TxOut(_SUBSIDY - sum(amounts) - _FEE, script_of(MINER, LOCAL))
        outputs = (*(TxOut(amount, script) for amount in amounts), rest)
        tx = Tx(2, (TxIn(outpoint, 0xFFFFFFFF),), outputs, 0).signed(((MINER_WITNESS,),))
        self.node.call("sendrawtransaction", tx.serialise().hex())
        self.node.mine()
        return [coin_of(tx, number) for number in range(len(amounts))]
