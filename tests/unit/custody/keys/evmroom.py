"""A guard over an account chain with contract wallets: what the tampered payloads are shown to.

Its keys, its store, its roster and its decoder are the real ones; only the node is silent: it says
that nothing was ever sent.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import rlp  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_hash.auto import keccak

from chains.base import NATIVE, BlockRef, SpendIntent, SpendKind, UnsignedTx
from chains.evm.chain import EvmChain
from chains.evm.node import EvmNode
from chains.evm.params import EvmParams
from chains.evm.signature import recover
from chains.rpc import NodeSet, RpcClient
from core.clock import DAY_NS, ManualClock
from custody.keys.authority import Approvals, Standing
from custody.keys.guard import Guard, SignRequest, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.roster import ContractWallet, Delegate, Roster, SpendLimit, sign_approval
from custody.keys.roster_text import sealed
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.signing_record import Entry
from custody.keys.store import Shelf
from tests.support.contract_wallets import MULTI_SEND, SafeTx, call, inner, multi_send, raw
from tests.support.evm import CHAIN, GWEI, listed
from tests.unit.custody.keys.guardroom import SEED
from tests.unit.custody.keys.officers import ADA, BEA, HOUR_NS, ROSTER
from tests.unit.custody.keys.policyroom import LAW, POLICY

NUMBER = 31_337
GENESIS = "0x" + "11" * 32
GOLD = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
BRASS = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
SAFE = "0x41675C099F32341bf84BFc5382aF534df5C7461a"
OTHER_SAFE = "0x29fcB43b46531BcA003ddC8FCB67FFE91900C762"
CUSTOMER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
THIEF = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
DELEGATE = "0x63c0c19a282a1B52b07dD5a65b58948A07DAE32B"
UNUSED_DELEGATE = "0x69007702764179f14F51cdce752f4f775d74E139"
HOT, COLD, DEPOSIT = KeyRef("hot", 0), KeyRef("cold", 0), KeyRef("deposits", 1)
AMOUNT, FEE_MAX, GAS = 5_000_000, 10**16, 100_000
RATE, TIP = 10 * GWEI, GWEI


class SilentChain(EvmChain):
    """The whole chain object; its node has seen one block and nothing of ours."""

    def head(self) -> BlockRef:
        """Return the one block."""
        return BlockRef(1, "0x" + "22" * 32)

    def final_head(self) -> BlockRef | None:
        """Return the one block."""
        return self.head()

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        """Return none."""
        return 0


class BusyChain(SilentChain):
    """The same; its node says that a hundred nonces of the contract wallet are used."""

    @classmethod
    def like(cls, chain: object) -> BusyChain:
        """Return one with the parameters of another."""
        assert isinstance(chain, SilentChain)
        return cls(chain._params, chain._nodes, (listed(GOLD), listed(BRASS, "BRS")))

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        """Return a hundred for the contract wallet."""
        return 100 if sender == SAFE else 0


def silent_chain(number: int = NUMBER, kind: type[SilentChain] = SilentChain) -> SilentChain:
    """Return a chain that asks nobody."""
    params = EvmParams(
        chain=CHAIN, chain_number=number, genesis_hash=GENESIS, fee_floor=GWEI,
        fee_cap=300 * GWEI, tip=TIP, gas_cap=500_000, reorg_limit=64,
    )  # fmt: skip
    nodes = NodeSet((EvmNode(RpcClient("http://127.0.0.1:9", timeout_ms=1)),), 1)
    return kind(params, nodes, (listed(GOLD), listed(BRASS, "BRS")))


@dataclass(frozen=True)
class EvmRoom:
    """A guard, its clock, and honest requests to begin with."""

    guard: Guard
    clock: ManualClock

    @property
    def network(self) -> str:
        return self.guard.chain.traits.network

    def address(self, key: KeyRef) -> str:
        return self.guard.address_of(key)

    def entries(self) -> list[Entry]:
        return self.guard.shelf.entries()

    def with_roster(self, **changes: Any) -> EvmRoom:
        """Return the room under another roster."""
        return self.with_guard(roster=sealed(replace(self.guard.roster, **changes)))

    def with_mandate(self, kind: SpendKind, **changes: Any) -> EvmRoom:
        """Return the room under a roster in which the mandate of a kind is another."""
        mandates = tuple(
            replace(one, **changes) if one.kind is kind else one
            for one in self.guard.roster.mandates
        )
        return self.with_roster(mandates=mandates)

    def with_guard(self, **changes: Any) -> EvmRoom:
        """Return the room with another guard over the same store."""
        return replace(self, guard=replace(self.guard, **changes))

    def later(self, duration_ns: int) -> EvmRoom:
        """Return the room at another time."""
        clock = ManualClock(self.clock.now_ns() + duration_ns)
        return EvmRoom(replace(self.guard, clock=clock), clock)

    def signer_of(self, request: SignRequest) -> str:
        """Have a request signed; return whose signature over its digest came out."""
        signature = sign_once(self.guard, request)
        assert len(signature) == 65
        return "0x" + recover(request.unsigned.digest, signature).hex()

    def withdrawal(self, name: str = "wd_1", **changes: Any) -> WithdrawalIntent:
        honest = WithdrawalIntent(
            withdrawal_id=name, customer_no=7, initiator="customer:7", chain=CHAIN,
            network=self.network, asset_key=NATIVE, destination=CUSTOMER, amount=AMOUNT,
            fee_minor=50, network_fee_max=FEE_MAX, policy_version=1,
            expires_ns=self.clock.now_ns() + HOUR_NS, wallet="hot", policy_hash=POLICY.hash.hex(),
            decision_hash=NO_POLICY, excluded=(), not_before_ns=0,
        )  # fmt: skip
        return replace(honest, **changes)

    def spend(self, intent: WithdrawalIntent, source: str, **changes: Any) -> SpendIntent:
        honest = SpendIntent(
            spend_id=f"sp_{intent.withdrawal_id}", kind=SpendKind.WITHDRAWAL,
            cause_id=intent.withdrawal_id, chain=CHAIN, network=intent.network,
            asset_key=intent.asset_key, source=source, destination=intent.destination,
            amount=intent.amount, fee_max=intent.network_fee_max,
        )  # fmt: skip
        return replace(honest, **changes)

    def coins(self, name: str = "wd_1", *, nonce: int = 0, **changes: Any) -> SignRequest:
        """Return an approved withdrawal of native coins from the hot wallet."""
        intent = self.withdrawal(name, **changes)
        spend = self.spend(intent, self.address(HOT))
        return SignRequest(spend, approved(intent), told(spend, plain(spend, nonce=nonce)), HOT)

    def tokens(self, name: str = "wd_1", **changes: Any) -> SignRequest:
        """Return an approved withdrawal of tokens from the hot wallet."""
        return self.coins(name, **{"asset_key": GOLD, **changes})

    def safe(self, name: str = "wd_1", *, nonce: int = 7, **changes: Any) -> SignRequest:
        """Return an approved withdrawal from the contract wallet that our cold key owns."""
        intent = self.withdrawal(name, **{"wallet": "treasury", **changes})
        spend = self.spend(intent, SAFE)
        return SignRequest(spend, approved(intent), wallet_told(spend, paying(spend, nonce)), COLD)

    def safe_tokens(self) -> SignRequest:
        """Return the same of tokens."""
        return self.safe(asset_key=GOLD)

    def multisend(self) -> SignRequest:
        """Return the same through a multisend of one call."""
        request = self.safe_tokens()
        return wallet_changed(request, **batched(transfer_inside(request.intent)))

    def own(self, kind: SpendKind, name: str = "job_1", **changes: Any) -> SignRequest:
        """Return an unattended spend from a deposit address to the hot wallet."""
        honest = SpendIntent(
            spend_id=name, kind=kind, cause_id=f"cause of {name}", chain=CHAIN,
            network=self.network, asset_key=GOLD, source=self.address(DEPOSIT),
            destination=self.address(HOT), amount=AMOUNT, fee_max=FEE_MAX,
        )  # fmt: skip
        spend = replace(honest, **changes)
        standing = Standing(f"mandate {kind.value}")
        return SignRequest(spend, standing, told(spend, plain(spend)), DEPOSIT)

    def sweep(self, name: str = "job_1", **changes: Any) -> SignRequest:
        """Return a sweep of tokens."""
        return self.own(SpendKind.SWEEP, name, **changes)

    def delegating(self, **changes: Any) -> SignRequest:
        """Return an authorisation for the delegate of the roster."""
        fields = {"asset_key": NATIVE, "amount": 0, "destination": DELEGATE, "fee_max": 0}
        request = self.own(SpendKind.DELEGATION, **{**fields, **changes})
        return delegation_told(request, NUMBER, request.intent.destination)


def approved(intent: WithdrawalIntent, *keys: Ed25519PrivateKey) -> Approvals:
    """Return a withdrawal with the approvals of officers, by default of two."""
    return Approvals(intent, tuple(sign_approval(key, intent) for key in keys or (ADA, BEA)))


def type_2(spend: SpendIntent, **changes: Any) -> bytes:
    """Serialise a type-2 transaction by the library, with fields at will."""
    is_native = spend.asset_key == NATIVE
    honest: dict[str, Any] = {
        "number": NUMBER, "nonce": 0, "tip": TIP, "rate": RATE, "gas": GAS,
        "to": raw(spend.destination if is_native else spend.asset_key),
        "value": spend.amount if is_native else 0,
        "data": b"" if is_native else transfer_of(spend), "access": [],
    }  # fmt: skip
    return b"\x02" + bytes(rlp.encode([*{**honest, **changes}.values()]))


def plain(spend: SpendIntent, **changes: Any) -> tuple[bytes, int, int]:
    """Return payload, nonce and highest fee of a type-2 transaction."""
    fee = changes.get("rate", RATE) * changes.get("gas", GAS)
    return type_2(spend, **changes), changes.get("nonce", 0), fee


def transfer_of(spend: SpendIntent) -> bytes:
    """Return the call data of the token transfer that a spend is."""
    return call("transfer(address,uint256)", spend.destination, spend.amount)


def told(spend: SpendIntent, made: tuple[bytes, int, int], **changes: Any) -> UnsignedTx:
    """Return what a truthful platform says beside a payload."""
    payload, nonce, fee = made
    unsigned = UnsignedTx(spend.chain, spend.source, nonce, payload, bytes(keccak(payload)), fee)
    return replace(unsigned, **changes)


def paying(spend: SpendIntent, nonce: int) -> SafeTx:
    """Return a contract wallet's transaction that carries out a spend."""
    if spend.asset_key == NATIVE:
        return SafeTx(NUMBER, SAFE, spend.destination, spend.amount, nonce=nonce)
    return SafeTx(NUMBER, SAFE, spend.asset_key, 0, transfer_of(spend), nonce=nonce)


