"""Coins whose transactions are mostly witnesses can be spent: what these say is left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from chains.base import Coin, FeeRate
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import Tx
from tests.support.bitcoin import HOT, OFFLINE, PARAMS, STRANGER, address_of, funding, intent_of

LARGE = 390_000


@dataclass
class KnownTransactions(BitcoinChain):
    """The chain, on a node that answers for some transactions."""

    known: dict[str, Tx] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(PARAMS, OFFLINE.nodes)

    def transaction(self, tx_id: str) -> bytes:
        return self.known[tx_id].serialise()


def test_coins_of_transactions_with_large_witnesses_are_spent_together() -> None:
    hot, chain = address_of(HOT), KnownTransactions()
    coins = []
    for salt in range(3):
        made = funding(hot, COIN, salt=salt)
        large = made.signed(((bytes(LARGE),),))
        assert (large.tx_id, len(large.serialise()) > LARGE) == (made.tx_id, True)
        chain.known[made.tx_id] = large
        coins.append(Coin(f"{made.tx_id}:0", hot, COIN))
    unsigned = chain.build(
        intent_of(STRANGER, 5 * COIN // 2), nonce=0, rate=FeeRate(10, 10), units=0, coins=coins
    )
    decoded = chain.decode(unsigned.payload, sender=hot)
    assert [one.amount for one in decoded.inputs] == [COIN] * 3
    assert len(unsigned.payload) < 2_000
