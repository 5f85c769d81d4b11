"""What happened on the fake chain: its branches, and questions about them.

Nothing here changes anything; `world.FakeWorld` does. The questions are for an independent model of
the books, which must not look through the node's face.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from chains.base import BlockRef, Payment
from chains.fake.state import Receipt, State

GENESIS_TIME_S = 1_700_000_000


@dataclass(frozen=True, slots=True)
class FakeBlock:
    """One block of one branch, with the state after it."""

    ref: BlockRef
    parent_hash: str
    time_s: int
    receipts: tuple[Receipt, ...]
    state: State


@dataclass(frozen=True, slots=True)
class Landing:
    """One inclusion of a signed transaction in some block of some branch, abandoned ones too."""

    tx_id: str
    sender: str
    nonce: int
    block: BlockRef


class History:
    """The record of one chain from its genesis on."""

    def __init__(self, name: str) -> None:
        genesis = BlockRef(0, hash_of("genesis", name))
        self.network = f"{name}:{genesis.hash}"
        self.counts: Counter[str] = Counter()
        """How often each stimulus really happened."""
        self._chain = [FakeBlock(genesis, "0" * 64, GENESIS_TIME_S, (), State())]
        self._final_height = 0
        self._abandoned: list[tuple[FakeBlock, ...]] = []
        self._included: dict[str, int] = {}
        self._landings: list[Landing] = []
        self._reversed: list[Payment] = []

    @property
    def head(self) -> FakeBlock:
        """Return the newest block of the present branch."""
        return self._chain[-1]

    @property
    def final(self) -> FakeBlock:
        """Return the newest final block; genesis is final from the beginning."""
        return self._chain[self._final_height]

    def block(self, height: int) -> FakeBlock:
        """Return the block of the present branch at a height between 0 and the head's."""
        if not 0 <= height <= self.head.ref.height:
            raise ValueError(f"no block {height}")
        return self._chain[height]

    def has(self, ref: BlockRef) -> bool:
        """Return whether a block is on the present branch."""
        return 0 <= ref.height < len(self._chain) and self._chain[ref.height].ref == ref

    def abandoned(self, height: int) -> FakeBlock | None:
        """Return the block the last branch that was left behind had at a height."""
        for branch in reversed(self._abandoned):
            for block in branch:
                if block.ref.height == height:
                    return block
        return None

    def included(self, tx_id: str) -> tuple[FakeBlock, Receipt] | None:
        """Return where a transaction is on the present branch and what it did there."""
        height = self._included.get(tx_id)
        if height is None:
            return None
        block = self._chain[height]
        return block, next(r for r in block.receipts if r.tx_id == tx_id)

    def final_receipts(self) -> Iterator[tuple[FakeBlock, Receipt]]:
        """Yield everything that is final, in the order of the chain."""
        for block in self._chain[: self._final_height + 1]:
            for receipt in block.receipts:
                yield block, receipt

    def final_payments_to(self, addresses: Collection[str]) -> list[Payment]:
        """Return every final payment to these addresses, unlisted tokens and anomalies included."""
        return [
            payment
            for _, receipt in self.final_receipts()
            for payment in receipt.payments
            if payment.to_address in addresses
        ]

    def reversed_payments_to(self, addresses: Collection[str]) -> list[Payment]:
        """Return payments that were final and fell out of the chain; they may come back."""
        return [payment for payment in self._reversed if payment.to_address in addresses]

    def paid_out(self, tx_ids: Collection[str]) -> dict[str, Receipt]:
        """Return the final receipts of these transactions, failed ones too."""
        return {r.tx_id: r for _, r in self.final_receipts() if r.tx_id in tx_ids}

    def landings(self, sender: str | None = None, *, final: bool = False) -> list[Landing]:
        """Return every inclusion in any branch, or only the final ones; of one sender or all."""
        return [
            landing
            for landing in self._landings
            if (sender is None or landing.sender == sender)
            and (
                not final
                or (landing.block.height <= self._final_height and self.has(landing.block))
            )
        ]

    def final_fees_of(self, addresses: Collection[str]) -> dict[str, int]:
        """Return native units paid in fees in final blocks by sender, failures included."""
        fees = dict.fromkeys(addresses, 0)
        for _, receipt in self.final_receipts():
            if receipt.sender in fees:
                fees[receipt.sender] += receipt.fee
        return fees

    def balance(self, owner: str, asset_key: str, *, final: bool = True) -> int:
        """Return a balance after the final block, or after the head."""
        return (self.final if final else self.head).state.balance(owner, asset_key)


def hash_of(*parts: str | int) -> str:
    """Return a tagged hash of parts, each with its length."""
    digest = hashlib.sha256(b"strongroom/fake/world/v1")
    for part in parts:
        text = str(part).encode()
        digest.update(len(text).to_bytes(4, "big") + text)
    return digest.hexdigest()
