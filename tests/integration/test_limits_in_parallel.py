"""W13, B05: two thousand withdrawals asked for at once, and no limit of the policy is passed."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, AssetSpec
from chains.fake import FakeChain, FakeWorld
from core.clock import SECOND_NS
from core.ids import WithdrawalId
from custody import funding, velocity
from custody.policy.decision import Charge
from custody.policy.record import Moment, decode_record
from custody.withdrawals import decisions, workflow
from custody.withdrawals.states import Withdrawal, WithdrawalState
from custody.withdrawals.workflow import WithdrawalRequest
from tests.support.house import House, open_house
from tests.support.policies import allowed, bucket, document
from tests.unit.custody.verbs.conftest import priced

REQUESTS = int(os.environ.get("STRONGROOM_TEST_REQUESTS", "500"))
"""`make campaign ARGS=limits-in-parallel` has 2000; so many fit into every test."""
THREADS = 8
TICK_NS = SECOND_NS // 10
ONE = {"chains": ["fake"], "assets": ["native"]}
CAPS = {
    "initiator": bucket("initiator", "initiator", "33", unit="coins", window_s=15, **ONE),
    "customer": bucket("customer", "customer", "3000", window_s=19),
    "wallet": bucket("wallet", "wallet", "19000", window_s=23),
    "destination": bucket("destination", "destination", "3500", window_s=27),
    "asset": bucket("asset", "asset", "110", unit="coins", window_s=31, **ONE),
    "usd": bucket("usd", "global", "18000", window_s=35),
}
COINS = (1, 2, 2, 6, 12, 29, 31, 200)


@dataclass
class Seen:
    """What the callers were told."""

    rows: list[Withdrawal] = field(default_factory=list)
    released_ns: dict[str, int] = field(default_factory=dict)


@pytest.fixture
def world() -> FakeWorld:
    made = FakeWorld(finality_depth=2)
    made.add_token("TOK")
    return made


@pytest.fixture
def assets(world: FakeWorld) -> tuple[AssetSpec, ...]:
    return tuple(priced(spec) for spec in world.listed_assets())


@pytest.fixture
def house(database_url: str, world: FakeWorld, assets: tuple[AssetSpec, ...]) -> Iterator[House]:
    body = document(allowed("all"), *CAPS.values())
    with open_house(database_url, FakeChain(world), assets, policy=body) as opened:
        for spec in assets:
            opened.price(spec.key, 100)
        yield opened


def everything_at_once(house: House, world: FakeWorld, assets: tuple[AssetSpec, ...]) -> Seen:
    """Ask from eight threads; what is accepted gets its first signature a moment later."""
    dice = random.Random(1)
    customers = [house.customer(f"customer {number}") for number in range(12)]
    payees = [world.outsider(f"payee {number}") for number in range(9)]
    numbers = {spec.key: house.asset_no(spec.key) for spec in assets}
    asked = []
    for number in range(REQUESTS):
        spec, customer_no = dice.choice(assets), dice.choice(customers)
        asked.append(
            WithdrawalRequest(
                client_withdrawal_id=f"w{number}",
                customer_no=customer_no,
                initiator=f"customer:{customer_no}",
                asset_no=numbers[spec.key],
                destination=dice.choice(payees),
                amount=dice.choice(COINS) * 10**spec.scale,
            )
        )
    seen, ticks, db = Seen(), itertools.count(1), house.platform.db
    start_ns = house.clock.now_ns()

    def one(request: WithdrawalRequest) -> None:
        def ask(conn: sa.Connection) -> Withdrawal:
            return workflow.request(
                conn, request, chain=house.home.chain, terms=house.home.terms,
                now_ns=start_ns + next(ticks) * TICK_NS,
            )  # fmt: skip

        row = db.run(ask, attempts=1_000)
        seen.rows.append(row)
        if row.state is WithdrawalState.REQUESTED:
            released_ns = start_ns + next(ticks) * TICK_NS
            db.run(
                lambda conn: velocity.release(conn, row.withdrawal_id, released_ns),
                attempts=1_000,
            )
            seen.released_ns[row.withdrawal_id] = released_ns

    def worker(first: int) -> None:
        for request in asked[first::THREADS]:
            one(request)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(worker, range(THREADS)))
    return seen


def charges_of(house: House, withdrawal_id: WithdrawalId) -> tuple[Charge, ...]:
    """Return what its decision took, from the stored record."""
    with house.platform.db.read() as conn:
        stored = decisions.last(conn, withdrawal_id, Moment.REQUEST)
    assert stored is not None
    return decode_record(stored.record).decision.charges


def worst_of(house: House, seen: Seen) -> dict[tuple[str, int], int]:
    """Return by key and cap the highest sum that its window held at any time."""
    edges: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for row in seen.rows:
        if row.state is not WithdrawalState.REQUESTED:
            continue
        for charge in charges_of(house, row.withdrawal_id):
            end_ns = seen.released_ns[row.withdrawal_id] + charge.window_ns
            edges[charge.key, charge.cap] += [
                (row.requested_at_ns, charge.amount), (end_ns, -charge.amount),
            ]  # fmt: skip
    return {
        which: max(itertools.accumulate(amount for _, amount in sorted(moves)))
        for which, moves in edges.items()
    }


def test_withdrawals_asked_for_at_once_pass_no_limit_of_the_policy(
    house: House, world: FakeWorld, assets: tuple[AssetSpec, ...]
) -> None:
    seen = everything_at_once(house, world, assets)
    assert len(seen.rows) == REQUESTS
    taken = [row for row in seen.rows if row.state is WithdrawalState.REQUESTED]
    refused = [row for row in seen.rows if row.state is WithdrawalState.REFUSED]
    assert len(taken) + len(refused) == REQUESTS
    worst = worst_of(house, seen)
    assert {key: most for (key, cap), most in worst.items() if most > cap} == {}
    filled = {key.partition("/")[0] for (key, cap), most in worst.items() if most * 2 >= cap}
    assert filled == set(CAPS), "some limit was never near"
    stopped: Counter[str] = Counter()
    for row in refused:
        with house.platform.db.read() as conn:
            stored = decisions.last(conn, row.withdrawal_id, Moment.REQUEST)
        assert stored is not None
        lines = decode_record(stored.record).decision.trace
        stopped.update(one.rule for one in lines if one.verdict in ("velocity", "above_cap"))
    assert set(stopped) == set(CAPS), "some limit never said no"
    # What was refused holds nothing: not in the windows, and not of the customer's money.
    with house.platform.db.read() as conn:
        owners = set(conn.execute(sa.select(velocity.velocity_reservations.c.owner)).scalars())
        held = set(conn.execute(sa.select(funding.funding.c.cause_id)).scalars())
    assert owners == held == {row.withdrawal_id for row in taken}
    # What no window can ever hold was refused at once, not queued.
    largest = {spec.scale: max(COINS) * 10**spec.scale for spec in assets}
    assert all(row.amount not in largest.values() for row in taken)
    assert NATIVE in {spec.key for spec in assets}
