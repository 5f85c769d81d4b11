"""The mempool of the fake chain: order of arrival, one place per nonce, replacement by price."""

from __future__ import annotations

from collections.abc import Iterator

from chains.fake.state import Tx
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


class Mempool:
    """Transactions that wait to be included; at most one of each (sender, nonce)."""

    def __init__(self) -> None:
        self._txs: dict[str, Tx] = {}
        self._lanes: dict[tuple[str, int], str] = {}

    def __contains__(self, tx_id: str) -> bool:
        return tx_id in self._txs

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._txs))

    def __len__(self) -> int:
        return len(self._txs)

    def __getitem__(self, tx_id: str) -> Tx:
        return self._txs[tx_id]

    def add(self, tx: Tx) -> None:
        """Put a transaction last; whoever had its lane is gone."""
        if isinstance(tx, SignedFakeTx):
            rival = self._lanes.get((tx.sender, tx.tx.nonce))
            if rival is not None:
                del self._txs[rival]
            self._lanes[tx.sender, tx.tx.nonce] = tx.tx_id
        self._txs[tx.tx_id] = tx

    def remove(self, tx_id: str) -> None:
        """Forget a transaction that is here."""
        tx = self._txs.pop(tx_id)
        if isinstance(tx, SignedFakeTx):
            del self._lanes[tx.sender, tx.tx.nonce]

    def rival(self, signed: SignedFakeTx) -> SignedFakeTx | None:
        """Return who has the lane a transaction wants."""
        tx_id = self._lanes.get((signed.sender, signed.tx.nonce))
        tx = None if tx_id is None else self._txs[tx_id]
        return tx if isinstance(tx, SignedFakeTx) else None
