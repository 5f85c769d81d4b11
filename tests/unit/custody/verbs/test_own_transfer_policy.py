"""Own transfers are decided before they are planned: what no rule allows stays where it is."""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import NATIVE, SpendKind
from chains.fake import FakeWorld
from custody.spending import rows as spending_rows
from custody.withdrawals import decisions, judging
from tests.support.house import House
from tests.support.policies import bucket, denied, required
from tests.unit.custody.verbs.test_withdrawal_policy import DEPOSIT, coins


def incidents(house: House) -> list[str]:
    with house.platform.db.read() as conn:
        return list(conn.execute(sa.text(
            "SELECT kind FROM incidents WHERE closed_at_ns IS NULL")).scalars())  # fmt: skip


def swept(house: House) -> int:
    with house.platform.db.read() as conn:
        found = spending_rows.all_of(conn, house.home.chain.traits.chain)
    return sum(spend.kind is SpendKind.SWEEP for spend in found)


def test_a_sweep_that_no_rule_allows_is_not_planned_and_becomes_an_incident_when_it_lasts(
    house: House, world: FakeWorld
) -> None:
    house.adopt(denied("no-sweeps", "sweeps_stopped", kinds=["sweep"]))
    world.pay(house.address(house.customer("bob")), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(3)
    assert swept(house) == 0
    assert any("policy_blocked: sweeps_stopped" in problem.why for problem in house.problems)
    assert incidents(house) == [], "not at once"
    house.clock.advance(judging.LASTING_NS)
    house.run(1)
    assert incidents(house) == [judging.BLOCKED_INCIDENT]
    house.adopt(required())
    house.run(1)
    assert (swept(house), incidents(house)) == (1, [])
    answers = [one.code for one in own_decisions(house)]
    assert answers == ["sweeps_stopped", ""], "one answer each, however often it was asked"


def own_decisions(house: House) -> list[decisions.Stored]:
    with house.platform.db.read() as conn:
        ids = conn.execute(sa.select(decisions.decisions.c.cause_id)).scalars().all()
        return [one for cause in sorted(set(ids)) for one in decisions.of(conn, cause)]


def test_a_sweep_above_its_limit_waits(house: House, world: FakeWorld) -> None:
    limit = bucket(
        "sweeps", "global", coins(1_500_000), unit="coins", kinds=["sweep"], assets=[NATIVE],
        chains=["fake"],
    )  # fmt: skip
    house.adopt(required(), limit)
    for name in ("bob", "carol"):
        world.pay(house.address(house.customer(name)), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(3)
    assert swept(house) == 1
    assert any("policy_blocked: velocity" in problem.why for problem in house.problems)
