"""Honest bytes and true approvals under a policy that says otherwise (W04, W05, W13).

The platform invents a policy, names another rule, leaves out whom the rule excludes, signs before
the delay is over, or pays without asking where the rule asks. Every twin is the same payment as the
rule wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import NATIVE, SpendKind
from core.clock import SECOND_NS
from core.errors import Reason
from custody.keys.authority import Allowance, Approvals, Standing
from custody.keys.guard import SignRequest, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.mandate import AssetCap
from custody.keys.policy_book import PoliciesInMemory
from custody.keys.roster_text import sealed
from tests.unit.custody.keys.evmroom import (
    AMOUNT,
    FEE_MAX,
    HOT,
    EvmRoom,
    approved,
    plain,
    told,
)
from tests.unit.custody.keys.officers import (
    ADA,
    BEA,
    CAI,
    HOUR_NS,
    ROSTER,
    officer,
    officer_key,
    roster_of,
)
from tests.unit.custody.keys.policyroom import (
    ALL,
    FORBIDDEN,
    LAW,
    ONE_COIN,
    POLICY,
    QUORUM,
    RULES,
    TERMS,
    document,
    policy,
    published,
)
from tests.unit.custody.keys.tampered_payloads import (
    COINS,
    FORGED,
    MISMATCH,
    Asked,
    Case,
    Tamper,
    Twin,
)

BLOCKED, FEW, OWN = Reason.POLICY_BLOCKED, Reason.QUORUM_NOT_MET, Reason.INITIATOR_CANNOT_APPROVE
UNKNOWN, EARLY = Reason.UNKNOWN_POLICY, Reason.TOO_EARLY
Officer = Ed25519PrivateKey
LAX_TEXT = document(({**QUORUM, "quorum": "1 of officers"},), after=POLICY)
LAX = policy(({**QUORUM, "quorum": "1 of officers"},), after=POLICY)
MANDATE = "mandate withdrawal"


def ruled(room: EvmRoom, *keys: Officer, nonce: int = 0, **changes: Any) -> SignRequest:
    """Return a withdrawal of coins as somebody decided it, approved by some."""
    intent = room.withdrawal(**changes)
    spend = room.spend(intent, room.address(HOT))
    unsigned = told(spend, plain(spend, nonce=nonce))
    return SignRequest(spend, approved(intent, *keys), unsigned, HOT)


def twin(*keys: Officer, **changes: Any) -> Twin:
    """Return the honest payment of a case."""
    return lambda room: ruled(room, *keys, **changes)


def again(*keys: Officer, **changes: Any) -> Tamper:
    """Return the change of what was decided, freshly approved."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        assert isinstance(asked.authority, Approvals | Allowance)
        withdrawal = replace(asked.authority.withdrawal, **changes)
        return room, replace(asked, authority=approved(withdrawal, *keys))

    return tamper


def after(**changes: Any) -> Tamper:
    """Return the change of what was decided, under the approvals of what it was before."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        assert isinstance(asked.authority, Approvals)
        withdrawal = replace(asked.authority.withdrawal, **changes)
        return room, replace(asked, authority=replace(asked.authority, withdrawal=withdrawal))

    return tamper


def learning(text: bytes, *, late_ns: int, **changes: Any) -> Tamper:
    """Return the change that the signer learned another version some time ago."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        book = PoliciesInMemory(LAW.book.versions)  # type: ignore[attr-defined]  # in memory too
        now_ns = room.clock.now_ns()
        book.learn(published(text, ADA, BEA), roster=ROSTER, now_ns=now_ns - late_ns)
        wiser = room.with_guard(law=replace(LAW, book=book))
        return again(**changes)(wiser, asked) if changes else (wiser, asked)

    return tamper


def two_keys(room: EvmRoom, asked: SignRequest) -> Asked:
    """Let one person take the officers' seat and the board's with two keys."""
    phone = officer("cai", key="cai's phone")
    both = roster_of(*room.guard.roster.officers, phone)
    changed = sealed(replace(room.guard.roster, officers=both.officers))
    assert isinstance(asked.authority, Approvals)
    given = approved(asked.authority.withdrawal, CAI, officer_key("cai's phone"))
    return room.with_guard(roster=changed), replace(asked, authority=given)


# ---- payments that a rule allows


