"""Safes on a test's node, and the devices of their owners.

A device is eth-account: it gets the JSON of a signing request and nothing else, hashes it itself
and gives r ‖ s ‖ v, as a wallet application does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from eth_account import Account

from chains.base import BroadcastOutcome, Effect, FeeRate, TxStatus, UnsignedTx
from chains.evm.chain import EvmChain
from chains.multisig import SigningRequest, WalletState
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.safe import SafeContracts, deploy_safe
from tests.support.evm import ETHER, FIRST, GWEI, DevKey

RATE = FeeRate(3 * GWEI, GWEI)


@dataclass(frozen=True, slots=True)
class Device:
    """An owner's wallet application."""

    secret: bytes

    @property
    def address(self) -> str:
        """Return the owner's address."""
        return str(Account.from_key(self.secret).address)

    def sign(self, request: SigningRequest) -> bytes:
        """Sign what is shown."""
        page = json.loads(request.document)
        signed = Account.sign_typed_data(self.secret, full_message=page)
        assert bytes(signed.message_hash) == request.digest
        return bytes(signed.signature)


DEVICES = tuple(Device(bytes([7] * 31 + [number])) for number in range(1, 8))
"""Seven owners, the same in every run."""


@dataclass(frozen=True, slots=True)
class OnNode:
    """Safe's contracts on a node, one wallet of them, and its owners' devices."""

    chain: EvmChain
    contracts: SafeContracts
    wallet: Contract
    devices: tuple[Device, ...]
    relayer: DevKey = FIRST

    @property
    def address(self) -> str:
        """Return the wallet's address."""
        return self.wallet.address

    @property
    def relayer_address(self) -> str:
        """Return who pays the network."""
        return self.chain.address_of(self.relayer.public_key)

    def state(self) -> WalletState:
        """Return what the wallet is now."""
        return self.chain.wallets.state(self.address, self.chain.head())

    def draft(self, *effects: Effect, nonce: int | None = None) -> UnsignedTx:
        """Build the wallet's transaction."""
        state = self.state()
        return self.chain.wallets.build(
            self.address,
            effects,
            nonce=state.nonce if nonce is None else nonce,
            units=self.chain.wallets.units(self.address, effects, state),
            state=state,
        )

    def signed_by(self, unsigned: UnsignedTx, devices: Sequence[Device]) -> list[bytes]:
        """Have owners sign on their devices."""
        requests = self.chain.wallets.requests(unsigned, [one.address for one in devices])
        return [one.sign(asked) for one, asked in zip(devices, requests, strict=True)]

    def relayed(self, relay: bytes, *, wallet_nonce: int, units: int | None = None) -> UnsignedTx:
        """Build the relayer's transaction."""
        wallets, head = self.chain.wallets, self.chain.head()
        return wallets.relay(
            relay,
            wallet_nonce=wallet_nonce,
            relayer=self.relayer_address,
            nonce=self.chain.used_nonces(self.relayer_address, head),
            rate=RATE,
            units=units or wallets.relay_units(relay, relayer=self.relayer_address),
            fee_max=ETHER,
        )

    def send(self, outer: UnsignedTx) -> TxStatus:
        """Sign as the relayer, send, and return what became of it once it is included."""
        signed = self.chain.assemble(outer, self.relayer.sign(outer.digest))
        assert self.chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
        for _ in range(2_000):  # the node mines a moment after it has answered
            status = self.chain.tx_status(signed.tx_id)
            if status.block is not None:
                return status
            time.sleep(0.005)
        raise AssertionError(f"{signed.tx_id} was not included")

    def execute(
        self, *effects: Effect, devices: Sequence[Device], units: int | None = None
    ) -> TxStatus:
        """Have owners sign, join, and send."""
        draft = self.draft(*effects)
        state = self.state()
        relay = self.chain.wallets.join(draft, self.signed_by(draft, devices), state)
        return self.send(self.relayed(relay, wallet_nonce=draft.nonce, units=units))


def safe_on(
    chain: EvmChain, deployer: Deployer, *, threshold: int, owners: int, coins: int = 10
) -> OnNode:
    """Create a wallet of the first owners, with some native coins."""
    contracts = deploy_safe(deployer)
    devices = DEVICES[:owners]
    wallet = contracts.wallet([one.address for one in devices], threshold)
    deployer.pay(wallet.address, coins * ETHER)
    return OnNode(chain, contracts, wallet, devices)
