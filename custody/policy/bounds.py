"""Can some people together move more than so much? A proof, or payments that show it.

The people make requests as customers, officers or operators and approve as the officers they are;
they split amounts, take fresh addresses and wait for windows to slide. They have the books open:
addresses confirmed, cool-downs over, screening passed, nobody else using the buckets. What needs a
person outside does not pass. Roster thresholds and the signer's own limits are not counted on.

The answer holds two numbers. `moved` was found by search: its payments were replayed through
`decide` and `decide_release` with sliding windows, so they pass. `ceiling` is a proof: every
payment they can make counts in one of the named buckets, and so much fits into those.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.clock import DAY_NS, SECOND_NS
from core.errors import Reason, Refused
from core.money import ceil_div, format_amount
from custody.policy.replay import Step, found_by_search
from custody.policy.request import USD_SCALE
from custody.policy.rules import Policy
from custody.policy.streams import Attacker, Limit, Prices, Stream, attackers, streams_of
from custody.policy.world import World

ATTACKERS_MAX = 2_000
UNBOUNDED = 1 << 256
SEARCHED_MAX = 50
"""Groups for whom payments are searched, those who could move most first."""
COVERS_MAX = 20_000
"""Sets of buckets that are tried for the smallest proof."""


class Verdict(enum.StrEnum):
    """Whether a stated bound holds."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNDECIDED = "undecided"
    """No payments were found that break it, and no proof that there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Can so many persons with so many customers' accounts move more than this in a window?"""

    usd: int
    """In 10^-6 USD."""
    window_ns: int = DAY_NS
    persons: int = 1
    accounts: int = 1
    prices: Prices = field(default_factory=dict)
    """For limits in whole coins; what is not named counts as 1 USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found. USD in 10^-6 USD."""

    verdict: Verdict
    attacker: Attacker | None
    """Who can move most, as far as it was found; None: nobody can move anything."""
    moved: int
    steps: tuple[Step, ...]
    ceiling: int | None
    """None: nothing bounds it."""
    because: tuple[str, ...]
    """The buckets of the proof."""


def answer(policy: Policy, world: World, question: Question) -> Answer:
    """Search for payments that break a bound, and for a proof that there are none.

    Refused: too_large (too many groups of people). TooManyCells.
    """
    worst: tuple[int | None, tuple[str, ...]] = (0, ())
    suspects: list[tuple[int, Attacker, tuple[Stream, ...]]] = []
    for number, attacker in enumerate(
        attackers(policy, persons=question.persons, accounts=question.accounts)
    ):
        if number >= ATTACKERS_MAX:
            raise Refused(Reason.TOO_LARGE, f"more than {ATTACKERS_MAX} groups of people")
        streams = streams_of(policy, world, attacker, question.prices)
        ceiling = _ceiling(streams, question.window_ns)
        if worst[0] is not None and (ceiling[0] is None or ceiling[0] >= worst[0]):
            worst = ceiling
        if ceiling[0] is None or ceiling[0] > question.usd:
            room = UNBOUNDED if ceiling[0] is None else ceiling[0]
            suspects.append((room, attacker, streams))
        elif not suspects and streams:
            suspects = [(ceiling[0], attacker, streams)]
    best: tuple[int, Attacker | None, tuple[Step, ...]] = (0, None, ())
    suspects.sort(key=lambda suspect: -suspect[0])
    for _, attacker, streams in suspects[:SEARCHED_MAX]:
        moved, steps = found_by_search(
            policy, attacker, streams, window_ns=question.window_ns, enough=question.usd
        )
        if moved > best[0]:
            best = (moved, attacker, steps)
        if moved > question.usd:
            break
    verdict = Verdict.UNDECIDED
    if best[0] > question.usd:
        verdict = Verdict.BROKEN
    elif worst[0] is not None and worst[0] <= question.usd:
        verdict = Verdict.HOLDS
    return Answer(
        verdict=verdict,
        attacker=best[1],
        moved=best[0],
        steps=best[2],
        ceiling=worst[0],
        because=worst[1],
    )


def _ceiling(streams: Sequence[Stream], window_ns: int) -> tuple[int | None, tuple[str, ...]]:
    """Return the least sum of buckets that every stream counts in one of; None: there is none."""
    weights: dict[str, tuple[int, str]] = {}
    for stream in streams:
        if not stream.shared:
            return None, ()
        for limit in stream.limits:
            if not limit.is_fresh:
                weights[limit.key] = _weight(limit, streams, window_ns)
    uncovered = sorted({stream.shared for stream in streams}, key=len)
    best = min(_covers(uncovered, weights), default=(0, ()))
    return best[0], tuple(weights[key][1] for key in best[1])


def _weight(limit: Limit, streams: Sequence[Stream], window_ns: int) -> tuple[int, str]:
    """Return how much of a bucket can be released in a window, and that in words.

    A payment counts from its request until a window after its release, so releases within
    (window + the shortest delay) of each other are held together at one moment.
    """
    delays = [one.rule.delay_ns for one in streams if limit.key in one.shared]
    held_ns = limit.bucket.window_ns + min(delays)
    times = ceil_div(window_ns, held_ns)
    most = max(one.cap for s in streams for one in s.limits if one.key == limit.key) * times
    usd = format_amount(most, USD_SCALE)
    return most, f"{limit.key}: {usd} USD, its cap {times} times in {window_ns // SECOND_NS} s"


def _covers(
    uncovered: Sequence[frozenset[str]], weights: Mapping[str, tuple[int, str]]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield sets of keys of which every stream has one, each lighter than those before."""
    tried, least = 0, None
    stack: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while stack and tried < COVERS_MAX:
        tried += 1
        weight, chosen = stack.pop()
        if least is not None and weight >= least:
            continue
        left = next((keys for keys in uncovered if keys.isdisjoint(chosen)), None)
        if left is None:
            least = weight
            yield weight, tuple(sorted(chosen))
            continue
        heaviest = sorted(left, key=lambda key: -weights[key][0])
        stack += [(weight + weights[key][0], (*chosen, key)) for key in heaviest]
