"""The one road out where a spend uses up coins: payments, replacements, cancellations, ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, Coin
from chains.fake import FakeCoinChain, FakeWorld
from core.clock import SECOND_NS
from core.errors import Reason, Refused
from core.ids import SpendId, WithdrawalId
from custody import chain_state
from custody.ledger.audit import audit
from custody.spending import batch_items, claims, drafts, means, outcome, plan, rows, sign
from custody.spending.means import Means
from custody.spending.rows import Attempt, Spend, SpendState
from custody.wallets import coins
from custody.withdrawals import rehearsal
from custody.withdrawals.rehearsal import Finding
from custody.withdrawals.states import Withdrawal, WithdrawalState
from indexers.reconcile import reconcile
from tests.support.house import HOT, House, open_house

MILLION = 1_000_000
NEVER = 1 << 60


@pytest.fixture
def world() -> FakeWorld:
    """Return a world of coins that calls blocks final two below its head."""
    return FakeWorld(finality_depth=2, spends_coins=True)


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    """Open the platform over it; the hot wallet has three coins, and a customer has a balance."""
    assets = [
        replace(spec, deposit_minimum=100, sweep_minimum=NEVER) for spec in world.listed_assets()
    ]
    with open_house(database_url, FakeCoinChain(world), assets) as opened:
        for amount in (5 * MILLION, 2 * MILLION, MILLION):
            world.fund(opened.own_address(HOT), amount)
        world.pay(opened.address(opened.customer("alice")), NATIVE, 6 * MILLION)
        settle(opened, world)
        yield opened


def settle(house: House, world: FakeWorld, rounds: int = 3) -> None:
    for _ in range(rounds):
        house.run(2)
        world.mine(2)
    house.run(2)


def approved(house: House, world: FakeWorld, amount: int, name: str = "bob") -> Withdrawal:
    """Return a withdrawal of the customer that officers approved; nothing is planned yet."""
    alice = house.customer("alice")
    row = house.withdraw(alice, NATIVE, amount, world.outsider(name), client_id=name)
    house.run(1)
    return house.approve(row.withdrawal_id)


def spend_of(house: House, withdrawal_id: WithdrawalId) -> Spend:
    with house.platform.db.read() as conn:
        found = batch_items.spend_of(conn, withdrawal_id)
    assert found is not None
    return found


def attempts_of(house: House, spend: Spend) -> list[Attempt]:
    with house.platform.db.read() as conn:
        return rows.attempts(conn, spend.spend_id)


def held(house: House, spend: Spend) -> list[str]:
    with house.platform.db.read() as conn:
        return claims.of(conn, spend.spend_id)


def free_of(house: House) -> list[Coin]:
    chain = house.home.chain.traits.chain
    with house.platform.db.read() as conn:
        return means.free_coins(conn, chain, house.own_address(HOT))


def paid_to(house: House, world: FakeWorld, name: str) -> int:
    chain = house.home.chain
    return chain.balance_of(world.outsider(name), NATIVE, chain.head())


def books_are_right(house: House) -> None:
    result = reconcile(house.platform.db, house.home.chain)
    assert result.holds, [line for line in result.lines if line.unexplained]
    with house.platform.db.read() as conn:
        assert audit(conn) == []


def test_a_withdrawal_takes_coins_and_what_is_left_comes_back(
    house: House, world: FakeWorld
) -> None:
    row = approved(house, world, 3 * MILLION)
    assert house.step("withdrawals.plan") == 1
    spend = spend_of(house, row.withdrawal_id)
    (taken,) = held(house, spend)
    assert taken not in {coin.outpoint for coin in free_of(house)}
    assert spend.nonce == 0
    settle(house, world)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert paid_to(house, world, "bob") == 3 * MILLION
    done = spend_of(house, row.withdrawal_id)
    assert done.fee_paid
    with house.platform.db.read() as conn:
        used = coins.get(conn, spend.chain, taken)
    assert used is not None
    assert used.used_tx == attempts_of(house, spend)[0].tx_id
    assert sorted(coin.amount for coin in free_of(house)) == sorted(
        [2 * MILLION, MILLION, 2 * MILLION - done.fee_paid]
    )
    assert house.problems == []
    books_are_right(house)


def test_no_coin_is_taken_twice_and_what_is_short_waits(house: House, world: FakeWorld) -> None:
    first, second = (
        approved(house, world, 2 * MILLION + MILLION // 2, name) for name in ("bob", "carol")
    )
    house.run(1)
    house.run(1)
    assert house.withdrawal(first.withdrawal_id).state is WithdrawalState.BROADCAST
    taken = held(house, spend_of(house, first.withdrawal_id))
    if house.withdrawal(second.withdrawal_id).state is not WithdrawalState.APPROVED:
        other = held(house, spend_of(house, second.withdrawal_id))
        assert set(taken).isdisjoint(other)
    settle(house, world, 5)
    assert paid_to(house, world, "bob") == paid_to(house, world, "carol") == 5 * MILLION // 2
    books_are_right(house)


def test_a_coin_that_went_meanwhile_is_noticed_in_the_transaction(
    house: House, world: FakeWorld
) -> None:
    first = approved(house, world, MILLION, "bob")
    house.step("withdrawals.plan")
    spend = spend_of(house, first.withdrawal_id)
    with house.platform.db.read() as conn:
        taken = means.held_by(conn, house.home.chain.traits, spend)
    other = replace(spend, spend_id=SpendId("spend_other"), cause_id="w2")
    with pytest.raises(Refused) as refused:
        house.platform.db.run(lambda conn: means.take(conn, other, taken))
    assert refused.value.reason is Reason.IN_PROGRESS


@pytest.mark.parametrize("mined", [0, 1, 2, 3])
def test_whichever_version_of_a_stuck_payment_is_mined_it_is_paid_once(
    house: House, world: FakeWorld, mined: int
) -> None:
    row = approved(house, world, 2 * MILLION)
    house.run(1)
    spend = spend_of(house, row.withdrawal_id)
    for number in range(1, 4):
        assert len(attempts_of(house, spend)) == number
        house.clock.advance(11 * SECOND_NS)
        assert house.step("spending.move") >= 1
    made = attempts_of(house, spend)
    assert len(made) == 4
    versions = [set(house.home.chain.decode(one.payload, sender=spend.source).claims(spend.source))
                for one in made]  # fmt: skip
    assert set.intersection(*versions)
    rates = [house.home.chain.rate_of(one.payload).max_rate for one in made]
    assert rates == sorted(set(rates))
    for tx_id in world.pending():
        world.drop(tx_id)
    world.submit(made[mined].raw)
    settle(house, world, 4)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert paid_to(house, world, "bob") == 2 * MILLION
    assert set(held(house, spend)) == versions[mined]
    books_are_right(house)


def test_a_replacement_takes_more_coins_where_its_own_do_not_pay_for_it(
    house: House, world: FakeWorld
) -> None:
    house.home.chain._rate_cap = 100_000  # type: ignore[attr-defined]
    row = approved(house, world, 5 * MILLION - 1_000)
    house.run(1)
    spend = spend_of(house, row.withdrawal_id)
    before = held(house, spend)
    world.set_base_rate(500)
    house.clock.advance(11 * SECOND_NS)
    house.step("spending.move")
    made, after = attempts_of(house, spend), held(house, spend)
    assert len(made) == 2
    assert after[: len(before)] == before
    assert len(after) > len(before)
    for tx_id in world.pending():
        world.drop(tx_id)
    world.set_base_rate(1)
    world.submit(made[0].raw)
    settle(house, world, 4)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert held(house, spend) == before
    spare = set(after) - set(before)
    assert spare <= {coin.outpoint for coin in free_of(house)}
    again = approved(house, world, MILLION, "carol")
    settle(house, world, 4)
    assert house.withdrawal(again.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert spare & set(held(house, spend_of(house, again.withdrawal_id)))
    books_are_right(house)


def test_what_was_never_drafted_ends_without_a_transaction(house: House, world: FakeWorld) -> None:
    row = approved(house, world, MILLION)
    house.step("withdrawals.plan")
    spend = spend_of(house, row.withdrawal_id)
    house.platform.db.run(lambda conn: rows.abandon(conn, spend, "test"))
    house.run(2)
    assert spend_of(house, row.withdrawal_id).state is SpendState.FAILED
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.FAILED
    assert held(house, spend) == []
    assert len(free_of(house)) == 3
    assert world.pending() == ()
    books_are_right(house)


def test_what_was_drafted_is_cancelled_with_the_same_coins(house: House, world: FakeWorld) -> None:
    row = approved(house, world, MILLION)
    house.step("withdrawals.plan")
    spend = spend_of(house, row.withdrawal_id)
    chain, db = house.home.chain, house.platform.db
    sign._draft(db, chain, spend, 1, chain.fee_rate())
    db.run(lambda conn: rows.abandon(conn, spend, "test"))
    settle(house, world)
    ended = spend_of(house, row.withdrawal_id)
    assert (ended.state, ended.failure) == (SpendState.FAILED, "test")
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.FAILED
    assert paid_to(house, world, "bob") == 0
    assert ended.fee_paid
    total = sum(coin.amount for coin in free_of(house))
    assert total == 8 * MILLION - ended.fee_paid
    with db.read() as conn:
        assert drafts.count(conn, ended.spend_id) == 2
    books_are_right(house)


def test_a_payment_that_waits_is_cancelled_by_a_dearer_transaction_of_the_same_coins(
    house: House, world: FakeWorld
) -> None:
    row = approved(house, world, MILLION)
    house.run(1)
    spend = spend_of(house, row.withdrawal_id)
    house.platform.db.run(lambda conn: rows.abandon(conn, spend, "test"))
    house.clock.advance(3 * SECOND_NS)
    house.step("spending.move")
    paying, cancelling = attempts_of(house, spend)
    assert cancelling.cancels
    assert world.pending() == (cancelling.tx_id,)
    fees = [house.home.chain.decode(one.payload, sender=spend.source).fee_max
            for one in (paying, cancelling)]  # fmt: skip
    assert fees[1] > fees[0]
    settle(house, world)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.FAILED
    assert paid_to(house, world, "bob") == 0
    books_are_right(house)


def test_a_held_coin_used_by_a_stranger_freezes_the_chain(house: House, world: FakeWorld) -> None:
    row = approved(house, world, MILLION)
    house.run(1)
    spend = spend_of(house, row.withdrawal_id)
    (held_coin,) = held(house, spend)
    house.platform.db.run(
        lambda conn: conn.execute(
            coins.coins.update()
            .where(coins.coins.c.outpoint == held_coin)
            .values(used_tx="ff" * 32, used_height=1)
        )
    )
    for tx_id in world.pending():
        world.drop(tx_id)
    with house.platform.db.read() as conn:
        final = chain_state.state(conn, spend.chain).final
    assert final is not None
    ended = outcome.settle(
        house.platform.db, house.home.chain, spend_of(house, row.withdrawal_id), final=final,
        now_ns=house.clock.now_ns(),
    )  # fmt: skip
    assert ended.ending is outcome.Ending.FOREIGN
    with house.platform.db.read() as conn:
        assert chain_state.state(conn, spend.chain).frozen


def test_the_lane_is_opened_without_asking_and_final_coins_go_first(
    house: House, world: FakeWorld
) -> None:
    chain = house.home.chain
    world.fund(house.own_address(HOT), 9 * MILLION)
    world.mine(1)
    house.run(1)
    with house.platform.db.read() as conn:
        assert plan.next_nonce(conn, chain.traits.chain, house.own_address(HOT)) is None
    row = approved(house, world, 3 * MILLION)
    house.step("withdrawals.plan")
    spend = spend_of(house, row.withdrawal_id)
    with house.platform.db.read() as conn:
        (taken,) = means.held_by(conn, chain.traits, spend).coins
    assert taken.amount == 5 * MILLION


def test_officers_are_shown_what_a_payment_of_coins_would_do(
    house: House, world: FakeWorld
) -> None:
    row = approved(house, world, 3 * MILLION)
    shown = rehearsal.rehearse(
        house.platform.db, house.home.chain, row, roster=house.platform.roster,
        now_ns=house.clock.now_ns(),
    )  # fmt: skip
    assert shown.finding is Finding.AS_APPROVED
    moved = {one.address: one.after - one.before for one in shown.changes}
    assert moved == {house.own_address(HOT): -3 * MILLION, world.outsider("bob"): 3 * MILLION}


def test_change_is_spent_before_it_is_final_and_what_it_stands_on_gets_no_other_version(
    house: House, world: FakeWorld
) -> None:
    first = approved(house, world, 5 * MILLION - 300_000)
    house.run(1)
    world.mine(1)
    house.run(1)
    spend = spend_of(house, first.withdrawal_id)
    (attempt,) = attempts_of(house, spend)
    change = {coin.outpoint for coin in free_of(house) if coin.outpoint.startswith(attempt.tx_id)}
    assert len(change) == 1
    chain = house.home.chain
    wanted = [coin for coin in free_of(house) if coin.outpoint in change]
    other = replace(
        spend, spend_id=SpendId("spend_other"), cause_id="w2", nonce=77, state=SpendState.PLANNED
    )

    def stand_on(conn: sa.Connection) -> None:
        rows.insert(conn, other)
        means.take(conn, other, Means(coins=tuple(wanted)))

    house.platform.db.run(stand_on)
    world.reorg(1, to_pool=True, replacement_blocks=2)
    house.run(1)
    with pytest.raises(Refused) as refused:
        sign.bump(
            house.platform.db, chain, spend, release=lambda *_: b"", now_ns=house.clock.now_ns()
        )
    assert refused.value.reason is Reason.IN_PROGRESS
    assert len(attempts_of(house, spend)) == 1


def test_change_of_a_payment_with_two_versions_waits_until_it_is_final(
    house: House, world: FakeWorld
) -> None:
    row = approved(house, world, 5 * MILLION - 300_000)
    house.run(1)
    house.clock.advance(11 * SECOND_NS)
    house.step("spending.move")
    spend = spend_of(house, row.withdrawal_id)
    made = attempts_of(house, spend)
    assert len(made) == 2
    world.mine(1)
    house.run(1)
    assert not any(coin.outpoint.startswith(made[1].tx_id) for coin in free_of(house))
    settle(house, world)
    assert any(coin.outpoint.startswith(made[1].tx_id) for coin in free_of(house))


def test_what_a_stranger_paid_waits_until_it_is_final(house: House, world: FakeWorld) -> None:
    world.fund(house.own_address(HOT), 9 * MILLION)
    world.mine(1)
    house.run(1)
    assert 9 * MILLION not in {coin.amount for coin in free_of(house)}
    settle(house, world)
    assert 9 * MILLION in {coin.amount for coin in free_of(house)}
