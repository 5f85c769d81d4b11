"""What a deep reorganisation and its resolution must not lose, on both databases."""

from __future__ import annotations

from functools import partial

import pytest

from chains.base import NATIVE, BlockRef, Payment
from chains.fake import FakeWorld
from core.clock import DAY_NS
from core.errors import Reason, Refused
from core.ids import CustomerNo
from custody import chain_state, deposit_rows, deposits, resolution
from custody.decided_deposits import REAPPEARED
from custody.deposit_rows import Deposit, DepositState
from custody.keys.statement import Statement, StatementSignature, sign_statement
from custody.resolution import Resolution
from indexers import reconcile
from tests.support.house import House, officer_key


def deposits_of(house: House, customer_no: CustomerNo) -> list[Deposit]:
    with house.platform.db.read() as conn:
        return deposit_rows.list_deposits(conn, customer_no=customer_no)


def credited(house: House, world: FakeWorld, name: str, amount: int = 5_000) -> CustomerNo:
    customer_no = house.customer(name)
    world.pay(house.address(customer_no), NATIVE, amount)
    world.mine()
    return customer_no


def frozen(house: House) -> bool:
    with house.platform.db.read() as conn:
        return chain_state.state(conn, house.home.chain.traits.chain).frozen


def final_height(house: House) -> int:
    with house.platform.db.read() as conn:
        final = chain_state.state(conn, house.home.chain.traits.chain).final
    assert final is not None
    return final.height


def incidents(house: House) -> list[str]:
    with house.platform.db.read() as conn:
        return [found.kind for found in chain_state.open_incidents(conn)]


def signed(house: House, found: Resolution) -> tuple[Statement, list[StatementSignature]]:
    statement = resolution.statement_of(found, expires_ns=house.clock.now_ns() + DAY_NS)
    return statement, [sign_statement(officer_key(person), statement) for person in ("ada", "ben")]


def carry_out(
    house: House, found: Resolution, paper: tuple[Statement, list[StatementSignature]]
) -> None:
    house.platform.db.run(
        lambda conn: resolution.resolve(
            conn, found, *paper, roster=house.platform.roster, now_ns=house.clock.now_ns()
        )
    )


def resolve(house: House) -> Resolution:
    found = resolution.gather(house.platform.db, house.home.chain)
    carry_out(house, found, signed(house, found))
    return found