def wallet_told(spend: SpendIntent, made: SafeTx) -> UnsignedTx:
    """Return what a truthful platform says beside a contract wallet's transaction."""
    return UnsignedTx(spend.chain, spend.source, made.nonce, made.payload(), made.digest(), 0)


def wallet_changed(request: SignRequest, **changes: Any) -> SignRequest:
    """Return a request for a contract wallet's transaction with other fields."""
    made = paying(request.intent, request.unsigned.nonce).with_(**changes)
    return replace(request, unsigned=wallet_told(request.intent, made))


def batched(*calls: bytes) -> dict[str, Any]:
    """Return the fields of a multisend."""
    return {"to": MULTI_SEND, "value": 0, "operation": 1, "data": multi_send(calls)}


def transfer_inside(spend: SpendIntent) -> bytes:
    """Return the token transfer of a spend as an inner call."""
    return inner(spend.asset_key, 0, transfer_of(spend))


def delegation_told(request: SignRequest, number: int, delegate: str) -> SignRequest:
    """Return a request for an authorisation of a delegate on a network."""
    payload = b"\x05" + bytes(rlp.encode([number, raw(delegate), 0]))
    return replace(request, unsigned=told(request.intent, (payload, 0, 0)))


def room_of(shelf: Shelf) -> EvmRoom:
    """Return a room over a store."""
    clock = ManualClock()
    chain, signer = _keys()
    room = EvmRoom(Guard(shelf, chain, signer, ROSTER, clock, LAW), clock)
    return room.with_guard(roster=_roster(room))


