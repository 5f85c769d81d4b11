"""Payments that people can make one after the other: searched for, then replayed.

The search fills the buckets again and again as their windows slide, in several orders of streams.
What it finds is believed only when `decide` and `decide_release` let every payment through, with
windows that are counted as custody.velocity counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from core.entropy import SeededDice
from core.errors import Corrupt
from core.ids import ChainId
from core.money import format_amount
from custody.policy.decide import charges_of, decide, decide_release
from custody.policy.decision import Decision, Outcome
from custody.policy.request import (
    Destination,
    DestinationKind,
    Facts,
    Movement,
    PolicyRequest,
    Price,
)
from custody.policy.rules import Policy
from custody.policy.streams import Attacker, Stream
from custody.policy.windows import Windows

PAYMENTS_MAX = 2_000
"""Most payments of one counter-example."""
TRIED_MAX = 4_000
"""When so many were made in several orders, no further order is tried."""
MOMENTS_MAX = 200
ORDERS = 8
START_NS = 1_790_000_000 * 10**9


@dataclass(frozen=True, slots=True)
class Step:
    """One payment: asked for, approved by some, released after its rule's delay."""

    request: PolicyRequest
    rule: str
    approvers: tuple[str, ...]
    released_ns: int
    worth: int
    """In 10^-6 USD, rounded down."""

    def in_words(self) -> str:
        """Return the payment in a line."""
        one = self.request
        what = f"{format_amount(one.amount, one.scale)} {one.asset_key} on {one.chain}"
        who = f", approved by {', '.join(self.approvers)}" if self.approvers else ""
        where = f"from {one.wallet} to {one.destination.address}"
        return f"{one.initiator} asks for {what} {where}, rule {self.rule}{who}"


def found_by_search(
    policy: Policy,
    attacker: Attacker,
    streams: Sequence[Stream],
    *,
    window_ns: int,
    enough: int,
) -> tuple[int, tuple[Step, ...]]:
    """Return the most that was found to be released within one window, and the payments.

    Ends when more than `enough` was found. Corrupt: payments that were found do not replay.
    """
    best: tuple[int, tuple[Step, ...]] = (0, ())
    tried = 0
    for order in _orders(streams):
        steps = tuple(_filled(policy, attacker, order, window_ns, enough))
        moved, tried = sum(step.worth for step in steps), tried + len(steps)
        if moved > best[0]:
            best = (moved, steps)
        if moved > enough or tried > TRIED_MAX:
            break
    confirm(policy, attacker, best[1])
    return best


def confirm(policy: Policy, attacker: Attacker, steps: Sequence[Step]) -> None:
    """Return when the policy lets exactly these payments through. Corrupt: it does not."""
    events = [(step.request.now_ns, 0, step) for step in steps]
    events += [(step.released_ns, 1, step) for step in steps]
    windows, taken = Windows(), dict[str, Decision]()
    for at_ns, is_release, step in sorted(events, key=lambda event: event[:2]):
        owner = step.request.request_id
        request = replace(step.request, now_ns=at_ns, price=_fresh(step.request.price, at_ns))
        used = windows.used(charges_of(policy, request), at_ns, but=owner)
        if is_release:
            again = decide_release(policy, request, Facts(used=used), taken[owner])
            if again.outcome is not Outcome.ALLOW:
                raise Corrupt(f"payment {owner} is not released: {again.code}")
            continue
        decision = taken[owner] = decide(policy, request, Facts(used=used))
        needs = decision.requirement
        able = attacker.persons if needs is None else attacker.persons - set(needs.exclude)
        if decision.outcome is Outcome.BLOCK or (
            needs is not None and not needs.quorum.is_met(policy.groups, able)
        ):
            raise Corrupt(f"payment {owner} does not pass: {decision.code or 'quorum'}")
        delay_ns = 0 if needs is None else needs.delay_ns
        if step.released_ns != at_ns + delay_ns:
            raise Corrupt(f"payment {owner} is released at another time")
        windows.hold(decision.charges, owner, released_ns=step.released_ns)


