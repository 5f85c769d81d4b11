"""The mempool of the fake chain: order of arrival, one place per nonce, replacement by price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chains.base import Payment
from chains.fake.coin_tx import SignedCoinTx
from chains.fake.state import Arrival, Tx, arrival_payments, coin_payments
from chains.fake.tx import SignedFakeTx
from core.money import PPM, ceil_div

REPLACEMENT_PPM = 1_125_000
"""A replacement pays at least 12.5 % more, in the most it pays and in its tip."""


def least_replacement(rate: int) -> int:
    """Return the lowest rate that outbids one by the replacement rule."""
    return max(rate + 1, ceil_div(rate * REPLACEMENT_PPM, PPM))


def outbids(challenger: SignedFakeTx, holder: SignedFakeTx) -> bool:
    """Return whether nodes would take the challenger in the holder's place."""
    new, old = challenger.tx, holder.tx
    return new.max_rate >= least_replacement(old.max_rate) and new.tip_rate >= least_replacement(
        old.tip_rate
    )


def claims_of(tx: Tx) -> tuple[str, ...]:
    """Return what no two transactions on one branch can both use."""
    if isinstance(tx, SignedFakeTx):
        return (f"{tx.sender}/{tx.tx.nonce}",)
    if isinstance(tx, SignedCoinTx):
        return tuple(coin.outpoint for coin in tx.tx.inputs)
    return (f"outside/{tx.uses}",) if tx.uses else ()


def outbids_all(challenger: SignedCoinTx, holders: Sequence[Tx]) -> bool:
    """Return whether nodes would take the challenger in the place of everything it excludes.

    It must pay a higher rate than each of them and more than all of them together.
    """
    coins = [holder.tx for holder in holders if isinstance(holder, SignedCoinTx)]
    dearest = max((tx.rate for tx in coins), default=-1)
    return challenger.tx.rate > dearest and challenger.tx.fee > sum(tx.fee for tx in coins)


class Mempool:
    """Transactions that wait to be included; at most one of each (sender, nonce), or coin."""

    def __init__(self) -> None:
        self._txs: dict[str, Tx] = {}
        self._claims: dict[str, str] = {}

    def __contains__(self, tx_id: str) -> bool:
        return tx_id in self._txs

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._txs))

    def __len__(self) -> int:
        return len(self._txs)

    def __getitem__(self, tx_id: str) -> Tx:
        return self._txs[tx_id]

    def add(self, tx: Tx) -> None:
        """Put a transaction last; whoever had what it uses up is gone."""
        for rival in self.rivals(tx):
            self.remove(rival.tx_id)
        for claim in claims_of(tx):
            self._claims[claim] = tx.tx_id
        self._txs[tx.tx_id] = tx

    def remove(self, tx_id: str) -> None:
        """Forget a transaction that is here."""
        for claim in claims_of(self._txs.pop(tx_id)):
            del self._claims[claim]

    def rivals(self, tx: Tx) -> list[Tx]:
        """Return who has what a transaction uses up, in order of arrival."""
        names = {self._claims[claim] for claim in claims_of(tx) if claim in self._claims}
        return [held for name, held in self._txs.items() if name in names and name != tx.tx_id]

    def payments(self) -> list[Payment]:
        """Return what waits to be paid."""
        found: list[Payment] = []
        for tx in self._txs.values():
            if isinstance(tx, Arrival):
                found += arrival_payments(tx)
            elif isinstance(tx, SignedCoinTx):
                found += coin_payments(tx)
        return found
