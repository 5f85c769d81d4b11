"""What the facts of `test_every_chain…` may do to a chain, and wallets that spend on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import pytest
from coincurve import PrivateKey

from chains.base import (
    NATIVE,
    Chain,
    FeeRate,
    Payment,
    SignedTx,
    SpendIntent,
    SpendItem,
    SpendKind,
    UnsignedTx,
)
from core.errors import Reason, Refused

BLOCKS_TO_FINAL = 6
"""Every harness calls a block final when it is this far below the head."""


class ChainHarness(Protocol):
    """What a test may do to a chain. Blocks are made by `mine`, `fund` and `reorg` only."""

    chain: Chain
    token: str
    """Key of an honest token that the chain's data file lists."""
    odd_token: str
    """Key of a listed token, flagged odd, that delivers less than its event claims."""
    picky_token: str
    """Key of a listed token whose issuer refuses transfers to whom he likes."""
    coin: int
    """A comfortable amount of the native coin: pays many fees."""
    units: int
    """Enough for any single transfer, also one that fails."""

    def connect(self) -> Chain:
        """Return another connection, which remembers nothing."""
        ...

    def impostor(self) -> Chain:
        """Return a connection that is pinned to another network than the node's."""
        ...

    def outsider(self, name: str) -> str:
        """Return a well-formed address that nobody here has a key for."""
        ...

    def bad_addresses(self) -> Mapping[str, tuple[str, Reason]]:
        """Return texts that are no destination, by what is wrong with them."""
        ...

    def fund(self, address: str, amount: int, asset_key: str = NATIVE) -> None:
        """Give an address money, final or not, in new blocks."""
        ...

    def pay(self, to: str, asset_key: str, amount: int) -> str:
        """Let somebody pay; waits for the next block. Returns the transaction's id."""
        ...

    def pay_and_fail(self, to: str, amount: int) -> str:
        """Let somebody's token payment fail on chain in the next block."""
        ...

    def refuse(self, address: str) -> None:
        """Have the issuer of the picky token refuse an address, from the next block on."""
        ...

    def enable_batches(self, key: PrivateKey) -> None:
        """Let the account of a key make batches; in new blocks, and maybe with nonces of its."""
        ...

    def mine(self, blocks: int = 1) -> None:
        """Make blocks of what waits."""
        ...

    def reorg(self, depth: int) -> None:
        """Replace the newest blocks by a longer branch without their transactions."""
        ...

    def stall_finality(self) -> None:
        """Let finality stand still."""
        ...

    def resume_finality(self) -> None:
        """Let finality catch up."""
        ...


@dataclass(frozen=True, slots=True)
class Wallet:
    """A key that spends on a harness's chain as custody does: build, sign, assemble."""

    harness: ChainHarness
    key: PrivateKey
    address: str

    def intent(
        self,
        to: str,
        amount: int,
        asset_key: str = NATIVE,
        *,
        kind: SpendKind = SpendKind.WITHDRAWAL,
    ) -> SpendIntent:
        """Return what officers would sign, with room in the fee cap."""
        traits = self.harness.chain.traits
        return SpendIntent(
            spend_id="sp_1",
            kind=kind,
            cause_id="wd_1",
            chain=traits.chain,
            network=traits.network,
            asset_key=asset_key,
            source=self.address,
            destination=to,
            amount=amount,
            fee_max=self.harness.coin // 10,
        )

    def batch(self, *items: tuple[str, int], asset_key: str = NATIVE) -> SpendIntent:
        """Return what officers would sign one by one, as one intent."""
        rows = tuple(SpendItem(f"wd_{n}", to, amount) for n, (to, amount) in enumerate(items))
        total = sum(amount for _, amount in items)
        intent = self.intent(self.address, total, asset_key, kind=SpendKind.BATCH)
        return replace(intent, items=rows)

    def unsigned(
        self, intent: SpendIntent, *, nonce: int = 0, rate: FeeRate | None = None
    ) -> UnsignedTx:
        """Build with the chain's own rate unless told otherwise."""
        chain = self.harness.chain
        return chain.build(
            intent, nonce=nonce, rate=rate or chain.fee_rate(), units=self.harness.units
        )

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s ‖ recovery id as every signer does."""
        return bytes(self.key.sign_recoverable(digest, hasher=None))

    def signed(
        self,
        to: str,
        amount: int,
        asset_key: str = NATIVE,
        *,
        nonce: int = 0,
        rate: FeeRate | None = None,
    ) -> SignedTx:
        """Return bytes that are ready to leave."""
        unsigned = self.unsigned(self.intent(to, amount, asset_key), nonce=nonce, rate=rate)
        return self.harness.chain.assemble(unsigned, self.sign(unsigned.digest))


def wallet(harness: ChainHarness, name: str = "alice", *, coins: int = 1) -> Wallet:
    """Return a wallet that owns so many coins."""
    key = PrivateKey(hashlib.sha256(name.encode()).digest())
    address = harness.chain.address_of(key.public_key.format(compressed=True))
    if coins:
        harness.fund(address, coins * harness.coin)
    return Wallet(harness, key, address)


def payments_at(chain: Chain, height: int, *watched: str) -> list[Payment]:
    """Return the payments to these addresses at a height of the chain."""
    block = chain.block_at(height)
    assert block is not None
    return list(chain.payments_in(block, frozenset(watched)))


def doubled(rate: FeeRate) -> FeeRate:
    """Return a rate that replaces every lower one."""
    return replace(rate, max_rate=2 * rate.max_rate, tip_rate=2 * max(1, rate.tip_rate))


def refusal(call: Callable[[], object]) -> Reason:
    """Return why a call was refused; fails when it was not."""
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.reason
