"""A guard over coins: what the tests of chains that spend coins stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from chains.base import NATIVE, Chain, SignedTx, SpendIntent, SpendKind
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.params import COIN
from core.clock import DAY_NS, ManualClock
from core.ids import ChainId
from custody.keys.audit import Auditor, Finding, audit
from custody.keys.authority import Approvals, Standing
from custody.keys.guard import Guard, SignRequest, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.roster import Roster, SpendLimit, sign_approval
from custody.keys.roster_files import RosterChain
from custody.keys.roster_text import sealed
from custody.keys.signers import KeyRef
from custody.keys.signing_record import Entry
from tests.support.bitcoin import (
    CHAIN,
    CHANGE,
    HOT,
    SIGNER,
    Draft,
    Wallet,
    address_of,
    check_by_library,
    intent_of,
)
from tests.support.coin_node import CoinNode, chain_on
from tests.unit.custody.keys.conftest import shelf_in_memory
from tests.unit.custody.keys.officers import ADA, BEA, HOUR_NS, ROSTER
from tests.unit.custody.keys.policyroom import LAW, POLICY


@dataclass(frozen=True, slots=True)
class Asked:
    """What a signer is asked: an intent, a transaction, and which keys it is said to need."""

    draft: Draft
    intent: SpendIntent = field(default_factory=lambda: Wallet().intent())
    key: KeyRef = HOT
    input_keys: tuple[KeyRef, ...] = (HOT, HOT)
    change_keys: tuple[KeyRef, ...] = (CHANGE,)
    said: dict[str, Any] = field(default_factory=dict)
    """What is said beside the payload, where it is not the truth."""

    def changed(self, **changes: Any) -> Asked:
        """Return the same question with other values."""
        return replace(self, **changes)

    def about(self, **changes: Any) -> Asked:
        """Return the same question with another intent."""
        return replace(self, intent=replace(self.intent, **changes))


class Coinroom:
    """A guard with an empty log, its chain, and short ways to ask it for things."""

    def __init__(self, *nodes: CoinNode, chain: BitcoinChain | None = None) -> None:
        self.node = nodes[0] if nodes else CoinNode()
        self.clock = ManualClock()
        self.chain = chain or chain_on(*(nodes or (self.node,)))
        seam = cast("Chain", self.chain)
        self.guard = Guard(shelf_in_memory(), seam, SIGNER, self.roster(), self.clock, LAW)

    def roster(self) -> Roster:
        """Return the roster of the tests: three officers, wide limits, two mandates."""
        limit = SpendLimit(CHAIN, NATIVE, 100 * COIN, 1_000 * COIN, COIN, 10 * COIN)
        caps = (AssetCap(NATIVE, COIN, COIN),)
        mandates = (
            self.mandate(SpendKind.CANCELLATION, (), ()),
            self.mandate(SpendKind.SWEEP, (address_of(HOT),), caps),
        )
        return sealed(replace(ROSTER, limits=(limit,), mandates=mandates))

    def mandate(
        self, kind: SpendKind, destinations: tuple[str, ...], caps: tuple[AssetCap, ...]
    ) -> Mandate:
        """Return a standing mandate on this chain."""
        return Mandate(
            mandate_id=f"mandate {kind.value}",
            kind=kind,
            chain=CHAIN,
            network=self.chain.traits.network,
            destinations=destinations,
            destination_accounts=(),
            caps=caps,
            fee_max=100_000,
            fee_window_max=1_000_000,
            valid_from_ns=0,
            valid_until_ns=self.clock.now_ns() + 400 * DAY_NS,
        )

    def cancellation(
        self, draft: Draft, cause_id: str = "spend-1", keys: tuple[KeyRef, ...] = ()
    ) -> SignRequest:
        """Return the request that pays coins of a spend back to the hot wallet."""
        intent = intent_of(
            address_of(HOT),
            0,
            kind=SpendKind.CANCELLATION,
            spend_id=f"cancel-{cause_id}",
            cause_id=cause_id,
        )
        standing = Standing("mandate cancellation")
        own = keys or (HOT,) * len(draft.inputs)
        return SignRequest(intent, standing, draft.unsigned(), HOT, own)

    def joined(self, request: SignRequest) -> SignedTx:
        """Have a request signed; return what a second library found valid."""
        signed = self.chain.assemble(request.unsigned, sign_once(self.guard, request))
        check_by_library(request.unsigned.payload, signed.raw)
        return signed

    def findings(self) -> list[Finding]:
        """Return what an auditor says of the log."""
        return self.findings_in(self.entries())

    def findings_in(self, entries: Sequence[Entry]) -> list[Finding]:
        """Return what an auditor says of some entries."""

        def public_key_of(_chain: ChainId, key: KeyRef) -> bytes:
            return SIGNER.public_key(key)

        rosters = RosterChain((self.guard.roster,))
        return audit(entries, Auditor(rosters, {CHAIN: self.guard.chain}, public_key_of, law=LAW))

    def entries(self) -> list[Entry]:
        """Return everything that was ever signed."""
        return self.guard.shelf.entries()

    def request(self, asked: Asked) -> SignRequest:
        """Return the request for a withdrawal that two officers approved as it stands."""
        spend = asked.intent
        withdrawal = WithdrawalIntent(
            withdrawal_id=spend.cause_id,
            customer_no=7,
            chain=spend.chain,
            network=spend.network,
            asset_key=spend.asset_key,
            destination=spend.destination,
            amount=spend.amount,
            fee_minor=0,
            initiator="customer:7",
            network_fee_max=spend.fee_max,
            policy_version=1,
            expires_ns=self.clock.now_ns() + HOUR_NS,
            wallet=asked.key.account,
            policy_hash=POLICY.hash.hex(),
            decision_hash=NO_POLICY,
            excluded=(),
            not_before_ns=0,
        )
        verdicts = tuple(sign_approval(key, withdrawal) for key in (ADA, BEA))
        return SignRequest(
            spend,
            Approvals(withdrawal, verdicts),
            replace(asked.draft.unsigned(), **asked.said),
            asked.key,
            asked.input_keys,
            asked.change_keys,
        )

    def sign(self, asked: Asked) -> bytes:
        """Have a request signed; return the transaction, which a second library found valid."""
        return self.joined(self.request(asked)).raw
