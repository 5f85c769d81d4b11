"""A real node, a chain over it and whoever signs: spending at the level of the chain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chains.base import BroadcastOutcome, Coin, FeeRate, SignedTx, SpendIntent, UnsignedTx
from chains.bitcoin.bech32 import write_program
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.params import COIN
from custody.keys.signers import KeyRef, LocalSigner
from infra.devnet.coin_nodes import MINER, CoreNode
from tests.support.bitcoin import HOT, PARAMS, SIGNER, named
from tests.support.coin_money import Mint

RATE = FeeRate(5, 5)
OF_CHAIN = replace(PARAMS, batch_max=20)
HALF = COIN // 2


def somebody(name: str) -> str:
    """Return an address that nobody here has a key for."""
    return write_program("bcrt", 0, hashlib.sha256(name.encode()).digest()[:20])


@dataclass(slots=True)
class Desk:
    """A node, the chain over it, and whoever signs."""

    node: CoreNode
    mint: Mint
    chain: BitcoinChain
    signer: LocalSigner = SIGNER
    keys: dict[str, KeyRef] = field(default_factory=dict)

    def address(self, key: KeyRef) -> str:
        """Return the address of an own key, and remember whose it is."""
        address = self.chain.address_of(self.signer.public_key(key))
        self.keys[address] = key
        return address

    def coins(self, *amounts: int, key: KeyRef = HOT) -> tuple[Coin, ...]:
        """Return fresh coins of an own key."""
        owner = self.address(key)
        return named(self.mint.pay(owner, *amounts), owner)

    def unsigned(
        self, intent: SpendIntent, coins: Sequence[Coin], rate: FeeRate = RATE
    ) -> UnsignedTx:
        """Build as custody does."""
        units = self.chain.fee_units(intent, coins)
        return self.chain.build(intent, nonce=0, rate=rate, units=units, coins=coins)

    def signed(self, intent: SpendIntent, coins: Sequence[Coin], rate: FeeRate = RATE) -> SignedTx:
        """Build, judge, sign and join."""
        unsigned = self.unsigned(intent, coins, rate)
        decoded = self.chain.decode(unsigned.payload, sender=unsigned.sender)
        signatures = [self.signer.sign(self.keys[one.owner], one.digest) for one in decoded.inputs]
        return self.chain.assemble(unsigned, b"".join(signatures))

    def send(self, signed: SignedTx) -> BroadcastOutcome:
        """Send bytes."""
        return self.chain.broadcast(signed.raw).outcome

    def mine_only(self, signed: SignedTx) -> None:
        """Make a block of exactly this transaction, whatever waits in the pool."""
        self.node.call("generateblock", MINER, [signed.raw.hex()])

    def received(self, address: str) -> list[int]:
        """Return the unspent coins of an address, as the node itself finds them."""
        found = self.node.call("scantxoutset", "start", [f"addr({address})"])
        return sorted(round(one["amount"] * COIN) for one in found["unspents"])
