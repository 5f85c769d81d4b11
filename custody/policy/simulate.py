"""A draft tried on the past: every stored submission is decided again, as the draft would.

Requests, prices and findings are those of the record. What the draft's own buckets held is
recomputed in the order of the requests, as if each payment had been released at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from core.clock import SECOND_NS
from core.errors import Reason, Refused
from custody.policy.decide import charges_of, decide
from custody.policy.decision import Decision, Outcome
from custody.policy.ease import Direction, Ease, direction
from custody.policy.record import Moment, Record
from custody.policy.rules import Policy
from custody.policy.windows import Windows

RECORDS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Difference:
    """One past request that a draft answers differently."""

    request_id: str
    now_ns: int
    before: str
    after: str
    becomes: Direction


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a draft would have changed."""

    requests: int
    differences: tuple[Difference, ...]


def simulate(records: Iterable[Record], draft: Policy) -> Simulation:
    """Decide past submissions by a draft. Refused: too_large (more than RECORDS_MAX)."""
    past = [record for record in records if record.moment is Moment.REQUEST]
    if len(past) > RECORDS_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {RECORDS_MAX} records at once")
    windows = Windows()
    found: list[Difference] = []
    past.sort(key=lambda one: (one.request.now_ns, one.request.request_id))
    for record in past:
        request, now_ns = record.request, record.request.now_ns
        used = windows.used(charges_of(draft, request), now_ns)
        decision = decide(draft, request, replace(record.facts, used=used))
        if decision.outcome is not Outcome.BLOCK:
            windows.hold(decision.charges, request.request_id, released_ns=now_ns)
        before, after = in_words(record.decision), in_words(decision)
        if before != after:
            becomes = direction(_ease(record.decision), _ease(decision))
            found.append(Difference(request.request_id, now_ns, before, after, becomes))
    return Simulation(len(past), tuple(found))


def in_words(decision: Decision) -> str:
    """Return what a decision asks for, without its policy."""
    if decision.outcome is Outcome.BLOCK:
        return f"block {decision.code}"
    needs = decision.requirement
    asks = (
        "allow"
        if needs is None
        else f"require {needs.quorum.text}, delay {needs.delay_ns // SECOND_NS} s"
    )
    return f"{asks} (rule {decision.rule})"


def _ease(decision: Decision) -> Ease:
    if decision.outcome is Outcome.BLOCK:
        return None
    needs = decision.requirement
    return (0, 0) if needs is None else (needs.quorum.least, needs.delay_ns)
