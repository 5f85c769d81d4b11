"""A key on the fake chain that spends as custody would: build, sign, assemble."""

from __future__ import annotations

import hashlib

from coincurve import PrivateKey

from chains.base import NATIVE, FeeRate, SignedTx, SpendIntent, SpendKind, UnsignedTx
from chains.fake import FakeChain, FakeWorld


class Wallet:
    """One account of a world with its own nonces."""

    def __init__(self, world: FakeWorld, name: str = "alice") -> None:
        self.chain = FakeChain(world)
        self.key = PrivateKey(hashlib.sha256(name.encode()).digest())
        self.address = self.chain.address_of(self.key.public_key.format(compressed=True))

    def intent(self, to: str, amount: int, asset_key: str = NATIVE) -> SpendIntent:
        return SpendIntent(
            spend_id="sp_1",
            kind=SpendKind.WITHDRAWAL,
            cause_id="wd_1",
            chain=self.chain.traits.chain,
            network=self.chain.traits.network,
            asset_key=asset_key,
            source=self.address,
            destination=to,
            amount=amount,
            fee_max=10**9,
        )

    def unsigned(
        self, to: str, amount: int, asset_key: str = NATIVE, *, nonce: int = 0, rate: FeeRate
    ) -> UnsignedTx:
        intent = self.intent(to, amount, asset_key)
        units = self.chain.fee_units(intent)
        return self.chain.build(intent, nonce=nonce, rate=rate, units=units)

    def signed(
        self,
        to: str,
        amount: int,
        asset_key: str = NATIVE,
        *,
        nonce: int = 0,
        rate: FeeRate | None = None,
    ) -> SignedTx:
        rate = rate or FeeRate(max_rate=20, tip_rate=2)
        unsigned = self.unsigned(to, amount, asset_key, nonce=nonce, rate=rate)
        signature = self.key.sign_recoverable(unsigned.digest, hasher=None)
        return self.chain.assemble(unsigned, signature)
