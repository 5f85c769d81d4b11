"""One short story, the same every time, in which the platform dies at exactly one chosen point.

One customer's coins and another's tokens arrive and are credited, coins are withdrawn under two
approvals, both deposits are swept, the tokens after a top-up of gas. Every crash point of it is
tried: wherever it dies, the end is the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from chains.base import NATIVE
from core.clock import SECOND_NS
from custody.withdrawals import states
from custody.withdrawals.states import WithdrawalState
from custody.withdrawals.workflow import WithdrawalRequest
from tests.simulation import cast
from tests.simulation.counting import closing
from tests.simulation.database import fresh_database
from tests.simulation.machine import ENGINE, WORKERS, Broken
from tests.simulation.people import Asked
from tests.simulation.world import ENGINE_JOBS, World, furnish

SEED = 7
ROUNDS_MAX = 60
JOBS = (
    "fake.follow", "fake.finality", "funding", "settlement", "fake.withdrawals.plan",
    "fake.withdrawals.settle_inside",
    "fake.spending.move", "fake.spending.settle", "funding", "settlement", "fake.sweeps.plan",
    "addresses.fake.attest",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ending:
    """How the story ended: how many points it has, where it died, and what was exercised."""

    points: int
    died_at: str
    kinds: frozenset[str]
    counts: Counter[str]


def tell(at: int | None, *, coins: bool = False) -> Ending:
    """Tell the story, dying at point number `at` (None: nowhere). Broken when it ends badly.

    coins: on a chain that spends coins, where there are no tokens and no top-ups.
    """
    with fresh_database() as url:
        # Nothing in the story is drawn; the seed decides whether the machine loses power as well.
        world = furnish(SEED + (at or 0), url, crash_ppm={}, begins=False, coins=coins)
        try:
            world.machine.world._finality_depth = 2
            world.machine.crash.at = at
            world.machine.crash.is_armed = True
            _story(world, NATIVE if coins else world.machine.cast.token)
            crash = world.machine.crash
            passed, died, kinds = crash.passed, "".join(crash.crashed), frozenset(crash.reached)
            world.end_well(rounds_min=2)
            return Ending(passed, died, kinds, closing(world.bench))
        finally:
            world.machine.close()
            world.bench.db.close()


def _story(world: World, second_asset: str) -> None:
    machine, people = world.machine, world.people
    number = people.numbers["anna"]
    home = next(address for address, owner in sorted(people.addresses.items()) if owner == number)
    machine.world.pay(home, NATIVE, 2_000_000)
    other = next(address for address, owner in people.addresses.items() if owner != number)
    machine.world.pay(other, second_asset, 1_500_000)
    outside = machine.world.outsider("destination-1")
    payments = [
        Asked(
            WithdrawalRequest(
                f"w-{n}", number, f"customer:{number}", cast.NATIVE_NO, to, 100_000 * n
            )
        )
        for n, to in ((3, outside), (1, other))  # the second one is paid inside
    ]
    people.asked += payments
    for _ in range(ROUNDS_MAX):
        machine.run(ENGINE, machine.renew, "lease")
        for asked in payments:
            if asked.withdrawal_id is None and people.available(number, cast.NATIVE_NO):
                people._ask(asked, must_refuse=False)
        world.officers.judge_everything()
        for job in JOBS:
            machine.step(ENGINE if job in ENGINE_JOBS else WORKERS[0], job)
        machine.world.mine()
        machine.clock.advance(20 * SECOND_NS)
        with world.bench.db.read() as conn:
            found = states.in_states(conn, [WithdrawalState.CONFIRMED])
        if len(found) == len(payments) and not world.restless():
            return
    raise Broken(f"the story does not end: {world.restless()}")