def _orders(streams: Sequence[Stream]) -> Iterator[list[Stream]]:
    """Yield orders in which to fill the buckets: those with most room first, then by chance."""
    yield sorted(streams, key=lambda one: (len(one.shared), -(one.most or 1 << 255)))
    yield sorted(streams, key=lambda one: (one.rule.delay_ns, -(one.most or 1 << 255)))
    for longest in sorted({one.rule.delay_ns for one in streams}):
        yield [one for one in streams if one.rule.delay_ns <= longest]
    dice = SeededDice(len(streams))
    for _ in range(ORDERS):
        shuffled = list(streams)
        dice.shuffle(shuffled)
        yield shuffled


def _filled(
    policy: Policy, attacker: Attacker, order: Sequence[Stream], window_ns: int, enough: int
) -> Iterator[Step]:
    """Yield payments that are released in one window, as much as there is room for."""
    longest = max((one.rule.delay_ns for one in order), default=0)
    windows, moments, left, number = Windows(), {START_NS}, enough + 1, 0
    moments |= {START_NS + longest - one.rule.delay_ns for one in order}
    end_ns, looked = START_NS + longest + window_ns, 0
    while moments and looked < MOMENTS_MAX:
        at_ns = min(moments)
        moments.discard(at_ns)
        looked += 1
        for stream in order:
            delay_ns = stream.rule.delay_ns
            released_ns = at_ns + delay_ns
            if not START_NS + longest <= released_ns < end_ns:
                continue
            while left > 0 and number < PAYMENTS_MAX:
                step = _next_step(policy, attacker, stream, windows, at_ns, left, number)
                if step is None:
                    break
                number += 1
                left -= step.worth
                charges = charges_of(policy, step.request)
                windows.hold(charges, str(number), released_ns=released_ns)
                moments |= {released_ns + one.window_ns for one in charges}
                yield step
        if left <= 0:
            return


def _next_step(
    policy: Policy,
    attacker: Attacker,
    stream: Stream,
    windows: Windows,
    at_ns: int,
    left: int,
    number: int,
) -> Step | None:
    """Return the largest payment of a stream that there is room for now."""
    low, unit = stream.low, stream.unit
    worth = max(left, low) if stream.most is None else min(stream.most, max(left, low))
    released_ns = at_ns + stream.rule.delay_ns
    charges = charges_of(policy, _request(stream, worth, at_ns, number))
    used = windows.used(charges, at_ns)  # all began before, so there is never less room later
    for charge, limit in zip(charges, stream.limits, strict=True):
        free = charge.cap - used[charge.key]
        worth = min(worth, free if limit.in_usd else free * stream.price // unit)
    if worth < low:
        return None
    request = _request(stream, worth, at_ns, number)
    paid = request.amount * stream.price // unit
    if paid < low:
        return None
    able = attacker.persons - stream.rule.exclude - {request.initiator}
    approvers = () if stream.rule.quorum is None else tuple(sorted(able))
    return Step(request, stream.rule.id, approvers, released_ns, paid)


def _request(stream: Stream, worth: int, at_ns: int, number: int) -> PolicyRequest:
    seen = stream.view.values
    address = f"0xfresh{number}" if stream.is_fresh else seen["destinations"][0]
    amount = stream.amount(worth)
    is_known = stream.view.in_book
    initiator = seen["initiators"][0]
    return PolicyRequest(
        request_id=f"wd_{number}",
        kind=seen["kinds"][0],
        initiator=initiator,
        roles=frozenset(seen["roles"]),
        customer_no=int(seen["customers"][0]) if seen["customers"] else None,
        chain=ChainId(seen["chains"][0]),
        asset_key=seen["assets"][0],
        scale=stream.view.scale,
        amount=amount,
        price=None if stream.view.usd is None else Price(stream.price, at_ns, "assumed"),
        wallet=seen["wallets"][0],
        destination=Destination(
            address,
            DestinationKind(seen["destination_kinds"][0]),
            entry=f"ab_{number}" if is_known else None,
            entry_age_ns=stream.view.entry_age_ns,
            last_editor=initiator if is_known else None,
        ),
        effects=(Movement(seen["assets"][0], address, amount),),
        now_ns=at_ns,
    )


def _fresh(price: Price | None, at_ns: int) -> Price | None:
    return None if price is None else replace(price, at_ns=at_ns)
