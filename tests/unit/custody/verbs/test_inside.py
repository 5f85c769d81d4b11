"""A withdrawal to another customer's deposit address never meets the chain, on both databases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, SpendKind
from chains.fake import FakeWorld
from core.entropy import SeededDice
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo, WithdrawalId
from custody import catalogue, chain_state, funding
from custody.db import Database
from custody.funding import FundingKind
from custody.keys.log_file import whole_log
from custody.ledger import balances
from custody.ledger.audit import audit
from custody.ledger.chart import AccountKind
from custody.reserves.snapshot import freeze
from custody.spending import rows as spending_rows
from custody.wallets import addresses
from custody.wallets.addresses import Address
from custody.withdrawals import inside, states, workflow
from custody.withdrawals.states import INSIDE, Withdrawal, WithdrawalState
from tests.support.house import ATTESTATION_KEY, House, start_engine
from tests.unit.custody.verbs.conftest import FEE

DEPOSIT = 1_000_000


def rich(house: House, world: FakeWorld, name: str) -> CustomerNo:
    """Return a customer with money."""
    customer_no = house.customer(name)
    world.pay(house.address(customer_no), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    return customer_no


@pytest.fixture
def alice(house: House, world: FakeWorld) -> CustomerNo:
    return rich(house, world, "alice")


@pytest.fixture
def bob(house: House) -> CustomerNo:
    return house.customer("bob")


def approved(
    house: House, sender: CustomerNo, to: str, amount: int, name: str = "w1"
) -> Withdrawal:
    row = house.withdraw(sender, NATIVE, amount, to, client_id=name)
    house.run(1)
    return house.approve(row.withdrawal_id)


def check_books(house: House) -> None:
    """I1, I2, I3, and nothing left between two customers."""
    with house.platform.db.read() as conn:
        assert list(audit(conn)) == []
        assert (
            balances.balance_of(conn, AccountKind.IN_TRANSIT, INSIDE, house.asset_no(NATIVE)) == 0
        )


def refusal(act: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


def settle(house: House, withdrawal_id: WithdrawalId) -> None:
    def apply(conn: sa.Connection) -> None:
        row = states.get(conn, withdrawal_id)
        inside.settle(
            conn, row, attestation_key=ATTESTATION_KEY.public_key, now_ns=house.clock.now_ns()
        )

    house.platform.db.run(apply)


def test_it_is_settled_between_the_customers_without_a_signature_or_a_transaction(
    house: House, world: FakeWorld, alice: CustomerNo, bob: CustomerNo
) -> None:
    row = approved(house, alice, house.address(bob), 10_000)
    assert (row.wallet, row.fee) == (INSIDE, 0)
    house.run(2)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert house.balance(alice, NATIVE) == DEPOSIT - 10_000
    assert house.balance(bob, NATIVE) == 10_000
    with house.platform.db.read() as conn:
        spend = spending_rows.find_by_cause(conn, row.withdrawal_id, SpendKind.WITHDRAWAL)
        (got,) = inside.received(conn, bob)
        assert inside.received(conn, alice) == []
    assert spend is None
    assert (got.withdrawal_id, got.amount, got.fee) == (row.withdrawal_id, 10_000, 0)
    world.mine(5)
    house.run(3)
    log = list(whole_log(house.platform.signer))
    assert log, "the deposit was swept"
    assert row.withdrawal_id not in repr(log)
    check_books(house)


def test_a_fee_is_taken_where_the_terms_say_so(
    house: House, alice: CustomerNo, bob: CustomerNo
) -> None:
    terms = workflow.WithdrawalTerms(network_fee_max=10**7, inside_is_free=False)
    house.home = dataclasses.replace(house.home, terms=terms)
    row = approved(house, alice, house.address(bob), 10_000)
    assert row.fee == FEE
    house.run(2)
    assert house.balance(alice, NATIVE) == DEPOSIT - 10_000 - FEE
    assert house.balance(bob, NATIVE) == 10_000
    with house.platform.db.read() as conn:
        income = balances.balance_of(conn, AccountKind.FEE_INCOME, "", house.asset_no(NATIVE))
    assert income == FEE
    check_books(house)


def test_without_officers_it_waits_and_expires_like_any_other(
    house: House, alice: CustomerNo, bob: CustomerNo
) -> None:
    row = house.withdraw(alice, NATIVE, 10_000, house.address(bob))
    house.run(3)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.HELD
    assert refusal(partial(settle, house, row.withdrawal_id)) is Reason.ILLEGAL_TRANSITION
    assert house.balance(bob, NATIVE) == 0


def test_nobody_pays_himself(house: House, alice: CustomerNo) -> None:
    own = house.address(alice)
    assert refusal(lambda: house.withdraw(alice, NATIVE, 10_000, own)) is Reason.OWN_ADDRESS
    assert house.balance(alice, NATIVE) == DEPOSIT


def test_it_is_settled_once_and_never_after_its_end(
    house: House, alice: CustomerNo, bob: CustomerNo
) -> None:
    to = house.address(bob)
    row = approved(house, alice, to, 10_000)
    settle(house, row.withdrawal_id)
    assert refusal(partial(settle, house, row.withdrawal_id)) is Reason.ILLEGAL_TRANSITION
    over = approved(house, alice, to, 7_000, "w2")
    house.platform.db.run(
        lambda conn: workflow.cancel(conn, over.withdrawal_id, by="alice", now_ns=1)
    )
    assert refusal(partial(settle, house, over.withdrawal_id)) is Reason.ILLEGAL_TRANSITION
    house.run(2)
    assert house.balance(alice, NATIVE) == DEPOSIT - 10_000
    assert house.balance(bob, NATIVE) == 10_000
    check_books(house)


def test_what_a_wallet_pays_is_never_settled_inside(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = approved(house, alice, world.outsider("shop"), 10_000)
    assert refusal(partial(settle, house, row.withdrawal_id)) is Reason.INTENT_MISMATCH


def test_an_address_without_the_signers_word_is_no_customers(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    """Who writes into our tables cannot turn the address of a shop into his own."""
    thief, shop = house.customer("thief"), world.outsider("shop")
    forged = Address(house.home.chain.traits.chain, shop, addresses.DEPOSITS, 77, thief)
    values = {field.name: getattr(forged, field.name) for field in dataclasses.fields(forged)}
    house.platform.db.run(
        lambda conn: conn.execute(addresses.addresses.insert().values(created_at_ns=1, **values))
    )
    row = approved(house, alice, shop, 10_000)
    house.run(2)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.APPROVED
    assert refusal(partial(settle, house, row.withdrawal_id)) is Reason.BAD_ATTESTATION
    assert house.balance(thief, NATIVE) == 0


def test_a_frozen_sender_pays_nobody(house: House, alice: CustomerNo, bob: CustomerNo) -> None:
    row = approved(house, alice, house.address(bob), 10_000)
    house.platform.db.run(lambda conn: catalogue.freeze_customer(conn, alice, "test"))
    house.run(2)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.APPROVED
    assert house.balance(bob, NATIVE) == 0


def test_between_capture_and_credit_the_engine_may_die_and_no_proof_is_made(
    house: House, alice: CustomerNo, bob: CustomerNo
) -> None:
    row = approved(house, alice, house.address(bob), 10_000)
    house.step("settle_inside")
    assert funding.step(house.platform.db, house.sequencer, batch_max=1) == 1
    house.step("settlement")
    with house.platform.db.read() as conn:
        between = balances.balance_of(conn, AccountKind.IN_TRANSIT, INSIDE, house.asset_no(NATIVE))
        assert between == -10_000, "captured, and not yet credited"
        with pytest.raises(Unavailable, match="half booked"):
            freeze(conn, height_steps={}, schemes={}, in_flight=lambda *_: ())
    house.sequencer = start_engine(house.platform, house.storage)
    house.run(2)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert house.balance(bob, NATIVE) == 10_000
    check_books(house)


def rows_of(db: Database) -> dict[FundingKind, int]:
    with db.read() as conn:
        return {kind: len(funding.causes_of(conn, kind)) for kind in FundingKind}


@pytest.mark.parametrize("seed", range(4))
def test_payments_to_and_fro_with_a_dying_engine_add_up(
    house: House, world: FakeWorld, seed: int
) -> None:
    dice = SeededDice(seed)
    people = [rich(house, world, name) for name in ("alice", "bob", "cleo")]
    where = {customer_no: house.address(customer_no) for customer_no in people}
    owed = dict.fromkeys(people, DEPOSIT)
    for n in range(12):
        sender, receiver = dice.sample(people, 2)
        amount = dice.randint(10, DEPOSIT)
        row = house.withdraw(sender, NATIVE, amount, where[receiver], client_id=f"w{n}")
        house.run(1)
        if house.withdrawal(row.withdrawal_id).state is WithdrawalState.REFUSED:
            assert amount > owed[sender]
            continue
        house.approve(row.withdrawal_id)
        owed[sender] -= amount
        owed[receiver] += amount
        for _ in range(dice.randint(0, 3)):
            house.step(dice.choice(["settle_inside", "settlement"]))
            funding.step(house.platform.db, house.sequencer, batch_max=dice.randint(1, 2))
            if dice.random() < 0.3:
                house.sequencer = start_engine(house.platform, house.storage)
        house.run(2)
    house.run(2)
    assert {who: house.balance(who, NATIVE) for who in people} == owed
    counted = rows_of(house.platform.db)
    assert counted[FundingKind.CAPTURE] == counted[FundingKind.RECEIVE] > 0
    check_books(house)


def test_an_address_of_ours_on_another_network_is_refused(
    house: House, world: FakeWorld, alice: CustomerNo, bob: CustomerNo
) -> None:
    """The same text may be an address of both; what is sent over the wrong one is not seen."""
    elsewhere = Address(
        house.home.chain.traits.chain, world.outsider("twin"), addresses.DEPOSITS, 78, bob
    )
    other = ChainId("other")

    def register(conn: sa.Connection) -> None:
        chain_state.register(conn, other, "other-net")
        conn.execute(
            addresses.addresses.insert().values(
                chain=other, address=elsewhere.address, account=elsewhere.account,
                key_index=78, customer_no=bob, created_at_ns=1,
            )
        )  # fmt: skip

    house.platform.db.run(register)
    ask = partial(house.withdraw, alice, NATIVE, 10_000, elsewhere.address)
    assert refusal(ask) is Reason.OWN_ADDRESS
    assert house.balance(alice, NATIVE) == DEPOSIT
