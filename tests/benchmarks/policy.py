"""Pure decisions under a policy of 200 rules and 50 buckets; and velocity reserved durably."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from custody import velocity
from custody.db import Database, Int64, Text, table
from custody.policy.decide import charges_of, decide, decide_release
from custody.policy.decision import Charge, Decision, Outcome
from custody.policy.document import Policy
from custody.policy.request import Facts, Movement, PolicyRequest
from tests.benchmarks.measure import Contest, Fact, Row, Run
from tests.support.postgres import postgres_server
from tests.unit.custody.policy.papers import policy, request, require

RULES, BUCKETS, DENIES = 200, 50, 20
REQUESTS = 1_000
GOAL_NS = 200_000
RESERVES = 300
KINDS = ("initiator", "customer", "wallet", "destination", "asset", "global")

plain_reserves = table(
    "plain_reserves_probe",
    sa.Column("id", Text, primary_key=True),
    sa.Column("amount", Int64, nullable=False),
)


def large_policy(*, covering: int) -> Policy:
    """Return 200 rules, 20 denies and 50 buckets, of which so many cover every request.

    180 rules are for one customer each, in bands of USD, as desks write them; then nineteen bands
    for everybody, and a last one.
    """
    rules: list[dict[str, Any]] = [
        require(
            f"customer-{number}", "1 of officers", customers=[number % 60],
            min_usd=str(1_000 * (number // 60)), max_usd=str(1_000 * (number // 60 + 1)),
        )
        for number in range(180)
    ]  # fmt: skip
    rules += [
        require(f"band-{band}", min_usd=str(500 * band), max_usd=str(500 * (band + 1)))
        for band in range(RULES - 181)
    ]
    rules.append(require("the-rest", "2 of officers and 1 of compliance", delay_s=600))
    buckets = [
        {"id": f"all-{number}", "per": [KINDS[number % len(KINDS)]], "unit": "usd",
         "cap": str(10**10 + number), "window_s": 3_600 * (number + 1)}
        for number in range(covering)
    ]  # fmt: skip
    buckets += [
        {"id": f"customer-{number}", "per": ["customer"], "unit": "usd", "cap": "5000000",
         "customers": [number]}
        for number in range(BUCKETS - covering)
    ]  # fmt: skip
    denies = [
        {"id": f"deny-{number}", "destinations": [f"0xdead{number}"]} for number in range(DENIES)
    ]
    return policy(rules=rules, denies=denies, buckets=buckets)


def requests_of(seed: int) -> list[PolicyRequest]:
    """Return requests of many customers and sizes: every rule is somebody's."""
    dice = random.Random(seed)
    made = []
    for number in range(REQUESTS):
        amount = dice.randrange(10**15, 120 * 10**18)
        plain = request(amount, request_id=f"wd_{number}")
        customer_no = dice.randrange(90)
        made.append(
            request(
                amount,
                request_id=f"wd_{number}",
                customer_no=customer_no,
                initiator=f"customer:{customer_no}",
                effects=(Movement(plain.asset_key, plain.destination.address, amount),),
            )
        )
    return made


def contests(stack: contextlib.ExitStack) -> Iterator[Contest | Row | Fact]:
    """Yield decisions at submission and at release, then durable reserves on both databases."""
    asked = requests_of(1)
    for covering, name in ((7, "7 of 50 buckets cover it"), (BUCKETS, "all 50 buckets cover it")):
        rules = large_policy(covering=covering)
        decided = {one.request_id: decide(rules, one, Facts()) for one in asked}
        assert all(one.outcome is Outcome.REQUIRE for one in decided.values())
        assert len({one.rule for one in decided.values()}) > RULES // 2
        yield _latency(f"decision, {name}", partial(_decide, rules), asked)
        yield _latency(f"release, {name}", partial(_release, rules, decided), asked)
        if covering == BUCKETS:
            continue
        yield Contest(
            f"policy, {RULES} rules, {name}", "decisions at submission",
            partial(_all, partial(_decide, rules), asked),
            floor=partial(_all, partial(_only_charges, rules), asked),
            floor_name="charges_of alone", goal="median under 200 us",
        )  # fmt: skip
    yield from _reserving(stack, large_policy(covering=7), asked)


def _decide(rules: Policy, one: PolicyRequest) -> object:
    return decide(rules, one, Facts())


def _release(rules: Policy, decided: dict[str, Decision], one: PolicyRequest) -> object:
    return decide_release(rules, one, Facts(), decided[one.request_id])


def _only_charges(rules: Policy, one: PolicyRequest) -> object:
    return charges_of(rules, one)


def _all(work: Callable[[PolicyRequest], object], asked: Sequence[PolicyRequest]) -> int:
    for one in asked:
        work(one)
    return len(asked)


def _latency(
    what: str, work: Callable[[PolicyRequest], object], asked: Sequence[PolicyRequest]
) -> Fact:
    _all(work, asked)
    gc.collect()
    gc.freeze()
    taken = []
    for _ in range(5):
        for one in asked:
            before = time.perf_counter_ns()
            work(one)
            taken.append(time.perf_counter_ns() - before)
    gc.unfreeze()
    median, p99 = statistics.median(taken), sorted(taken)[len(taken) * 99 // 100]
    return Fact(
        "policy",
        what,
        f"median {median / 1_000:.1f} us, p99 {p99 / 1_000:.1f} us",
        f"{RULES} rules, {DENIES} denies, {BUCKETS} buckets; {os.cpu_count()} cores",
        f"median under {GOAL_NS // 1_000} us",
        median < GOAL_NS,
    )


# ---- velocity


def _reserving(
    stack: contextlib.ExitStack, rules: Policy, asked: Sequence[PolicyRequest]
) -> Iterator[Contest]:
    charges = [charges_of(rules, one) for one in asked]
    Path("var").mkdir(exist_ok=True)
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir="var"))
    server = stack.enter_context(postgres_server(durable=True))
    urls = {
        "SQLite": f"sqlite:///{folder}/velocity.db",
        "PostgreSQL": stack.enter_context(server.database()),
    }
    for name, url in urls.items():
        db = stack.enter_context(contextlib.closing(Database.open(url)))
        db.create_all()
        yield Contest(
            f"velocity, {name}", "reserves of 7 buckets, one transaction each",
            _reserves(db, charges), floor=_inserts(db), floor_name="bare INSERT and commit",
            goal="named beside its floor", wall=True,
        )  # fmt: skip


def _reserves(db: Database, charges: Sequence[Sequence[Charge]]) -> Run:
    runs = iter(range(1_000))

    def run() -> int:
        first = next(runs) * RESERVES
        for number in range(first, first + RESERVES):
            some = charges[number % len(charges)]
            exceeded = db.run(
                partial(velocity.reserve, charges=some, owner=f"wd_{number}", now_ns=number)
            )
            assert not exceeded
        return RESERVES

    return run


def _inserts(db: Database) -> Run:
    runs = iter(range(1_000))

    def run() -> int:
        first = next(runs) * RESERVES
        for number in range(first, first + RESERVES):
            db.run(partial(_insert, number=number))
        return RESERVES

    return run


def _insert(conn: sa.Connection, number: int) -> None:
    conn.execute(plain_reserves.insert().values(id=f"wd_{number}", amount=number))
