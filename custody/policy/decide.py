"""The decision: a pure and total function of a policy, a request and the facts beside it.

The stages stand in the order of `Stage`, and the first block ends it; hard denies come before any
rule, so they always win. What only has to be waited for (a screening that has not answered) does
not end a decision at submission: officers may approve meanwhile, and the release asks again.

Codes of its own: malformed, undecodable, effects_differ, missing_field, no_rule, no_price,
stale_price, above_cap, velocity, quorum_unreachable, unknown_policy, unknown_rule. All others are
a deny's, a rule's or a finding's.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import SECOND_NS
from core.money import AMOUNT_LIMIT, MAX_SCALE
from custody.policy.charging import charges_at
from custody.policy.decision import Charge, Decision, Outcome, Requirement, Stage, TraceLine
from custody.policy.matching import NO, YES, fits, observed
from custody.policy.quorum import Quorum
from custody.policy.request import Facts, Finding, PolicyRequest, Verdict
from custody.policy.rules import Policy, Rule, Unit
from custody.policy.scope import Scope, View, view

BATCH = "batch"


def decide(
    policy: Policy, request: PolicyRequest, facts: Facts, *, newest: Policy | None = None
) -> Decision:
    """Return what a policy says of a request at its submission: BLOCK, ALLOW or REQUIRE.

    newest: the version whose denies count, when a later one than `policy` is in force. The code of
    a decision that is no block names the first thing to be waited for.
    """
    return _Walk(policy, request, facts, newest).at_submission()


def decide_release(
    policy: Policy,
    request: PolicyRequest,
    facts: Facts,
    taken: Decision,
    *,
    newest: Policy | None = None,
) -> Decision:
    """Return whether a request that was decided before may be signed now: ALLOW, WAIT or BLOCK.

    Everything is looked at again but the rule, which stays the one of the submission; `policy` is
    the version of the submission too. A price that is missing or stale is waited for.
    """
    return _Walk(policy, request, facts, newest).at_release(taken)


def charges_of(policy: Policy, request: PolicyRequest) -> tuple[Charge, ...]:
    """Return what a request takes of every bucket that covers it.

    Without a fresh price a USD bucket is charged more than its cap. A bucket that names an absent
    field charges nothing here: `decide` blocks such a request.
    """
    if not _is_sound(request):
        return ()
    seen = view(request, policy.stale_after_ns)
    return tuple(one for _, one in charges_at(policy, seen) if isinstance(one, Charge))


def _is_sound(request: PolicyRequest) -> bool:
    return 0 <= request.amount < AMOUNT_LIMIT and 0 <= request.scale <= MAX_SCALE


class _Walk:
    """One walk through the stages; each returns the code it blocks with, empty when it passes."""

    def __init__(
        self, policy: Policy, request: PolicyRequest, facts: Facts, newest: Policy | None
    ) -> None:
        self._policy, self._request, self._facts = policy, request, facts
        self._newest = policy if newest is None else newest
        self._trace: list[TraceLine] = []
        self._charges: tuple[Charge, ...] = ()
        self._waits = ""
        self._views: dict[int, View] = {}

    def at_submission(self) -> Decision:
        """Walk through all stages."""
        if code := self._before_the_rule():
            return self._end(Outcome.BLOCK, code)
        seen = self._seen(self._policy)
        rule, code = self._first_rule(seen)
        if rule is None:
            return self._end(Outcome.BLOCK, code)
        code = code or self._velocity(seen)
        if code:
            return self._end(Outcome.BLOCK, code, rule.id)
        if rule.quorum is None:
            return self._end(Outcome.ALLOW, self._waits, rule.id)
        requirement = self._requirement(rule, rule.quorum)
        if code := self._quorum(rule, requirement):
            return self._end(Outcome.BLOCK, code, rule.id)
        wanted = f"{requirement.delay_ns // SECOND_NS} s after the quorum"
        self._note(Stage.DELAY, rule.id, wanted, "", "require")
        return self._end(Outcome.REQUIRE, self._waits, rule.id, requirement)

    def at_release(self, taken: Decision) -> Decision:
        """Walk through all stages but the rule's."""
        rule, requirement = self._policy.rule(taken.rule), taken.requirement
        code = ""
        if taken.policy_hash != self._policy.hash:
            code = "unknown_policy"
        elif rule is None or taken.outcome not in (Outcome.ALLOW, Outcome.REQUIRE):
            code = taken.code or "unknown_rule"
        code = code or self._before_the_rule()
        if code:
            return self._end(Outcome.BLOCK, code, taken.rule, requirement)
        self._note(Stage.RULE, taken.rule, "the rule of the submission", "", taken.outcome.value)
        code = self._velocity(self._seen(self._policy))
        if code in ("no_price", "stale_price"):
            self._waits, code = self._waits or code, ""
        if code:
            return self._end(Outcome.BLOCK, code, taken.rule, requirement)
        outcome = Outcome.WAIT if self._waits else Outcome.ALLOW
        return self._end(outcome, self._waits, taken.rule, requirement)

    def _before_the_rule(self) -> str:
        return (
            self._input()
            or self._findings(Stage.STOP, self._facts.stops)
            or self._denies()
            or self._findings(Stage.SCREENING, self._facts.screening)
            or self._findings(Stage.DESTINATION, self._facts.destination)
        )

    def _input(self) -> str:
        request = self._request
        if not _is_sound(request):
            return self._block(Stage.INPUT, "", "amount and scale are in range", "", "malformed")
        if request.effects is None:
            return self._block(Stage.INPUT, "", "effects are decoded", "none", "undecodable")
        foreign = any(
            one.asset_key != request.asset_key
            or one.amount < 0
            or (one.destination != request.destination.address and request.kind != BATCH)
            for one in request.effects
        )
        total = sum(one.amount for one in request.effects)
        found = f"{len(request.effects)} movements of {total}"
        if foreign or total != request.amount:
            return self._block(Stage.INPUT, "", "effects are the request", found, "effects_differ")
        self._note(Stage.INPUT, "", "effects are the request", found, "pass")
        return ""

    def _findings(self, stage: Stage, findings: Sequence[Finding]) -> str:
        for one in findings:
            self._note(stage, one.code, one.detail, "", one.verdict.value)
            if one.verdict is Verdict.BLOCK:
                return one.code
            if one.verdict is Verdict.WAIT:
                self._waits = self._waits or one.code
        return ""

    def _denies(self) -> str:
        denies = self._newest.denies
        seen = self._seen(self._newest)
        for number in self._newest.index.denies.candidates(seen):
            deny = denies[number]
            found = fits(deny.scope, seen)
            if found == NO:
                continue
            self._conditions(Stage.DENY, deny.id, deny.scope, seen)
            if found == YES:
                return self._block(Stage.DENY, deny.id, "", "", deny.code)
            return self._block(Stage.DENY, deny.id, found, "absent", "missing_field")
        self._note(Stage.DENY, "", f"{len(denies)} denies", "none matches", "pass")
        return ""

    def _first_rule(self, seen: View) -> tuple[Rule | None, str]:
        for number in self._policy.index.rules.candidates(seen):
            rule = self._policy.rules[number]
            found = fits(rule.scope, seen)
            if found == NO:
                continue
            self._conditions(Stage.RULE, rule.id, rule.scope, seen)
            if found != YES:
                return rule, self._block(Stage.RULE, rule.id, found, "absent", "missing_field")
            if rule.outcome is Outcome.BLOCK:
                return rule, self._block(Stage.RULE, rule.id, "", "", rule.code)
            self._note(Stage.RULE, rule.id, "the first that matches", "", rule.outcome.value)
            return rule, ""
        return None, self._block(
            Stage.RULE, "", f"{len(self._policy.rules)} rules", "none matches", "no_rule"
        )

    def _velocity(self, seen: View) -> str:
        charges: list[Charge] = []
        worst = ""
        for bucket, charge in charges_at(self._policy, seen):
            if isinstance(charge, str):
                return self._block(Stage.VELOCITY, bucket.id, charge, "absent", "missing_field")
            charges.append(charge)
            used = self._facts.used.get(charge.key, 0)
            code = ""
            if bucket.unit is Unit.USD and seen.usd is None:
                code = seen.price
            elif charge.amount > charge.cap:
                code = "above_cap"
            elif charge.amount + used > charge.cap:
                code = "velocity"
            limit = f"{charge.amount} + {used} <= {charge.cap}"
            self._note(Stage.VELOCITY, bucket.id, limit, charge.key, code or "pass")
            worst = worst or code
        self._charges = tuple(charges)
        return worst

    def _requirement(self, rule: Rule, quorum: Quorum) -> Requirement:
        editor = self._request.destination.last_editor
        exclude = {self._request.initiator, *rule.exclude} | ({editor} if editor else set())
        return Requirement(
            quorum, rule.delay_ns, rule.expiry_ns, rule.signers, tuple(sorted(exclude))
        )

    def _quorum(self, rule: Rule, requirement: Requirement) -> str:
        groups = self._policy.groups
        able = frozenset().union(*groups.values()) - set(requirement.exclude)
        wanted, seen = requirement.quorum.text, f"{len(able)} persons may approve"
        if not requirement.quorum.is_met(groups, able):
            return self._block(Stage.QUORUM, rule.id, wanted, seen, "quorum_unreachable")
        self._note(Stage.QUORUM, rule.id, wanted, seen, "require")
        return ""

    def _seen(self, policy: Policy) -> View:
        """Return the request as scopes look at it, its price judged by a policy."""
        stale_after_ns = policy.stale_after_ns
        if stale_after_ns not in self._views:
            self._views[stale_after_ns] = view(self._request, stale_after_ns)
        return self._views[stale_after_ns]

    def _conditions(self, stage: Stage, rule: str, scope: Scope, seen: View) -> None:
        for condition, found, verdict in observed(scope, seen):
            self._note(stage, rule, condition, found, verdict)

    def _note(self, stage: Stage, rule: str, condition: str, found: str, verdict: str) -> None:
        self._trace.append(TraceLine(stage, rule, condition, found, verdict))

    def _block(self, stage: Stage, rule: str, condition: str, found: str, code: str) -> str:
        self._note(stage, rule, condition, found, f"block: {code}")
        return code

    def _end(
        self, outcome: Outcome, code: str, rule: str = "", requirement: Requirement | None = None
    ) -> Decision:
        return Decision(
            outcome, code, rule, requirement, self._charges, tuple(self._trace), self._policy.hash
        )
