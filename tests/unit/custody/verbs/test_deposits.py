"""Every way a deposit can go, on both databases."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, Payment
from chains.fake import FakeWorld
from core.errors import Corrupt, Reason, Refused
from core.money import ENGINE_AMOUNT_LIMIT
from custody import catalogue, chain_state, deposit_rows, deposits
from custody.deposit_rows import TRANSITIONS, Deposit, DepositState, DepositVerb
from custody.deposits import decide_final
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from indexers import follow
from tests.support.house import House
from tests.unit.custody.verbs.conftest import MINIMUM


def rows(house: House, *states: DepositState) -> list[Deposit]:
    with house.platform.db.read() as conn:
        return deposit_rows.list_deposits(conn, states=states, limit=1_000)


def customers(house: House) -> list[Deposit]:
    return [row for row in rows(house) if row.customer_no is not None]


def test_a_deposit_is_credited_only_at_finality(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 5_000)
    world.mine()
    house.run(2)
    assert [row.state for row in customers(house)] == [DepositState.SEEN]
    world.mine()
    house.run(2)
    assert [row.state for row in customers(house)] == [DepositState.COUNTING]
    assert house.balance(alice, NATIVE) == 0
    world.mine()
    house.run(2)
    assert [row.state for row in customers(house)] == [DepositState.CREDITED]
    assert house.balance(alice, NATIVE) == 5_000


def test_amounts_below_the_minimum_gather_until_they_pass(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    for _ in range(3):
        world.pay(address, NATIVE, 400)
        world.mine(3)
        house.run(2)
        assert house.balance(alice, NATIVE) in (0, 1_200)
    assert house.balance(alice, NATIVE) == 1_200 >= MINIMUM
    assert {row.state for row in customers(house)} == {DepositState.CREDITED}


def test_dust_of_one_customer_never_lifts_another(house: House, world: FakeWorld) -> None:
    alice, bob = house.customer("alice"), house.customer("bob")
    for customer_no in (alice, bob):
        world.pay(house.address(customer_no), NATIVE, 600)
    world.mine(3)
    house.run(2)
    assert {row.state for row in customers(house)} == {DepositState.DUST}


def test_an_unlisted_asset_is_listed_as_unattributed(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    counterfeit = world.add_token("TOK", listed=False)
    world.pay(house.address(alice), counterfeit, 10**12)
    world.mine(3)
    house.run(2)
    (row,) = customers(house)
    assert (row.state, row.reason) == (DepositState.UNATTRIBUTED, "unlisted_asset")
    with house.platform.db.read() as conn:
        assert balances.customer_balances(conn, alice) == []


def test_what_was_not_delivered_is_held(house: House, world: FakeWorld, token: str) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), token, 0, claimed=9_000)
    world.mine(3)
    house.run(2)
    assert house.balance(alice, token) == 0
    assert all(row.state is DepositState.HELD for row in customers(house))


def test_operators_money_waits_in_suspense(house: House) -> None:
    own = [row for row in rows(house) if row.customer_no is None]
    assert {(row.account, row.state, row.reason) for row in own} == {
        ("hot", DepositState.UNATTRIBUTED, "own_wallet"),
        ("gas", DepositState.UNATTRIBUTED, "own_wallet"),
    }
    with house.platform.db.read() as conn:
        native = house.asset_no(NATIVE)
        assert balances.totals(conn)[(AccountKind.SUSPENSE, native)] == 2 * 10**9


def test_a_reorganised_deposit_is_orphaned_and_never_credited(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 5_000)
    world.mine()
    house.run(2)
    world.reorg(1)
    house.run(2)
    assert [row.state for row in customers(house)] == [DepositState.ORPHANED]
    world.mine(20)
    house.run(2)
    assert house.balance(alice, NATIVE) == 0


def test_a_deposit_that_a_reorganisation_keeps_is_credited_once(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    tx_id = world.pay(house.address(alice), NATIVE, 5_000)
    world.mine()
    house.run(2)
    world.reorg(1, keep=lambda found: found == tx_id)
    world.mine(4)
    house.run(3)
    assert house.balance(alice, NATIVE) == 5_000
    assert DepositState.CREDITED in {row.state for row in customers(house)}


def test_a_reorganisation_below_finality_freezes_the_chain(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 5_000)
    world.mine(4)
    house.run(2)
    assert house.balance(alice, NATIVE) == 5_000
    world.reorg(4, cross_finality=True)
    house.run(1)
    chain = house.home.chain.traits.chain
    with house.platform.db.read() as conn:
        assert chain_state.state(conn, chain).frozen
        kinds = [incident.kind for incident in chain_state.open_incidents(conn)]
    assert kinds == ["deep_reorganisation"]
    with pytest.raises(Refused) as refused:
        house.withdraw(alice, NATIVE, 1_000, world.outsider("bob"))
    assert refused.value.reason is Reason.FROZEN


def test_the_same_block_read_again_changes_nothing(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 5_000)
    world.mine()
    house.run(1)
    chain = house.home.chain
    block = chain.block_at(chain.head().height)
    assert block is not None
    payments = chain.payments_in(block, frozenset({house.own_address("hot")}))
    before = rows(house)
    for _ in range(2):
        changed = house.platform.db.run(
            lambda conn: deposits.observe(
                conn, chain.traits.chain, block.ref, payments, own_tx_ids=frozenset(), now_ns=1
            )
        )
        assert changed == 0
    assert rows(house) == before


def test_a_known_payment_in_a_second_block_is_corrupt(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    world.pay(address, NATIVE, 5_000)
    world.mine(2)
    house.run(1)
    (row,) = customers(house)
    chain = house.home.chain
    payment = Payment(row.tx_id, row.position, NATIVE, address, None, 5_000, 5_000)
    elsewhere = chain.head()
    assert elsewhere != row.block
    with pytest.raises(Corrupt):
        house.platform.db.run(
            lambda conn: deposits.observe(
                conn, chain.traits.chain, elsewhere, [payment], own_tx_ids=frozenset(), now_ns=1
            )
        )


def test_a_stalled_finality_is_never_replaced_by_a_count(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    world.stall_finality()
    world.pay(house.address(alice), NATIVE, 5_000)
    world.mine(30)
    house.run(3)
    assert house.balance(alice, NATIVE) == 0
    world.resume_finality()
    world.mine()
    house.run(3)
    assert house.balance(alice, NATIVE) == 5_000


def test_an_address_issued_while_a_block_is_read_is_not_missed(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = house.customer("alice")
    chain = house.home.chain
    real = chain.block_at

    def reading(height: int) -> object:
        if height > world.head.ref.height:  # issued, paid and mined while we wait for the answer
            world.pay(house.address(alice), NATIVE, 5_000)
            world.mine()
        return real(height)

    monkeypatch.setattr(chain, "block_at", reading)
    done = follow.step(house.platform.db, chain, clock=house.clock)
    assert (done.progress, done.deposits) == (follow.Progress.ADVANCED, 1)


def test_addresses_issued_all_the_time_do_not_stop_the_follower(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = house.customer("alice")
    chain = house.home.chain
    real = chain.payments_in

    def reading(*arguments: object) -> object:
        house.address(alice)
        return real(*arguments)  # type: ignore[arg-type]

    world.mine()
    monkeypatch.setattr(chain, "payments_in", reading)
    assert follow.step(house.platform.db, chain, clock=house.clock).progress is (
        follow.Progress.ADVANCED
    )


def a_deposit(**changes: object) -> Deposit:
    values: dict[str, object] = dict.fromkeys(Deposit.__dataclass_fields__)
    values |= {"amount": 5_000, "customer_no": 1, "state": DepositState.SEEN}
    return Deposit(**{**values, **changes})  # type: ignore[arg-type]


def test_a_deposit_too_large_for_the_engine_is_held(house: House, token: str) -> None:
    asset_no = house.asset_no(token)
    with house.platform.db.read() as conn:
        asset = catalogue.asset(conn, asset_no)
    decided = decide_final(a_deposit(amount=ENGINE_AMOUNT_LIMIT), asset, dust_before=0)
    assert (decided.verb, decided.reason) == (DepositVerb.HOLD, "too_large")


def put(conn: sa.Connection, state: DepositState) -> None:
    conn.execute(deposit_rows.deposits.update().values(state=state.value))


def test_only_declared_transitions_happen(house: House, world: FakeWorld) -> None:
    world.pay(house.address(house.customer("alice")), NATIVE, 5_000)
    world.mine()
    house.run(1)
    (row,) = customers(house)
    db = house.platform.db
    for state, verb in itertools.product(DepositState, DepositVerb):
        db.run(partial(put, state=state))
        with db.read() as conn:
            now = deposit_rows.get(conn, row.deposit_id)
        move = partial(deposit_rows.advance, row=now, verb=verb)
        if (state, verb) in TRANSITIONS:
            assert db.run(move).state is TRANSITIONS[(state, verb)]
            continue
        with pytest.raises(Refused) as refused:
            db.run(move)
        assert refused.value.reason is Reason.ILLEGAL_TRANSITION


def test_a_stale_copy_of_a_row_moves_nothing(house: House, world: FakeWorld) -> None:
    world.pay(house.address(house.customer("alice")), NATIVE, 5_000)
    world.mine()
    house.run(1)
    (stale,) = customers(house)
    db = house.platform.db
    db.run(partial(deposit_rows.advance, row=stale, verb=DepositVerb.COUNT))
    with pytest.raises(Refused) as refused:
        db.run(partial(deposit_rows.advance, row=stale, verb=DepositVerb.ORPHAN))
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION
