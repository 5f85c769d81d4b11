"""What the facts of `test_every_chain…` may do to a chain, and wallets that spend on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import pytest
from coincurve import PrivateKey

from chains.base import (
    NATIVE,
    BlockRef,
    BroadcastOutcome,
    Chain,
    Coin,
    FeeRate,
    Payment,
    SignedTx,
    SpendIntent,
    SpendItem,
    SpendKind,
    UnsignedTx,
)
from core.errors import Reason, Refused

T = TypeVar("T")

BLOCKS_TO_FINAL = 6
"""How far below the head a block is final in a harness that shows others too."""


class Key(Protocol):
    """A key as signers have it."""

    @property
    def public_key(self) -> bytes:
        """Return the public key as `Chain.address_of` takes it."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """Return the signature of a digest as every signer of this curve makes it."""
        ...


@dataclass(frozen=True, slots=True)
class CurveKey:
    """A key of secp256k1: r ‖ s ‖ recovery id."""

    private: PrivateKey

    @property
    def public_key(self) -> bytes:
        """Return the compressed point."""
        return self.private.public_key.format(compressed=True)

    def sign(self, digest: bytes) -> bytes:
        """Return 65 bytes."""
        return bytes(self.private.sign_recoverable(digest, hasher=None))


def curve_key(name: str) -> CurveKey:
    """Return the key of a name."""
    return CurveKey(PrivateKey(hashlib.sha256(name.encode()).digest()))


@dataclass(frozen=True, slots=True)
class Slot:
    """What one transaction uses up: two with the same slot exclude each other."""

    nonce: int = 0
    coins: tuple[Coin, ...] = ()
    ticket: str = ""


def claims_of(slot: Slot, address: str) -> set[str]:
    """Return what a transaction of an address on this slot claims (Decoded.claims)."""
    if slot.coins:
        return {coin.outpoint for coin in slot.coins}
    return {slot.ticket or f"{address}/{slot.nonce}"}


class ChainHarness(Protocol):
    """What a test may do to a chain. Blocks are made by `mine`, `fund` and `reorg` only."""

    chain: Chain
    tokens: tuple[str, ...]
    """Keys of honest tokens that the chain's data file lists; empty where there are none."""
    coin: int
    """A comfortable amount of the native coin: pays many fees."""
    least: int
    """Of the native coin, an amount that anybody can be paid; facts pay multiples of it."""
    units: int
    """Enough for any single transfer, also one that fails."""
    blocks_to_final: int
    """How far below the head a block is final; 0 where only final ones are shown."""

    def key(self, name: str) -> Key:
        """Return the key of a name."""
        ...

    def slot(self, address: str, number: int = 0) -> Slot:
        """Return what the number-th next transaction of an address may use up, as of the head."""
        ...

    def amounts(self, asset_key: str) -> Sequence[int]:
        """Return amounts of an asset from the least to the most that one coin's owner can name."""
        ...

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

    def enable_batches(self, name: str) -> None:
        """Let the key of a name make batches; in new blocks, and maybe with nonces of its."""
        ...

    def mine(self, blocks: int = 1) -> None:
        """Make blocks of what waits."""
        ...

    def reorg(self, depth: int) -> None:
        """Replace the newest blocks by a longer branch without their transactions."""
        ...


class CoinHarness(ChainHarness, Protocol):
    """A chain whose senders use up coins."""

    ripening: int
    """Blocks above its own from which on what a block's maker gets can be spent."""

    def coins(self, address: str) -> list[Coin]:
        """Return what an address can spend in the next block, oldest first."""
        ...

    def mine_to(self, address: str) -> None:
        """Make a block whose maker is an address."""
        ...


class TokenHarness(ChainHarness, Protocol):
    """A chain with tokens."""

    token: str
    """The first of `tokens`."""

    def pay_and_fail(self, to: str, amount: int) -> str:
        """Let somebody's token payment fail on chain in the next block."""
        ...


class OddTokenHarness(TokenHarness, Protocol):
    """A chain whose tokens run code of their issuers."""

    odd_token: str
    """Key of a listed token, flagged odd, that delivers less than its event claims."""
    picky_token: str
    """Key of a listed token whose issuer refuses transfers to whom he likes."""

    def refuse(self, address: str) -> None:
        """Have the issuer of the picky token refuse an address, from the next block on."""
        ...


class TaggedHarness(ChainHarness, Protocol):
    """A chain that says itself what is final, and may stop saying it."""

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
    key: Key
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
        self, intent: SpendIntent, *, slot: Slot | None = None, rate: FeeRate | None = None
    ) -> UnsignedTx:
        """Build on the next slot and with the chain's own rate unless told otherwise."""
        chain, used = self.harness.chain, slot or self.harness.slot(self.address)
        return chain.build(
            intent,
            nonce=used.nonce,
            rate=rate or chain.fee_rate(),
            units=self.harness.units,
            coins=used.coins,
            ticket=used.ticket,
        )

    def sign(self, digest: bytes) -> bytes:
        """Return the signature of one digest."""
        return self.key.sign(digest)

    def assembled(self, unsigned: UnsignedTx) -> SignedTx:
        """Sign what the payload says is to be signed, and join it."""
        chain = self.harness.chain
        inputs = chain.decode(unsigned.payload, sender=self.address).inputs
        digests = [one.digest for one in inputs] or [unsigned.digest]
        return chain.assemble(unsigned, b"".join(map(self.sign, digests)))

    def signed(
        self,
        to: str,
        amount: int,
        asset_key: str = NATIVE,
        *,
        slot: Slot | None = None,
        rate: FeeRate | None = None,
    ) -> SignedTx:
        """Return bytes that are ready to leave."""
        intent = self.intent(to, amount, asset_key)
        return self.assembled(self.unsigned(intent, slot=slot, rate=rate))


def wallet(harness: ChainHarness, name: str = "alice", *, coins: int = 1) -> Wallet:
    """Return a wallet that owns so many coins."""
    key = harness.key(name)
    address = harness.chain.address_of(key.public_key)
    for _ in range(coins):
        harness.fund(address, harness.coin)
    return Wallet(harness, key, address)


def assets(harness: ChainHarness) -> tuple[str, ...]:
    """Return the keys of what can be paid honestly."""
    return (NATIVE, *harness.tokens)


def some(harness: ChainHarness, number: int, asset_key: str = NATIVE) -> int:
    """Return a small amount that can be paid: `number` times the least one."""
    return number * harness.least if asset_key == NATIVE else number


def owner_of(harness: ChainHarness, asset_key: str, name: str = "alice") -> Wallet:
    """Return a wallet that can pay of an asset, and the fees for it."""
    owner = wallet(harness, name)
    if asset_key != NATIVE:
        harness.fund(owner.address, 10**10, asset_key)
    return owner


def payments_at(chain: Chain, height: int, *watched: str) -> list[Payment]:
    """Return the payments to these addresses at a height of the chain."""
    block = chain.block_at(height)
    assert block is not None
    return list(chain.payments_in(block, frozenset(watched)))


def only(found: Iterable[T]) -> T:
    """Return the one thing that was found."""
    every = list(found)
    assert len(every) == 1
    return every[0]


def invented(ref: BlockRef) -> BlockRef:
    """Return a block that nobody made, with the height of one that somebody did."""
    assert ref.hash
    middle = len(ref.hash) // 2
    other = "0" if ref.hash[middle] != "0" else "1"
    return BlockRef(ref.height, ref.hash[:middle] + other + ref.hash[middle + 1 :])


def doubled(rate: FeeRate) -> FeeRate:
    """Return a rate that replaces every lower one."""
    return replace(rate, max_rate=2 * rate.max_rate, tip_rate=2 * max(1, rate.tip_rate))


def is_taken(harness: ChainHarness, outcome: BroadcastOutcome) -> bool:
    """Tell whether nodes took bytes; where tickets are used up they take any, and drop what is
    over a used one.
    """
    return outcome is BroadcastOutcome.ACCEPTED and not harness.chain.traits.uses_tickets


def refusal(call: Callable[[], object]) -> Reason:
    """Return why a call was refused; fails when it was not."""
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.reason
