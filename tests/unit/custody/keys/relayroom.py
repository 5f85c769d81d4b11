"""A guard over one wallet of several owners: requests to relay, honest to begin with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_keys import keys  # type: ignore[attr-defined]

from chains.base import NATIVE, Effect, FeeRate, SpendIntent, UnsignedTx
from chains.evm.safe import EvmWallets
from chains.evm.safe_build import execute_call
from chains.evm.wallet_payload import WalletTransaction, read_wallet_payload, wallet_digest
from chains.multisig import WalletState
from core.errors import Reason, Refused
from custody.keys.guard import SignRequest, sign_once
from custody.keys.roster import ContractWallet
from custody.keys.signers import KeyRef
from tests.support.evm import CHAIN, GWEI
from tests.support.safes import DEVICES, Device
from tests.unit.custody.keys.evmroom import (
    CUSTOMER,
    FEE_MAX,
    OTHER_SAFE,
    SAFE,
    EvmRoom,
    SilentChain,
    approved,
    silent_chain,
)

GAS_KEY = KeyRef("gas", 0)
ADA, BEN, CLEO = DEVICES[:3]
MEMBERS = tuple(sorted(one.address for one in DEVICES[:3]))
CODE, HANDLER = "0xEdd160fEBBD92E350D4D398fb636302fccd67C7e", OTHER_SAFE
NONCE = 4
STATE = WalletState(MEMBERS, 2, NONCE, CODE, HANDLER, ())
ROW = ContractWallet(
    CHAIN, SAFE, (), members=MEMBERS, threshold=2, wallet="treasury", code=CODE, handler=HANDLER
)
RATE = FeeRate(10 * GWEI, GWEI)
PAID = (Effect(NATIVE, CUSTOMER, 5_000_000),)


class Pictured(EvmWallets):
    """The builder; what the node would say of the wallet is given."""

    picture = STATE

    def state(self, wallet: str, at: object) -> WalletState:
        """Return the picture."""
        return self.picture


class WalletChain(SilentChain):
    """A chain with one wallet, as the picture says."""

    picture = STATE

    @property
    def wallets(self) -> Pictured:
        """Return the builder over the picture."""
        made = Pictured(self._params, self._nodes)
        made.picture = self.picture
        return made


@dataclass(frozen=True)
class Desk:
    """A guard whose roster names the wallet, and an honest request to begin with."""

    room: EvmRoom

    @property
    def chain(self) -> WalletChain:
        chain = self.room.guard.chain
        assert isinstance(chain, WalletChain)
        return chain

    def on_chain(self, **changes: Any) -> Desk:
        """Return the desk before a node that says something else of the wallet."""
        other = silent_chain(kind=WalletChain)
        assert isinstance(other, WalletChain)
        other.picture = replace(STATE, **changes)
        return Desk(self.room.with_guard(chain=other))

    def spend(self, name: str = "wd_1", **changes: Any) -> tuple[Any, SpendIntent]:
        withdrawal = self.room.withdrawal(name, wallet="treasury", **changes)
        return withdrawal, self.room.spend(withdrawal, SAFE)

    def draft(self, *effects: Effect, **changes: Any) -> WalletTransaction:
        built = self.chain.wallets.build(
            SAFE, effects or PAID, nonce=NONCE, units=60_000, state=STATE
        )
        return replace(read_wallet_payload(built.payload), **changes)

    def outer(
        self,
        transaction: WalletTransaction,
        devices: tuple[Device, ...] = (ADA, BEN),
        *,
        nonce: int = 0,
        rate: FeeRate = RATE,
        sender: KeyRef = GAS_KEY,
    ) -> UnsignedTx:
        """Return a relayer's transaction around what these owners signed."""
        signatures = signatures_of(transaction, devices)
        return self.carrying(
            transaction.safe + execute_call(transaction, signatures),
            wallet_nonce=transaction.nonce, nonce=nonce, rate=rate, sender=sender,
        )  # fmt: skip

    def carrying(
        self,
        relay: bytes,
        *,
        wallet_nonce: int = NONCE,
        nonce: int = 0,
        rate: FeeRate = RATE,
        sender: KeyRef = GAS_KEY,
    ) -> UnsignedTx:
        return self.chain.wallets.relay(
            relay, wallet_nonce=wallet_nonce, relayer=self.room.address(sender), nonce=nonce,
            rate=rate, units=200_000, fee_max=FEE_MAX,
        )  # fmt: skip

    def request(self, outer: UnsignedTx, name: str = "wd_1", **changes: Any) -> SignRequest:
        withdrawal, spend = self.spend(name, **changes)
        return SignRequest(spend, approved(withdrawal), outer, GAS_KEY)

    def honest(self) -> SignRequest:
        return self.request(self.outer(self.draft()))

    def sign(self, request: SignRequest) -> bytes:
        return sign_once(self.room.guard, request)

    def reason(self, request: SignRequest) -> Reason:
        """Return why a request is refused; nothing is signed."""
        before = self.room.entries()
        with pytest.raises(Refused) as refused:
            self.sign(request)
        assert self.room.entries() == before
        return refused.value.reason


def signatures_of(transaction: WalletTransaction, devices: tuple[Device, ...]) -> list[bytes]:
    """Return r ‖ s ‖ v of owners over whatever it is, by ascending owner."""
    digest, made = wallet_digest(transaction), []
    for device in sorted(devices, key=lambda one: int(one.address, 16)):
        signature = keys.PrivateKey(device.secret).sign_msg_hash(digest).to_bytes()
        made.append(signature[:64] + bytes((27 + signature[64],)))
    return made
