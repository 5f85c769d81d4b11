"""What is wrong with a policy that can be read: found before it is published.

An error would let through, block or strand what nobody meant; a warning is for a person to judge.
Whatever is said of rules, denies and buckets together holds over every cell of requests there can
be (custody.policy.cells), with one request as the example.
"""

from __future__ import annotations

from collections.abc import Iterator

from custody.policy.cells import CELLS_MAX, Cell, Line, TooManyCells, lines
from custody.policy.check_parts import flaws_of_parts
from custody.policy.decision import Outcome
from custody.policy.flaws import Flaw, Severity, error, warning
from custody.policy.rules import Policy, Rule
from custody.policy.scope import ANY
from custody.policy.world import OWN_TRANSFERS, OWNER_KINDS, World


def check_policy(policy: Policy, world: World) -> tuple[Flaw, ...]:
    """Return everything that is wrong with a policy, errors first, each place and code once."""
    found = list(flaws_of_parts(policy, world))
    survey = _Survey(policy)
    try:
        for line in lines(policy, world):
            survey.look_at(line)
        found += survey.flaws()
    except TooManyCells:
        text = f"it tells more than {CELLS_MAX} kinds of requests apart; use fewer names in sets"
        found.append(error("too_large", "policy", text))
    if not policy.rules or not _blocks_all(policy.rules[-1]):
        text = "the last rule should block everything, so that what falls through is seen"
        found.append(warning("no_final_block", "policy", text))
    once: dict[tuple[str, str], Flaw] = {}
    for flaw in found:
        once.setdefault((flaw.code, flaw.place), flaw)
    return tuple(sorted(once.values(), key=lambda flaw: flaw.severity is Severity.WARNING))


def _blocks_all(rule: Rule) -> bool:
    scope = rule.scope
    is_open = all(ANY in names for names in scope.sets.values())
    is_narrow = scope.window.names_usd or scope.window.names_coins or scope.in_book is not None
    return rule.outcome is Outcome.BLOCK and is_open and not is_narrow


