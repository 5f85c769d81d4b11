"""Money goes the whole way on a real network whose transactions use up durable nonces."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from solders.keypair import Keypair

from app import equations
from chains.base import NATIVE, AssetSpec
from chains.registry import ChainConfig, open_chain
from chains.solana.address import to_text
from core.clock import SECOND_NS
from custody.keys.signers.base import KeyRef
from custody.ledger.audit import audit
from custody.spending import batch_items, rows
from custody.spending.rows import Attempt, Spend, SpendState
from custody.withdrawals.states import Withdrawal, WithdrawalState
from custody.withdrawals.workflow import WithdrawalTerms
from infra.devnet.surfpool import LAMPORTS
from sweeper.policy import SweepRules
from tests.support.house import GAS, HOT, House, house_signer, open_house
from tests.support.solana_town import CHAIN, Town, start_town
from tests.unit.custody.keys.networks import traits

COIN = LAMPORTS
NEVER = 1 << 60


def _own(account: str) -> str:
    signer = house_signer(traits(coin_type=501, curve="ed25519"))
    return to_text(signer.public_key(KeyRef(account, 0)))


@pytest.fixture
def town() -> Iterator[Town]:
    """Start a network where the house's own wallets have coins, tokens and nonces."""
    with start_town(hot=_own(HOT), gas=_own(GAS)) as started:
        yield started


@pytest.fixture
def house(database_url: str, town: Town) -> Iterator[House]:
    """Open the platform over the network, behind the wallets' first funding."""
    listed = [
        AssetSpec(
            chain=CHAIN, key=key, symbol=symbol, scale=scale, deposit_minimum=1_000,
            withdrawal_minimum=1_000, withdrawal_fee=500, sweep_minimum=2_000,
        )
        for key, symbol, scale in ((NATIVE, "SOL", 9), (town.token.key, "TOK", 6))
    ]  # fmt: skip
    config = ChainConfig(
        kind="solana", chain=CHAIN, node_urls=(town.front.url,), quorum=1, chain_number=0,
        genesis_hash=town.params.genesis_hash, fee_floor=5, fee_cap=10_000, tip=0,
        assets=tuple(listed), tickets=town.params.tickets, batch_max=8,
    )  # fmt: skip
    with (
        contextlib.closing(open_chain(config)) as chain,
        open_house(
            database_url, chain, listed, terms=WithdrawalTerms(network_fee_max=10_000_000),
            sweeps=SweepRules(), start_height=town.front.final(),
        ) as opened,
    ):  # fmt: skip
        yield opened


def settle(house: House, town: Town, rounds: int = 4) -> None:
    for _ in range(rounds):
        house.run(2)
        town.front.pass_slots()
    house.run(2)


def approved(
    house: House, amount: int, to: str, *, key: str = NATIVE, client_id: str = "w1"
) -> Withdrawal:
    row = house.withdraw(house.customer("alice"), key, amount, to, client_id=client_id)
    house.run(1)
    return house.approve(row.withdrawal_id)


def spend_of(house: House, row: Withdrawal) -> Spend:
    with house.platform.db.read() as conn:
        found = batch_items.spend_of(conn, row.withdrawal_id)
    assert found is not None
    return found


def attempts_of(house: House, spend: Spend) -> list[Attempt]:
    with house.platform.db.read() as conn:
        return rows.attempts(conn, spend.spend_id)


def everything_holds(house: House) -> None:
    with house.platform.db.read() as conn:
        assert audit(conn) == []
    found = equations.check(house.platform, house.storage)
    assert [each for each in found if not each.holds and each.name != "I17"] == []


def test_deposits_are_credited_and_swept_though_their_addresses_pay_no_fee(
    house: House, town: Town
) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    town.node.pay(address, COIN)
    town.token.pay(address, 70_000)
    hot_coins, hot_tokens = town.lamports(_own(HOT)), town.held(town.token, _own(HOT))
    settle(house, town)

    assert (house.balance(alice, NATIVE), house.balance(alice, town.token.key)) == (COIN, 70_000)
    settle(house, town, 4)
    assert town.lamports(address) == 0
    assert town.held(town.token, address) == 0
    assert town.held(town.token, _own(HOT)) - hot_tokens == 70_000
    assert town.lamports(_own(HOT)) - hot_coins == COIN
    assert house.problems == []
    everything_holds(house)


@pytest.mark.parametrize("is_token", [False, True])
def test_a_withdrawal_is_paid_and_its_fee_booked(house: House, town: Town, is_token: bool) -> None:
    alice, receiver = house.customer("alice"), str(Keypair().pubkey())
    key = town.token.key if is_token else NATIVE
    (town.token.pay if is_token else town.node.pay)(house.address(alice), COIN)
    settle(house, town)
    row = approved(house, COIN // 4, receiver, key=key)
    settle(house, town)

    done = house.withdrawal(row.withdrawal_id)
    assert done.state is WithdrawalState.CONFIRMED
    paid = town.held(town.token, receiver) if is_token else town.lamports(receiver)
    assert paid == COIN // 4
    assert house.balance(alice, key) == COIN - COIN // 4 - 500
    spend = spend_of(house, row)
    assert spend.fee_paid is not None
    assert (spend.fee_paid > 2_000_000) is is_token, "opening the receiver's account is a cost"
    assert house.problems == []
    everything_holds(house)


def test_many_withdrawals_leave_in_one_transaction(house: House, town: Town) -> None:
    alice, people = house.customer("alice"), [str(Keypair().pubkey()) for _ in range(3)]
    town.token.pay(house.address(alice), COIN)
    settle(house, town)
    asked = [
        house.withdraw(alice, town.token.key, 10_000 + n, to, client_id=f"w{n}")
        for n, to in enumerate(people)
    ]
    house.run(1)
    for row in asked:
        house.approve(row.withdrawal_id)
    house.run(1)
    assert len({spend_of(house, row).spend_id for row in asked}) == 1
    settle(house, town)

    for n, (row, to) in enumerate(zip(asked, people, strict=True)):
        assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
        assert town.held(town.token, to) == 10_000 + n
    everything_holds(house)


def test_a_stuck_payment_is_bumped_on_its_ticket_and_paid_once(house: House, town: Town) -> None:
    alice, receiver = house.customer("alice"), str(Keypair().pubkey())
    town.node.pay(house.address(alice), COIN)
    settle(house, town)
    row = approved(house, COIN // 4, receiver)
    house.run(1)
    for _ in range(2):
        house.clock.advance(11 * SECOND_NS)
        assert house.step("spending.move") == 1
    made = attempts_of(house, spend_of(house, row))
    assert len(made) == 3
    settle(house, town)

    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert town.lamports(receiver) == COIN // 4
    landed = [house.home.chain.tx_status(one.tx_id).block is not None for one in made]
    assert landed.count(True) == 1
    everything_holds(house)


def test_a_payment_that_waits_too_long_is_cancelled_by_its_ticket(house: House, town: Town) -> None:
    alice, receiver = house.customer("alice"), str(Keypair().pubkey())
    town.node.pay(house.address(alice), COIN)
    settle(house, town)
    row = approved(house, COIN // 4, receiver)
    house.run(1)
    spend = spend_of(house, row)
    town.front._held.clear()  # the network forgot it
    house.platform.db.run(lambda conn: rows.abandon(conn, spend, "waited_too_long"))
    house.clock.advance(3 * SECOND_NS)
    house.step("spending.move")
    assert attempts_of(house, spend)[-1].cancels
    settle(house, town)

    with house.platform.db.read() as conn:
        ended = rows.get(conn, spend.spend_id)
    assert (ended.state, ended.failure) == (SpendState.FAILED, "waited_too_long")
    assert town.lamports(receiver) in (0, COIN // 4)
    everything_holds(house)
