"""What a chain of accounts answers where the seam asks about coins, tickets and what waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from chains.base import Block, BlockRef, Coin, FeeRate, Payment, SpendIntent
from chains.multisig import CoinWallet


class AccountChain(ABC):
    """A chain whose senders use up one nonce after another, and nothing else."""

    @abstractmethod
    def balance_of(self, address: str, asset_key: str, at: BlockRef) -> int:
        """Return a balance in the state after exactly this block."""

    def balances_of(
        self, addresses: Sequence[str], asset_key: str, at: BlockRef
    ) -> Mapping[str, int]:
        """Return the balances of many addresses in the state after exactly this block."""
        return {address: self.balance_of(address, asset_key, at) for address in addresses}

    def used_in(
        self,
        block: Block,  # noqa: ARG002
        outpoints: Collection[str],  # noqa: ARG002
    ) -> Mapping[str, str]:
        """Return nothing: there are no coins."""
        return {}

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:  # noqa: ARG002
        """Return nothing: there are no coins."""
        return frozenset()

    def pending(self, watched: Collection[str]) -> Sequence[Payment]:  # noqa: ARG002
        """Return nothing: what waits is in a block a few seconds later."""
        return ()

    def tickets(self, sender: str, at: BlockRef) -> Sequence[str]:  # noqa: ARG002
        """Return nothing: nonces are counted."""
        return ()

    def coin_wallet(self, address: str, descriptor: str) -> CoinWallet | None:  # noqa: ARG002
        """Return None: wallets of several owners are contracts here, or there are none."""
        return None

    def fee_extra(self, intent: SpendIntent) -> int:  # noqa: ARG002
        """Return 0: all of the fee depends on the rate."""
        return 0

    def choose(
        self,
        intent: SpendIntent,  # noqa: ARG002
        coins: Sequence[Coin],  # noqa: ARG002
        *,
        rate: FeeRate,  # noqa: ARG002
    ) -> tuple[Coin, ...]:
        """Return nothing: an account's balance pays."""
        return ()