class _Survey:
    """What was seen in all cells of a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._flaws: dict[tuple[str, str], Flaw] = {}
        self._first: set[int] = set()
        """Rules that decide some cell that no deny ends."""
        self._denied: set[int] = set()
        """Rules that would decide a cell, were it not for a deny."""
        self._takers: dict[int, set[int]] = {}
        """Which earlier rules decide where a rule matches."""
        self._beside: dict[int, set[int]] = {}
        """Denies that match wherever a deny matches."""
        self._fits_a_cap: set[int] = set()
        """Rules of which some request stays within every cap."""
        self._charging: set[str] = set()
        """Buckets that cover something that is let through."""

    def look_at(self, line: Line) -> None:
        """Take note of cells that differ in their value alone."""
        for cell in line.cells:
            self._denies(cell)
            self._rules(cell)
        self._order_of_values(line)

    def flaws(self) -> Iterator[Flaw]:
        """Yield what can be said when every cell was seen."""
        yield from self._flaws.values()
        yield from self._rules_never_reached()
        for number, deny in enumerate(self._policy.denies):
            place, beside = f"deny {deny.id}", self._beside.get(number)
            if beside is None:
                yield error("deny_never_fires", place, "no request that can be made matches it")
                continue
            others = {m for m in beside if m < number or number not in self._beside[m]}
            if others:
                other = self._policy.denies[min(others)].id
                yield warning("deny_covered", place, f"deny {other} ends the same requests")
        for bucket in self._policy.buckets:
            if bucket.id not in self._charging:
                text = "nothing that is let through is counted in it"
                yield error("bucket_covers_nothing", f"bucket {bucket.id}", text)

    def _note(self, flaw: Flaw) -> None:
        self._flaws.setdefault((flaw.code, flaw.place), flaw)

    def _denies(self, cell: Cell) -> None:
        matching = set(cell.denies)
        for number in cell.denies:
            others = matching - {number}
            self._beside[number] = self._beside.get(number, others) & others

    def _rules(self, cell: Cell) -> None:
        for number in cell.rules[1:]:
            self._takers.setdefault(number, set()).add(cell.rules[0])
        for noun, id_, field in cell.missing:
            if noun == "deny" or not cell.denies:
                text = f"asks for {field}, which some requests do not have: they are blocked"
                self._note(error("missing_field", f"{noun} {id_}", text, cell.describes))
        if cell.denies:
            self._denied.update(cell.rules[:1])
            return
        if not cell.rules:
            kind = cell.view.values["kinds"][0]
            text = "no rule covers some requests; they are blocked as no_rule"
            self._note(error("gap", f"kind {kind}", text, cell.describes))
            return
        self._first.add(cell.rules[0])
        rule = self._policy.rules[cell.rules[0]]
        if rule.outcome is not Outcome.BLOCK:
            self._let_through(cell, rule, cell.rules[0])
        kind = cell.view.values["kinds"][0]
        if kind in OWN_TRANSFERS and rule.outcome is not Outcome.ALLOW:
            text = "own transfers are unattended, so this stops them"
            self._note(warning("own_transfer", f"rule {rule.id}", text, cell.describes))

    def _let_through(self, cell: Cell, rule: Rule, number: int) -> None:
        place = f"rule {rule.id}"
        kind = cell.view.values["kinds"][0]
        self._charging.update(bucket.id for bucket, _ in cell.charges)
        if all(one.amount <= one.cap for _, one in cell.charges):
            self._fits_a_cap.add(number)
        if rule.outcome is not Outcome.ALLOW:
            return
        if not cell.charges:
            text = "allows payments that no bucket counts"
            flaw = warning if kind in OWN_TRANSFERS else error
            self._note(flaw("allow_unbounded", place, text, cell.describes))
        if kind in OWNER_KINDS:
            text = "keys and owners change without an officer"
            self._note(error("allow_owner_change", place, text, cell.describes))
        is_outside = cell.view.values["destination_kinds"][0] in ("external", "contract")
        if kind == "withdrawal" and is_outside and not cell.view.in_book:
            text = "allows payments to addresses that are in no address book"
            self._note(warning("allow_stranger", place, text, cell.describes))

    def _rules_never_reached(self) -> Iterator[Flaw]:
        rules = self._policy.rules
        for number, rule in enumerate(rules):
            place = f"rule {rule.id}"
            if number in self._first:
                if rule.outcome is not Outcome.BLOCK and number not in self._fits_a_cap:
                    text = "even its smallest amount is above the cap of a bucket"
                    yield error("rule_above_cap", place, text)
            elif number in self._denied:
                yield error("always_denied", place, "denies end everything that it matches")
            elif takers := self._takers.get(number):
                names = ", ".join(rules[one].id for one in sorted(takers))
                yield error("shadowed", place, f"never reached: decided before by {names}")
            else:
                yield error("unreachable", place, "no request that can be made matches it")

    def _order_of_values(self, line: Line) -> None:
        """Look at ascending values: larger payments must not be easier than smaller ones."""
        let = [self._ease(cell) for cell in line.cells]
        best, stopped = -1, False
        before: Cell | None = None
        for cell, persons in zip(line.cells, let, strict=True):
            if persons is None:
                stopped = stopped or best >= 0
                continue
            rule = self._policy.rules[cell.rules[0]]
            if stopped and before is not None:
                text = "smaller and larger payments pass, but not those between"
                self._note(error("hole", f"rule {rule.id}", text, before.describes))
            if persons < best:
                text = "needs fewer persons than a smaller payment does"
                self._note(error("weaker_when_larger", f"rule {rule.id}", text, cell.describes))
            best, before, stopped = max(best, persons), cell, False

    def _ease(self, cell: Cell) -> int | None:
        """Return how many persons a cell needs, None when it is blocked."""
        if cell.denies or cell.missing or not cell.rules:
            return None
        rule = self._policy.rules[cell.rules[0]]
        if rule.outcome is Outcome.BLOCK:
            return None
        return 0 if rule.quorum is None else rule.quorum.least
