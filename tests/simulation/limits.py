"""I10 and the release, recomputed: no table of limits is read, no code of a policy is asked.

What was accepted is told by the withdrawals and the order of their events; what it is worth by the
prices that people said. At every acceptance and at every release all that counts in that moment is
added up: what was accepted before, was not given back before, and got its first signature less than
a window ago, or none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import SECOND_NS
from custody import policies
from custody.policy.record import Moment, Record, decode_record
from custody.withdrawals import decisions, states
from custody.withdrawals.states import Withdrawal, WithdrawalState
from tests.simulation import cast
from tests.simulation.invariants import Bench

ALL = 1_000_000
_S = WithdrawalState
_FREED = frozenset({_S.REFUSED, _S.REJECTED, _S.CANCELLED, _S.EXPIRED, _S.FAILED})
USD = 10**6


@dataclass(frozen=True, slots=True)
class Step:
    """One event of one withdrawal."""

    number: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Story:
    """A withdrawal that the policy let pass, when it did what, and what it was worth."""

    row: Withdrawal
    steps: Mapping[WithdrawalState, Step]
    asked: Record
    released: Record | None

    def freed(self) -> int | None:
        """Return the number of the event that gave its place back."""
        found = [step.number for state, step in self.steps.items() if state in _FREED]
        return found[0] if found else None

    def amount(self, moment: Step, unit: str) -> int:
        """Return what it takes at a moment: minor units, or 10^-6 USD at the last price."""
        if unit == "native":
            return self.row.amount if self.row.asset_no == cast.NATIVE_NO else 0
        planned = self.steps.get(_S.PLANNED)
        record = self.asked
        if planned is not None and planned.number <= moment.number and self.released is not None:
            record = self.released
        price = record.request.price
        assert price is not None
        unit_of_usd: int = 10 ** (record.request.scale + 6)
        return -(-self.row.amount * price.value // unit_of_usd)

    def counts_at(self, moment: Step) -> bool:
        """Return whether it counts at a moment: not given back, and signed less than W ago."""
        freed, signed = self.freed(), self.steps.get(_S.SIGNED)
        if self.steps[_S.REQUESTED].number > moment.number:
            return False
        if freed is not None and freed < moment.number:
            return False
        if signed is None or signed.number > moment.number:
            return True
        return signed.at_ns + cast.WINDOW_S * SECOND_NS > moment.at_ns


def limits(bench: Bench) -> Iterator[str]:
    """I10: at every acceptance and release all windows hold; and nothing was released blindly."""
    stories = list(_stories(bench))
    caps = (("usd", "customer", cast.CUSTOMER_CAP * USD), ("usd", "all", cast.GLOBAL_CAP * USD),
            ("native", "all", cast.NATIVE_CAP))  # fmt: skip
    for story in stories:
        for state in (_S.REQUESTED, _S.PLANNED):
            moment = story.steps.get(state)
            if moment is None:
                continue
            counted = [one for one in stories if one is story or one.counts_at(moment)]
            for unit, whom, cap in caps:
                if not story.amount(moment, unit):
                    continue
                taken = sum(
                    one.amount(moment, unit) for one in counted
                    if whom == "all" or one.row.customer_no == story.row.customer_no
                )  # fmt: skip
                if taken > cap:
                    what = f"{story.row.withdrawal_id} {state.value}"
                    yield f"I10: {what}: {unit} of {whom} is {taken}, above {cap}"
        yield from _release(bench, story)


def _release(bench: Bench, story: Story) -> Iterator[str]:
    """A payment was planned on a fresh answer: nobody denied, a fresh price, after the delay."""
    planned, name = story.steps.get(_S.PLANNED), story.row.withdrawal_id
    if planned is None:
        return
    record, rulers = story.released, bench.rulers
    if record is None or record.request.now_ns != planned.at_ns:
        yield f"I10: {name} was planned without being asked for again"
        return
    with bench.db.read() as conn:
        known = conn.execute(sa.select(policies.policies)).all()
    (serial,) = [row.serial for row in known if row.hash == record.newest_hash]
    newest = max(
        row.serial for row in known
        if row.in_force_from_ns <= planned.at_ns and rulers.after[row.serial] < planned.number
    )  # fmt: skip
    if serial < newest:
        yield f"I10: {name} was planned by the denies of policy {serial}, {newest} was in force"
    if story.row.customer_no in rulers.denied[serial]:
        yield f"I10: {name} was planned although policy {serial} denies its customer"
    price = record.request.price
    if price is None or (story.row.asset_no, price.value, price.at_ns) not in rulers.told:
        yield f"I10: {name} was planned with a price that nobody said: {price}"
    elif planned.at_ns - price.at_ns >= cast.STALE_AFTER_S * SECOND_NS:
        yield f"I10: {name} was planned with a stale price"
    approved = story.steps[_S.APPROVED]
    delay_ns = cast.DELAY_S * SECOND_NS if story.asked.decision.rule == "slow" else 0
    if planned.at_ns < approved.at_ns + delay_ns:
        yield f"I10: {name} was planned before its delay was over"


def _stories(bench: Bench) -> Iterator[Story]:
    with bench.db.read() as conn:
        steps: dict[str, dict[WithdrawalState, Step]] = defaultdict(dict)
        for event in conn.execute(
            sa.select(states.withdrawal_events).order_by(states.withdrawal_events.c.event_no)
        ):
            found = Step(event.event_no, event.at_ns)
            steps[event.withdrawal_id][WithdrawalState(event.state)] = found
        for row in states.in_states(conn, frozenset(), limit=ALL):
            decided = decisions.of(conn, row.withdrawal_id)
            asked = [one for one in decided if one.moment is Moment.REQUEST]
            let = [one for one in decided if one.moment is Moment.RELEASE]
            if len(asked) != 1:
                raise AssertionError(f"I13: {row.withdrawal_id} was decided {len(asked)} times")
            if asked[0].outcome == "block":
                continue
            allowed = [decode_record(one.record) for one in let if one.outcome == "allow"]
            yield Story(
                row,
                steps[row.withdrawal_id],
                decode_record(asked[0].record),
                allowed[-1] if allowed else None,
            )
