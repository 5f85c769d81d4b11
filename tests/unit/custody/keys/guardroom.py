"""A guard on a fake chain with a funded hot wallet: what the tests of the guard stand in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import NATIVE, FeeRate, SignedTx, SpendIntent, SpendItem, SpendKind, UnsignedTx
from chains.fake.chain import FakeChain
from chains.fake.tx import FakeTx, digest_of, encode
from chains.fake.world import FakeWorld
from core.clock import DAY_NS, ManualClock
from core.entropy import SeededEntropy
from core.ids import ChainId
from custody.keys.authority import Approvals, Standing, Together
from custody.keys.guard import Guard, SignRequest, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.roster import Approval, Roster, SpendLimit, sign_approval
from custody.keys.roster_files import RosterChain
from custody.keys.roster_text import sealed
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.signing_record import Entry
from custody.keys.store import Shelf
from tests.unit.custody.keys.officers import ADA, BEA, HOUR_NS, ROSTER
from tests.unit.custody.keys.policyroom import LAW, POLICY

CHAIN = ChainId("fake")
HOT = KeyRef("hot", 0)
GAS = KeyRef("gas", 0)
RATE = FeeRate(22, 2)
UNATTENDED_KINDS = (SpendKind.SWEEP, SpendKind.TOP_UP, SpendKind.CANCELLATION)
SEED = Secret(SeededEntropy(1, "seed of the tests").token_bytes(32))


@dataclass
class Guardroom:
    """A guard, its world, and short ways to ask it for things."""

    guard: Guard
    world: FakeWorld
    clock: ManualClock
    token: str

    @property
    def chain(self) -> FakeChain:
        assert isinstance(self.guard.chain, FakeChain)
        return self.guard.chain

    def entries(self) -> list[Entry]:
        """Return everything that was ever signed."""
        return self.guard.shelf.entries()

    def address(self, account: str, index: int = 0) -> str:
        return self.guard.address_of(KeyRef(account, index))

    def withdrawal(self, name: str = "wd_1", **changes: Any) -> WithdrawalIntent:
        intent = WithdrawalIntent(
            withdrawal_id=name,
            customer_no=7,
            initiator="customer:7",
            chain=CHAIN,
            network=self.chain.traits.network,
            asset_key=NATIVE,
            destination=self.world.outsider("customer"),
            amount=1_000,
            fee_minor=50,
            network_fee_max=10_000,
            policy_version=1,
            expires_ns=self.clock.now_ns() + HOUR_NS,
            wallet="hot",
            policy_hash=POLICY.hash.hex(),
            decision_hash=NO_POLICY,
            excluded=(),
            not_before_ns=0,
        )
        return replace(intent, **changes)

    def approved(
        self, intent: WithdrawalIntent, *keys: Ed25519PrivateKey, **changes: Any
    ) -> Approvals:
        verdicts = tuple(sign_approval(key, intent) for key in keys or (ADA, BEA))
        return replace(Approvals(intent, verdicts), **changes)

    def spend_of(self, intent: WithdrawalIntent, name: str = "sp_1", **changes: Any) -> SpendIntent:
        spend = SpendIntent(
            spend_id=name,
            kind=SpendKind.WITHDRAWAL,
            cause_id=intent.withdrawal_id,
            chain=CHAIN,
            network=intent.network,
            asset_key=intent.asset_key,
            source=self.address("hot"),
            destination=intent.destination,
            amount=intent.amount,
            fee_max=intent.network_fee_max,
        )
        return replace(spend, **changes)

    def unsigned(
        self, spend: SpendIntent, *, nonce: int = 0, rate: FeeRate = RATE, **changes: Any
    ) -> UnsignedTx:
        units = self.chain.fee_units(spend)
        return replace(self.chain.build(spend, nonce=nonce, rate=rate, units=units), **changes)

    def forged(self, spend: SpendIntent, *, nonce: int = 0, rate: FeeRate = RATE) -> UnsignedTx:
        """Return what a thief's builder makes: it checks nothing."""
        units = self.chain.fee_units(spend)
        body = FakeTx(
            network=spend.network,
            nonce=nonce,
            to=spend.destination,
            asset_key=spend.asset_key,
            amount=spend.amount,
            max_rate=rate.max_rate,
            tip_rate=rate.tip_rate,
            units=units,
        )
        payload, fee_max = encode(body), rate.max_rate * units
        return UnsignedTx(spend.chain, spend.source, nonce, payload, digest_of(payload), fee_max)

    def request(
        self, name: str = "wd_1", *, nonce: int = 0, rate: FeeRate = RATE, spend: str = ""
    ) -> SignRequest:
        """Return the request for an approved withdrawal that should sign."""
        intent = self.withdrawal(name)
        what = self.spend_of(intent, spend or f"sp_{name}")
        unsigned = self.unsigned(what, nonce=nonce, rate=rate)
        return SignRequest(what, self.approved(intent), unsigned, HOT)

    @property
    def rosters(self) -> RosterChain:
        return RosterChain((self.guard.roster,))

    def standing(self, kind: SpendKind, key: KeyRef | None = None) -> Standing:
        """Return the standing mandate of a kind."""
        return Standing(f"mandate {kind.value}", key)

    def batch(
        self,
        *intents: WithdrawalIntent,
        nonce: int = 0,
        rate: FeeRate = RATE,
        name: str = "sp_batch",
        **changes: Any,
    ) -> SignRequest:
        """Return the request for a batch of approved withdrawals that should sign."""
        items = tuple(SpendItem(i.withdrawal_id, i.destination, i.amount) for i in intents)
        spend = self.spend_of(
            intents[0],
            name,
            kind=SpendKind.BATCH,
            cause_id=f"cause of {name}",
            destination=self.address("hot"),
            amount=sum(i.amount for i in intents),
            fee_max=sum(i.network_fee_max for i in intents),
            items=items,
        )
        spend = replace(spend, **changes)
        rights = Together(tuple(self.approved(one) for one in intents))
        return SignRequest(spend, rights, self.unsigned(spend, nonce=nonce, rate=rate), HOT)

    def with_mandate(self, kind: SpendKind, /, **changes: Any) -> Guardroom:
        """Return the room under a roster in which one mandate is another."""
        mandates = tuple(
            self.mandate(kind, **changes) if mandate.kind is kind else mandate
            for mandate in self.guard.roster.mandates
        )
        return self.with_roster(mandates=mandates)

    def with_roster(self, **changes: Any) -> Guardroom:
        """Return the room under another roster."""
        return self.with_guard(roster=sealed(replace(self.guard.roster, **changes)))

    def roster(self) -> Roster:
        """Return the roster of the tests: three officers, wide limits, a mandate of each kind."""
        return sealed(
            replace(
                ROSTER,
                limits=tuple(
                    SpendLimit(CHAIN, key, 10**12, 10**12, 10**6, 10**9)
                    for key in sorted((NATIVE, self.token))
                ),
                mandates=tuple(self.mandate(kind) for kind in UNATTENDED_KINDS),
            )
        )

    def mandate(self, kind: SpendKind, /, **changes: Any) -> Mandate:
        caps = (AssetCap(NATIVE, 5_000, 12_000), AssetCap(self.token, 5_000, 12_000))
        mandate = Mandate(
            mandate_id=f"mandate {kind.value}",
            kind=kind,
            chain=CHAIN,
            network=self.chain.traits.network,
            destinations=() if kind is SpendKind.CANCELLATION else (self.address("hot"),),
            destination_accounts=("deposits",) if kind is SpendKind.TOP_UP else (),
            caps=() if kind is SpendKind.CANCELLATION else tuple(sorted(caps, key=_key)),
            fee_max=10_000,
            fee_window_max=40_000,
            valid_from_ns=0,
            valid_until_ns=self.clock.now_ns() + 400 * DAY_NS,
        )
        return replace(mandate, **changes)

    def cancellation(
        self, of: SpendIntent, *, nonce: int = 0, rate: FeeRate = RATE, name: str = ""
    ) -> SignRequest:
        spend = replace(
            of,
            spend_id=name or f"{of.spend_id}_cancel",
            kind=SpendKind.CANCELLATION,
            cause_id=of.spend_id,
            asset_key=NATIVE,
            destination=of.source,
            amount=0,
            items=(),
        )
        standing = self.standing(SpendKind.CANCELLATION)
        return SignRequest(spend, standing, self.unsigned(spend, nonce=nonce, rate=rate), HOT)

    def sweep(
        self, name: str, amount: int, *, index: int = 0, nonce: int = 0, asset_key: str = NATIVE
    ) -> SignRequest:
        key = KeyRef("deposits", index)
        spend = SpendIntent(
            spend_id=name,
            kind=SpendKind.SWEEP,
            cause_id=f"job {name}",
            chain=CHAIN,
            network=self.chain.traits.network,
            asset_key=asset_key,
            source=self.guard.address_of(key),
            destination=self.address("hot"),
            amount=amount,
            fee_max=2_000,
        )
        standing = self.standing(SpendKind.SWEEP)
        return SignRequest(spend, standing, self.unsigned(spend, nonce=nonce), key)

    def sign(self, request: SignRequest) -> SignedTx:
        """Have a request signed and join the parts; the chain checks whose signature it is."""
        return self.chain.assemble(request.unsigned, sign_once(self.guard, request))

    def with_guard(self, **changes: Any) -> Guardroom:
        return replace(self, guard=replace(self.guard, **changes))


def _key(cap: AssetCap) -> str:
    return cap.asset_key


def guardroom(shelf: Shelf) -> Guardroom:
    """Return a guardroom whose hot wallet has money."""
    clock = ManualClock()
    world = FakeWorld()
    token = world.add_token("GOLD")
    chain = FakeChain(world, rate_cap=100_000)
    signer = LocalSigner(SEED, chain.traits)
    guard = Guard(shelf, chain, signer, ROSTER, clock, LAW)
    room = Guardroom(guard, world, clock, token)
    room = room.with_guard(roster=room.roster())
    world.fund(room.address("hot"), 10**9)
    return room


def changed(**changes: Any) -> Callable[[Approvals], Approvals]:
    """Return another withdrawal, approved by the same officers."""

    def change(authority: Approvals) -> Approvals:
        intent = replace(authority.withdrawal, **changes)
        return Approvals(intent, tuple(sign_approval(key, intent) for key in (ADA, BEA)))

    return change


def harvested(*owners: Approvals) -> tuple[Approval, ...]:
    """Return every approval of other withdrawals."""
    return tuple(one for owner in owners for one in owner.approvals)
