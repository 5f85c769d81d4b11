"""What the signer itself checks of a policy's decision, from what it knows without being told.

It knows the policies (custody.keys.policy_book), the approved withdrawal and the decimal places of
assets. So it checks that the policy was published and was in force, that the rule can be the first
that matches, that no hard deny of that policy or of the newest one certainly matches, and that the
times are the rule's. What stands in no intent (prices, roles, address books, what stands at a
destination) is decided by the platform, and its decision's hash is in what officers sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.intent import WithdrawalIntent
from custody.keys.policy_book import PolicyBook
from custody.keys.roster import Approval, Roster, verify_approvals
from custody.policy.decision import Outcome
from custody.policy.known import Known, deny_of, rule_for
from custody.policy.rules import Policy, Rule

Scales: TypeAlias = Mapping[tuple[ChainId, str], int]
WITHDRAWAL = "withdrawal"
"""The kind of every request whose intent officers approve, but a rotation."""


@dataclass(frozen=True, slots=True)
class Law:
    """Which policies count, and how many decimal places assets have."""

    book: PolicyBook
    scales: Scales = field(default_factory=dict)
    """By chain and asset key; an asset that is missing cannot be counted in whole coins."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A policy, and its rule for one withdrawal."""

    policy: Policy
    rule: Rule

    def is_met(self, persons: Sequence[str]) -> bool:
        """Return whether persons are a quorum of the rule; what asks for none is never met so."""
        quorum = self.rule.quorum
        return quorum is not None and quorum.is_met(self.policy.groups, persons)


def ruling_of(law: Law, withdrawal: WithdrawalIntent, *, now_ns: int) -> Ruling:
    """Return the policy and the rule that a withdrawal names, when it can be they that decided it.

    Refused: unknown_policy, too_early (the policy is not in force), unknown_asset, policy_blocked
    (no such rule, it cannot match, another one comes first, a hard deny matches, or the times are
    not the rule's).
    """
    policy = law.book.policy(bytes.fromhex(withdrawal.policy_hash), now_ns)
    if policy.serial != withdrawal.policy_version:
        raise Refused(Reason.UNKNOWN_POLICY, f"that policy is version {policy.serial}")
    known = Known(
        kind=WITHDRAWAL,
        initiator=withdrawal.initiator,
        customer_no=withdrawal.customer_no,
        chain=withdrawal.chain,
        asset_key=withdrawal.asset_key,
        scale=law.scales.get((withdrawal.chain, withdrawal.asset_key)),
        amount=withdrawal.amount,
        wallet=withdrawal.wallet,
        destination=withdrawal.destination,
    )
    rule = rule_for(policy, withdrawal.rule, known)
    for one in (policy, law.book.newest(now_ns)):
        deny = deny_of(one, known)
        if deny is not None:
            raise Refused(Reason.POLICY_BLOCKED, f"{deny.code}: policy {one.serial}, {deny.id}")
    _check_times(rule, withdrawal, now_ns)
    return Ruling(policy, rule)


def verify_ruled(
    roster: Roster,
    ruling: Ruling,
    withdrawal: WithdrawalIntent,
    approvals: Sequence[Approval],
    *,
    now_ns: int,
) -> tuple[str, ...]:
    """Return the distinct persons who approve, sorted: the rule's quorum and the threshold's.

    Refused: as custody.keys.roster.verify_approvals; policy_blocked (the rule asks for nobody).
    """
    if ruling.rule.outcome is not Outcome.REQUIRE:
        raise Refused(Reason.POLICY_BLOCKED, f"rule {ruling.rule.id} asks for no approvals")
    return verify_approvals(
        roster,
        withdrawal,
        approvals,
        now_ns=now_ns,
        excluded=ruling.rule.exclude,
        is_quorum=ruling.is_met,
    )


def check_time(withdrawal: WithdrawalIntent, now_ns: int) -> None:
    """Return between a withdrawal's first and last moment. Refused: too_early, approval_expired."""
    if now_ns < withdrawal.not_before_ns:
        raise Refused(Reason.TOO_EARLY, f"not before {withdrawal.not_before_ns}")
    if now_ns >= withdrawal.expires_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, withdrawal.withdrawal_id)


def _check_times(rule: Rule, withdrawal: WithdrawalIntent, now_ns: int) -> None:
    """Both times count from the request, which was not later than now."""
    if rule.outcome is not Outcome.REQUIRE:
        return
    requested_ns = withdrawal.expires_ns - rule.expiry_ns
    if requested_ns > now_ns:
        raise Refused(Reason.POLICY_BLOCKED, f"it expires later than rule {rule.id} lets it")
    if rule.delay_ns and withdrawal.not_before_ns < requested_ns + rule.delay_ns:
        raise Refused(Reason.POLICY_BLOCKED, f"it may be signed earlier than rule {rule.id} says")
