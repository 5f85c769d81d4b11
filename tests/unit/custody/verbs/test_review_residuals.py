"""Every difference between chain and books is named, however long the history is (I5)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, AssetSpec, SpendKind
from chains.fake import FakeWorld
from chains.fake.state import Output
from core.ids import AssetNo
from custody import catalogue, chain_state, residuals
from custody.reserves import publish
from custody.reserves.snapshot import InFlight, InFlightKind
from custody.residuals import Residual, Why
from custody.spending import rows
from indexers import reconcile
from tests.support.house import House
from tests.unit.custody.verbs.conftest import priced


def test_a_token_that_is_listed_after_it_was_sent_stays_explained(
    house: House, world: FakeWorld
) -> None:
    late = world.add_token("LATE", listed=False)
    alice = house.customer("alice")
    for to in (house.address(alice), house.own_address("hot")):
        world.pay(to, late, 7_000)
    world.mine(3)
    house.run(2)
    spec = priced(AssetSpec("fake", late, "LATE", 6, 1, 1, 1, 1))  # type: ignore[arg-type]
    house.platform.db.run(lambda conn: catalogue.list_asset(conn, spec))
    found = reconcile.reconcile(house.platform.db, house.home.chain)
    assert found.holds
    named = [r for line in found.lines if line.on_chain == 7_000 for r in line.residuals]
    assert [(r.why, r.amount) for r in named] == [(Why.UNATTRIBUTED, 7_000)] * 2


def test_a_long_history_of_spends_hides_no_residual(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pay(house.address(house.customer("alice")), NATIVE, 10**6)
    world.mine(3)
    for _ in range(5):
        house.run(1)
        world.mine(2)
    world.pay(house.address(house.customer("bob")), NATIVE, 10**6)
    world.mine(3)
    house.run(3)
    world.mine(3)
    for name in ("follow", "finality"):
        house.step(name)
    real = rows.all_of
    monkeypatch.setattr(rows, "all_of", lambda conn, chain: real(conn, chain, limit=1))
    found = reconcile.reconcile(house.platform.db, house.home.chain)
    assert found.holds
    assert any(line.residuals for line in found.lines)


def test_what_is_settled_is_not_read_again(house: House, world: FakeWorld) -> None:
    world.pay(house.address(house.customer("alice")), NATIVE, 10**6)
    world.mine(3)
    for _ in range(5):
        house.run(1)
        world.mine(2)
    house.run(2)
    chain = house.home.chain.traits.chain
    with house.platform.db.read() as conn:
        at = reconcile.reconcile(house.platform.db, house.home.chain).at
        assert rows.unsettled(conn, chain, above=at.height) == []
        assert len(rows.all_of(conn, chain)) == 1
        assert residuals.residuals(conn, chain, at, {}) == []


def test_a_funding_step_with_nothing_to_number_writes_nothing(house: House) -> None:
    house.run(2)
    written: list[str] = []
    engine = house.platform.db._writer

    @sa.event.listens_for(engine, "begin")
    def begun(_conn: object) -> None:
        written.append("begin")

    house.step("funding")
    assert written == []


def own(why: Why, amount: int) -> Residual:
    return Residual("deposits", AssetNo(2), "spend_1", SpendKind.SWEEP, why, amount)


def test_what_an_odd_token_keeps_of_an_own_transfer_is_part_of_the_report() -> None:
    whole = [own(Why.SENT, -100), own(Why.RECEIVED, 100)]
    assert publish.in_flight_of(whole) == []
    odd = [own(Why.SENT, -100), own(Why.RECEIVED, 98)]
    assert publish.in_flight_of(odd) == [InFlight(InFlightKind.UNPOSTED_DEPARTURE, "spend_1", 2, 2)]


def test_a_second_wallet_that_differs_is_a_second_incident(
    house: House, world: FakeWorld, token: str
) -> None:
    for account in ("hot", "gas"):
        world.pay_many([Output(house.own_address(account), token, 5, 5, silent=True)])
    world.mine(3)
    house.run(2)
    for _ in range(2):
        reconcile.step(house.platform.db, house.home.chain, clock=house.clock)
    with house.platform.db.read() as conn:
        details = [found.detail for found in chain_state.open_incidents(conn)]
    number = house.asset_no(token)
    assert sorted(details) == [f"gas asset {number}: 5", f"hot asset {number}: 5"]