@functools.cache
def _keys() -> tuple[SilentChain, LocalSigner]:
    chain = silent_chain()
    return chain, LocalSigner(SEED, chain.traits)


def _roster(room: EvmRoom) -> Roster:
    keys = sorted((NATIVE, GOLD, BRASS))
    kinds: Sequence[tuple[SpendKind, tuple[str, ...]]] = (
        (SpendKind.SWEEP, (room.address(HOT),)),
        (SpendKind.CANCELLATION, ()),
        (SpendKind.DELEGATION, (DELEGATE,)),
        (SpendKind.WITHDRAWAL, ()),
    )
    mandates = tuple(
        Mandate(
            mandate_id=f"mandate {kind.value}", kind=kind, chain=CHAIN, network=room.network,
            destinations=destinations, destination_accounts=(),
            caps=tuple(AssetCap(key, AMOUNT, 2 * AMOUNT) for key in keys
                       if kind in {SpendKind.SWEEP, SpendKind.WITHDRAWAL}),
            fee_max=FEE_MAX, fee_window_max=10 * FEE_MAX, valid_from_ns=0,
            valid_until_ns=room.clock.now_ns() + 400 * DAY_NS,
        )
        for kind, destinations in kinds
    )  # fmt: skip
    return sealed(
        replace(
            ROSTER,
            limits=tuple(SpendLimit(CHAIN, key, 10**12, 10**13, 10**18, 10**20) for key in keys),
            mandates=mandates,
            wallets=(ContractWallet(CHAIN, SAFE, (COLD, HOT)),),
            delegates=(Delegate(CHAIN, DELEGATE), Delegate(CHAIN, UNUSED_DELEGATE)),
        )
    )