def test_what_vanished_is_found_behind_however_many_older_deposits(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        credited(house, world, f"older-{number}")
    alice = credited(house, world, "alice")
    world.mine(2)
    house.run(3)
    assert house.balance(alice, NATIVE) == 5_000
    world.reorg(3, cross_finality=True)
    house.run(1)
    monkeypatch.setattr(resolution, "DEPOSITS_MAX", 3, raising=False)
    found = resolution.gather(house.platform.db, house.home.chain)
    assert set(found.vanished) == {row.deposit_id for row in deposits_of(house, alice)}


def test_a_thaw_never_calls_a_block_final_that_the_chain_does_not(
    house: House, world: FakeWorld
) -> None:
    world.mine(4)
    house.run(2)
    before = final_height(house)
    chain = house.home.chain.traits.chain
    house.platform.db.run(
        partial(chain_state.freeze, chain=chain, kind="foreign_nonce", detail="x", now_ns=1)
    )
    with house.platform.db.read() as conn:
        tip = chain_state.cursor(conn, chain)
    assert tip is not None
    assert tip.height > before
    house.platform.db.run(
        partial(chain_state.thaw, chain=chain, resume_at=tip, by="ada,ben", now_ns=1)
    )
    assert final_height(house) == before


def test_a_kept_deposit_that_a_short_fork_drops_afterwards_freezes_the_chain(
    house: House, world: FakeWorld
) -> None:
    alice = credited(house, world, "alice")
    world.mine(3)
    house.run(3)
    assert house.balance(alice, NATIVE) == 5_000
    (row,) = deposits_of(house, alice)
    world.stall_finality()
    world.reorg(4, keep=lambda tx_id: tx_id == row.tx_id, cross_finality=True)
    house.run(1)
    assert frozen(house)
    assert resolve(house).vanished == ()
    house.run(2)
    assert not frozen(house)
    world.reorg(world.head.ref.height - final_height(house))
    house.run(1)
    assert frozen(house), "credited money left the chain again"
    (again,) = resolve(house).vanished
    assert again == row.deposit_id
    house.run(3)
    assert house.balance(alice, NATIVE) == 0


def test_a_kept_deposit_that_is_never_followed_again_freezes_the_chain(
    house: House, world: FakeWorld
) -> None:
    alice = credited(house, world, "alice")
    world.mine(3)
    house.run(3)
    (row,) = deposits_of(house, alice)
    world.reorg(4, keep=lambda tx_id: tx_id == row.tx_id, cross_finality=True)
    house.run(1)
    found = resolution.gather(house.platform.db, house.home.chain)
    paper = signed(house, found)
    assert (found.vanished, len(found.kept)) == ((), 1)
    world.reorg(
        world.head.ref.height - found.resume_at.height, replacement_blocks=9, cross_finality=True
    )
    carry_out(house, found, paper)
    house.run(2)
    assert frozen(house)
    assert resolve(house).vanished == (row.deposit_id,)


def test_a_deposit_that_brings_another_amount_on_the_surviving_branch_has_vanished(
    house: House, world: FakeWorld
) -> None:
    alice = credited(house, world, "alice")
    world.mine(3)
    house.run(3)
    (row,) = deposits_of(house, alice)
    block = row.block
    found = resolution.plan_resolution(
        row.chain, BlockRef(row.block.height - 1, "0"), [row],
        {row.deposit_id: (block, row.amount - 1)},
    )  # fmt: skip
    assert (found.vanished, found.kept) == ((row.deposit_id,), ())


def test_the_statement_of_an_earlier_freeze_resolves_nothing(
    house: House, world: FakeWorld
) -> None:
    alice = credited(house, world, "alice")
    world.mine(3)
    house.run(3)
    world.reorg(4, cross_finality=True)
    house.run(1)
    old = resolution.gather(house.platform.db, house.home.chain)
    paper = signed(house, old)
    carry_out(house, old, paper)
    bob = credited(house, world, "bob")
    world.mine(3)
    house.run(3)
    assert (house.balance(alice, NATIVE), house.balance(bob, NATIVE)) == (0, 5_000)
    world.reorg(5, cross_finality=True)
    house.run(1)
    assert frozen(house)
    with pytest.raises(Refused) as refused:
        carry_out(house, old, paper)
    assert refused.value.reason is Reason.INTENT_MISMATCH
    assert frozen(house)


def test_money_that_comes_back_after_its_reversal_is_an_incident_each_time(
    house: House, world: FakeWorld
) -> None:
    names = [credited(house, world, name) for name in ("alice", "bob")]
    world.mine(3)
    house.run(3)
    rows = [row for no in names for row in deposits_of(house, no)]
    world.reorg(5, cross_finality=True, to_pool=True, replacement_blocks=0)
    world.mine(6, include=lambda _tx_id: False)
    house.run(1)
    assert len(resolve(house).vanished) == 2
    assert {row.state for no in names for row in deposits_of(house, no)} == {DepositState.CREDITED}
    world.mine(3)  # they come back before the engine has taken them from anybody
    chain = house.home.chain
    for _ in range(12):
        house.step("follow")
    assert incidents(house) == ["reversed_deposit_reappeared"] * 2
    house.run(3)
    assert [house.balance(no, NATIVE) for no in names] == [0, 0]
    found = [row for no in names for row in deposits_of(house, no)]
    assert {(row.state, row.reason) for row in found} == {(DepositState.REVERSED, REAPPEARED)}
    assert {row.deposit_id for row in found} == {row.deposit_id for row in rows}
    assert reconcile.reconcile(house.platform.db, chain).holds


def test_a_resolution_back_to_the_old_branch_notices_what_was_taken_back(
    house: House, world: FakeWorld
) -> None:
    alice = credited(house, world, "alice")
    world.mine(3)
    house.run(3)
    (row,) = deposits_of(house, alice)
    house.platform.db.run(partial(deposits.take_back, deposit_id=row.deposit_id, now_ns=1))
    house.run(2)
    chain = house.home.chain.traits.chain
    payment = Payment(row.tx_id, row.position, NATIVE, row.address, None, row.amount, row.amount)
    seen = partial(
        deposits.observe, chain=chain, block=row.block, payments=[payment],
        own_tx_ids=frozenset(), now_ns=1,
    )  # fmt: skip
    assert [house.platform.db.run(seen) for _ in range(2)] == [1, 0]
    assert "reversed_deposit_reappeared" in incidents(house)