def allowed(room: EvmRoom, name: str = "wd_1", *, nonce: int = 0, **changes: Any) -> SignRequest:
    """Return a payment that rule `small` allows."""
    intent = room.withdrawal(name, **{"customer_no": 13, "rule": "small", **changes})
    spend = room.spend(intent, room.address(HOT))
    return SignRequest(
        spend, Allowance(MANDATE, intent), told(spend, plain(spend, nonce=nonce)), HOT
    )


def alone(
    change: Callable[[WithdrawalIntent], WithdrawalIntent] = lambda intent: intent,
    mandate: str = MANDATE,
) -> Tamper:
    """Return the change to a payment that nobody was asked about."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        assert isinstance(asked.authority, Approvals | Allowance)
        withdrawal = change(asked.authority.withdrawal)
        return room, replace(asked, authority=Allowance(mandate, withdrawal))

    return tamper


def mandated(**changes: Any) -> Tamper:
    """Return the change to a payment that its rule allows, under another mandate."""
    return lambda room, asked: (room.with_mandate(SpendKind.WITHDRAWAL, **changes), asked)


def unlike(**changes: Any) -> Tamper:
    """Return the change of an allowed payment."""
    return lambda room, _asked: (room, allowed(room, **changes))


def used_up(room: EvmRoom, _asked: SignRequest) -> Asked:
    """Pay as often as fits into the window, then once more."""
    for number in range(2):
        sign_once(room.guard, allowed(room, f"wd_used_{number}", nonce=number))
    return room, allowed(room, "wd_third", nonce=2)


def by_mandate(room: EvmRoom, asked: SignRequest) -> Asked:
    """Name the mandate alone: no rule, nobody who decided."""
    return room, replace(asked, authority=Standing(MANDATE))


SLOW: dict[str, Any] = {"customer_no": 10, "rule": "slow"}
START_NS = 1_700_000_000_000_000_000
AT_ONCE = {**SLOW, "not_before_ns": START_NS, "expires_ns": START_NS + 3_000 * SECOND_NS}
"""Asked for ten minutes ago: the delay is over just now."""
BIG = {"customer_no": 9, "rule": "large", "amount": ONE_COIN}
TWO_ON_BOARD = {"customer_no": 12, "rule": "board"}
EXCLUDED = {"excluded": ("cai",)}
DENYING = document(
    RULES, **{**TERMS, "denies": [{**ALL, "id": "stop", "code": "stop", "assets": ["native"]}]},
    after=POLICY,
)  # fmt: skip

POLICIES: Sequence[Case] = [
    Case("policy_that_nobody_published", UNKNOWN, COINS,
         again(policy_hash=LAX.hash.hex(), policy_version=2)),
    Case("no_policy_at_all", UNKNOWN, COINS, again(policy_hash=NO_POLICY)),
    Case("policy_of_another_serial", UNKNOWN, COINS, again(policy_version=2)),
    Case("policy_not_in_force_yet", EARLY, COINS,
         learning(LAX_TEXT, late_ns=HOUR_NS - 1, policy_hash=LAX.hash.hex(), policy_version=2)),
    Case("denied_by_the_newest_policy", BLOCKED, COINS, learning(DENYING, late_ns=HOUR_NS)),
    Case("denied_by_its_own_policy", BLOCKED, COINS,
         lambda room, _asked: (room, ruled(room, destination=FORBIDDEN))),
    Case("weaker_rule_of_the_same_policy", BLOCKED, twin(ADA, BEA, CAI, **BIG),
         again(ADA, BEA, rule="quorum")),
    Case("too_few_for_the_rule", FEW, twin(ADA, BEA, CAI, **BIG), again(ADA, BEA)),
    Case("rule_of_smaller_amounts", BLOCKED, twin(customer_no=9, amount=ONE_COIN - 1),
         again(rule="large")),
    Case("rule_of_other_customers", BLOCKED, COINS, again(rule="by-one")),
    Case("rule_that_is_not_there", BLOCKED, COINS, again(rule="nobody-needs-to-approve")),
    Case("rule_that_blocks", BLOCKED, COINS, again(rule="closed", customer_no=14)),
    Case("behind_the_rule_that_blocks", BLOCKED, COINS, again(customer_no=14)),
    Case("nobody_of_the_board", FEW, twin(ADA, CAI, **TWO_ON_BOARD), again(ADA, BEA)),
    Case("one_person_in_two_seats", Reason.ALREADY_APPROVED, twin(BEA, CAI, **TWO_ON_BOARD),
         two_keys),
    Case("one_is_enough_for_the_rule_not_for_the_roster", FEW,
         twin(ADA, BEA, customer_no=15, rule="by-one"), again(ADA)),
    Case("whom_the_rule_excludes_approves", OWN,
         twin(ADA, CAI, customer_no=11, rule="without-bea"), again(ADA, BEA)),
    Case("whom_the_intent_excludes_approves", OWN, twin(**EXCLUDED), again(ADA, CAI)),
    Case("excluded_left_out_afterwards", FORGED, twin(**EXCLUDED), after(excluded=())),
    Case("another_one_excluded_afterwards", FORGED, twin(**EXCLUDED), after(excluded=("dan",))),
    Case("old_decision", FORGED, twin(decision_hash="d1" * 32), after(decision_hash="d0" * 32)),
    Case("rule_exchanged_afterwards", FORGED, twin(ADA, CAI, customer_no=12, rule="board"),
         after(customer_no=15, rule="by-one")),
    Case("time_moved_forward_afterwards", FORGED, twin(not_before_ns=START_NS),
         after(not_before_ns=0)),
    Case("before_its_time", EARLY, twin(**AT_ONCE), again(not_before_ns=START_NS + 1)),
    Case("delay_left_out", BLOCKED, twin(**AT_ONCE), again(not_before_ns=START_NS - 1)),
    Case("expires_later_than_the_rule_says", BLOCKED, twin(**AT_ONCE),
         again(not_before_ns=START_NS, expires_ns=START_NS + 3_600 * SECOND_NS + 1)),
    Case("another_account_pays", MISMATCH, COINS, again(wallet="cold")),
    Case("the_treasury_was_to_pay", MISMATCH, COINS, again(wallet="treasury")),
    Case("called_a_move_to_new_keys", MISMATCH, COINS,
         again(rule="rotation", policy_hash=NO_POLICY)),
    Case("nobody_asked_where_the_rule_asks", BLOCKED, COINS, alone()),
    Case("nobody_asked_by_a_rule_of_others", BLOCKED, COINS,
         alone(lambda intent: replace(intent, rule="small"))),
    Case("nobody_asked_for_a_move", MISMATCH, COINS,
         alone(lambda intent: replace(intent, rule="rotation", policy_hash=NO_POLICY))),
    Case("mandate_alone", BLOCKED, COINS, by_mandate),
]  # fmt: skip
ALLOWANCES: Sequence[Case] = [
    Case("allowed_without_a_mandate", Reason.NOT_FOUND, allowed,
         lambda room, asked: (room.with_roster(mandates=()), asked)),
    Case("allowed_under_a_mandate_for_sweeps", MISMATCH, allowed,
         lambda room, asked: (room, replace(asked, authority=Allowance(
             "mandate sweep", room.withdrawal(customer_no=13, rule="small"))))),
    Case("allowed_and_then_approved", BLOCKED, allowed,
         lambda room, asked: (room, ruled(room, customer_no=13, rule="small"))),
    Case("allowed_above_the_cap", BLOCKED, allowed,
         mandated(caps=(AssetCap(NATIVE, AMOUNT - 1, AMOUNT),))),
    Case("allowed_without_a_cap", Reason.ASSET_MISMATCH, allowed, mandated(caps=())),
    Case("allowed_above_the_window", BLOCKED, lambda room: allowed(room, "wd_third"), used_up),
    Case("allowed_by_a_mandate_that_ended", Reason.APPROVAL_EXPIRED, allowed,
         mandated(valid_until_ns=1)),
    Case("allowed_by_a_mandate_of_another_network", MISMATCH, allowed,
         mandated(network="eip155:1/0xabc")),
    Case("allowed_above_the_fee", Reason.FEE_ABOVE_CAP, allowed, mandated(fee_max=FEE_MAX - 1)),
    Case("allowed_too_early", EARLY, allowed, unlike(not_before_ns=START_NS + 1)),
    Case("allowed_too_late", Reason.APPROVAL_EXPIRED, allowed, unlike(expires_ns=START_NS)),
    Case("allowed_by_an_unpublished_policy", UNKNOWN, allowed,
         unlike(policy_hash=LAX.hash.hex(), policy_version=2)),
    Case("allowed_to_a_denied_destination", BLOCKED, allowed, unlike(destination=FORBIDDEN)),
    Case("allowed_to_another_customer", BLOCKED, allowed, unlike(customer_no=7)),
    Case("allowed_from_another_account", MISMATCH, allowed, unlike(wallet="cold")),
]  # fmt: skip
RULINGS = [*POLICIES, *ALLOWANCES]
