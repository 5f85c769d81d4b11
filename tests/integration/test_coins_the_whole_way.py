"""Money goes the whole way on a real node whose transactions use up coins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app import equations
from chains.base import NATIVE, AssetSpec, Coin, FeeRate, SpendKind
from chains.registry import ChainConfig, open_chain
from core.clock import SECOND_NS
from core.ids import ChainId
from custody import chain_state
from custody.keys.desk import KeyDesk
from custody.keys.signers import KeyRef
from custody.ledger.audit import audit
from custody.spending import batch_items, claims, means, rows
from custody.spending.rows import Attempt, Spend, SpendState
from custody.withdrawals import rehearsal
from custody.withdrawals.rehearsal import Finding
from custody.withdrawals.states import Withdrawal, WithdrawalState
from custody.withdrawals.workflow import WithdrawalTerms
from indexers.reconcile import reconcile
from infra.devnet.coin_money import Miner
from infra.devnet.coin_nodes import MINER, CoreNode, start_core
from tests.support.house import HOT, House, open_house

CHAIN = ChainId("coins")
COIN = 100_000_000
OUTSIDE = (
    "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry",
    "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
)
"""The programs of the examples in BIP-173 and BIP-350: nobody's keys here."""
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


@pytest.fixture
def node() -> Iterator[CoreNode]:
    """Start a node whose blocks the test makes."""
    with start_core() as started:
        yield started


@pytest.fixture
def miner(node: CoreNode) -> Miner:
    """Return who pays coins of that node."""
    return Miner(node)


@pytest.fixture
def sweep_minimum() -> int:
    """Return the least that is swept: more than there is, but where a test is about sweeps."""
    return 1_000 * COIN


@pytest.fixture
def house(database_url: str, node: CoreNode, sweep_minimum: int) -> Iterator[House]:
    """Open the platform over the node, blocks final at their second confirmation."""
    spec = AssetSpec(
        chain=CHAIN, key=NATIVE, symbol="BTC", scale=8, deposit_minimum=1_000,
        withdrawal_minimum=1_000, withdrawal_fee=500, sweep_minimum=sweep_minimum,
    )  # fmt: skip
    config = ChainConfig(
        kind="bitcoin", chain=CHAIN, node_urls=(node.url,), quorum=1, chain_number=0,
        genesis_hash=GENESIS, fee_floor=1, fee_cap=500, tip=0, assets=(spec,), batch_max=20,
        confirmations=2,
    )  # fmt: skip
    with (
        contextlib.closing(open_chain(config)) as chain,
        open_house(
            database_url, chain, [spec], terms=WithdrawalTerms(network_fee_max=100_000)
        ) as opened,
    ):
        yield opened


def settle(house: House, node: CoreNode, rounds: int = 3) -> None:
    for _ in range(rounds):
        house.run(2)
        node.mine(1)
    house.run(2)


def funded(house: House, node: CoreNode, miner: Miner, *amounts: int) -> None:
    """Give the hot wallet coins of these amounts, and a customer one whole coin."""
    miner.pay(house.own_address(HOT), *amounts)
    miner.pay(house.address(house.customer("alice")), COIN)
    house.run(1)
    settle(house, node)


def approved(house: House, amount: int, to: str, client_id: str = "w1") -> Withdrawal:
    row = house.withdraw(house.customer("alice"), NATIVE, amount, to, client_id=client_id)
    house.run(1)
    return house.approve(row.withdrawal_id)


def all_approved(house: House, *amounts: int) -> list[Withdrawal]:
    """Return withdrawals to everybody outside that officers approved before any was planned."""
    alice, asked = house.customer("alice"), zip(OUTSIDE, amounts, strict=True)
    made = [
        house.withdraw(alice, NATIVE, amount, to, client_id=f"w{n}")
        for n, (to, amount) in enumerate(asked)
    ]
    house.run(1)
    return [house.approve(row.withdrawal_id) for row in made]


def spend_of(house: House, row: Withdrawal) -> Spend:
    with house.platform.db.read() as conn:
        found = batch_items.spend_of(conn, row.withdrawal_id)
    assert found is not None
    return found


def attempts_of(house: House, spend: Spend) -> list[Attempt]:
    with house.platform.db.read() as conn:
        return rows.attempts(conn, spend.spend_id)


def free_of(house: House) -> list[Coin]:
    with house.platform.db.read() as conn:
        return means.free_coins(conn, CHAIN, house.own_address(HOT))


def paid_to(house: House, address: str) -> int:
    chain = house.home.chain
    return chain.balance_of(address, NATIVE, chain.head())


def everything_holds(house: House) -> None:
    result = reconcile(house.platform.db, house.home.chain)
    assert result.holds, [line for line in result.lines if line.unexplained]
    with house.platform.db.read() as conn:
        assert audit(conn) == []
    found = equations.check(house.platform, house.storage)
    assert [each for each in found if not each.holds and each.name != "I17"] == []


def test_a_deposit_is_credited_and_a_withdrawal_paid(
    house: House, node: CoreNode, miner: Miner
) -> None:
    funded(house, node, miner, 3 * COIN)
    alice = house.customer("alice")
    assert house.balance(alice, NATIVE) == COIN
    row = approved(house, COIN // 4, OUTSIDE[0])
    settle(house, node, 4)
    done = house.withdrawal(row.withdrawal_id)
    assert done.state is WithdrawalState.CONFIRMED
    assert paid_to(house, OUTSIDE[0]) == COIN // 4
    assert house.balance(alice, NATIVE) == COIN - COIN // 4 - 500
    spend = spend_of(house, row)
    (attempt,) = attempts_of(house, spend)
    told = node.call("getrawtransaction", attempt.tx_id, 2)
    assert spend.fee_paid == round(told["fee"] * COIN)
    assert house.problems == []
    everything_holds(house)


@pytest.mark.parametrize("sweep_minimum", [100_000])
def test_deposits_are_swept_and_officers_see_what_a_payment_does(
    house: House, node: CoreNode, miner: Miner
) -> None:
    miner.pay(house.own_address(HOT), 2 * COIN)
    for number in range(3):
        miner.pay(house.address(house.customer(f"customer {number}")), COIN + number)
    miner.pay(house.address(house.customer("alice")), COIN)
    house.run(1)
    settle(house, node)
    row = approved(house, COIN // 3, OUTSIDE[2])
    shown = rehearsal.rehearse(
        house.platform.db, house.home.chain, row, roster=house.platform.roster,
        now_ns=house.clock.now_ns(),
    )  # fmt: skip
    assert shown.finding is Finding.AS_APPROVED, shown
    settle(house, node, 5)
    with house.platform.db.read() as conn:
        spends = rows.all_of(conn, CHAIN)
    swept = [one for one in spends if one.kind is SpendKind.SWEEP]
    assert [one.state for one in swept] == [SpendState.CONFIRMED]
    assert paid_to(house, house.own_address(HOT)) > 5 * COIN
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    everything_holds(house)


def test_many_withdrawals_are_outputs_of_one_transaction(
    house: House, node: CoreNode, miner: Miner
) -> None:
    funded(house, node, miner, 3 * COIN)
    asked = all_approved(house, 10_000_000, 10_000_001, 10_000_002)
    house.run(1)
    spends = {spend_of(house, row).spend_id for row in asked}
    assert len(spends) == 1
    settle(house, node, 4)
    for row, (n, to) in zip(asked, enumerate(OUTSIDE), strict=True):
        assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
        assert paid_to(house, to) == 10_000_000 + n
    (attempt,) = attempts_of(house, spend_of(house, asked[0]))
    assert len(node.call("getrawtransaction", attempt.tx_id, 1)["vout"]) == 4
    everything_holds(house)


@pytest.mark.parametrize("mined", [0, 1, 2, 3])
def test_of_a_stuck_payment_and_three_bumps_any_one_pays_once(
    house: House, node: CoreNode, miner: Miner, mined: int
) -> None:
    funded(house, node, miner, COIN // 2, COIN // 4)
    row = approved(house, COIN // 2 - 20_000, OUTSIDE[1])
    house.run(1)
    for _ in range(3):
        house.clock.advance(11 * SECOND_NS)
        assert house.step("spending.move") == 1
    spend = spend_of(house, row)
    made = attempts_of(house, spend)
    assert len(made) == 4
    assert node.call("getrawmempool") == [made[3].tx_id]
    node.call("generateblock", MINER, [made[mined].raw.hex()])
    settle(house, node, 4)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert paid_to(house, OUTSIDE[1]) == COIN // 2 - 20_000
    with house.platform.db.read() as conn:
        used = claims.of(conn, spend.spend_id)
    decoded = house.home.chain.decode(made[mined].payload, sender=spend.source)
    assert set(used) == set(decoded.claims(spend.source))
    everything_holds(house)


@pytest.mark.parametrize("again", [0, 1])
def test_a_payment_whose_block_falls_out_is_paid_once_by_whichever_version_comes_next(
    house: House, node: CoreNode, miner: Miner, again: int
) -> None:
    funded(house, node, miner, COIN)
    row = approved(house, COIN // 2, OUTSIDE[0])
    house.run(1)
    house.clock.advance(11 * SECOND_NS)
    house.step("spending.move")
    spend = spend_of(house, row)
    made = attempts_of(house, spend)
    (block,) = [node.call("generateblock", MINER, [made[0].raw.hex()])["hash"]]
    house.run(2)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.BROADCAST
    node.call("invalidateblock", block)
    for number in range(3):
        node.call("generateblock", OUTSIDE[2], [made[again].raw.hex()] if number == 0 else [])
    settle(house, node, 3)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert paid_to(house, OUTSIDE[0]) == COIN // 2
    spent = COIN // 2 + (spend_of(house, row).fee_paid or 0)
    assert sum(coin.amount for coin in free_of(house)) == COIN - spent
    everything_holds(house)


def test_a_coin_of_a_payment_that_somebody_else_with_our_key_spends_freezes_the_chain(
    house: House, node: CoreNode, miner: Miner
) -> None:
    funded(house, node, miner, COIN)
    row = approved(house, COIN // 2, OUTSIDE[0])
    house.run(1)
    spend, chain = spend_of(house, row), house.home.chain
    with house.platform.db.read() as conn:
        held = means.held_by(conn, chain.traits, spend).coins
    stolen = replace(spend.intent, destination=OUTSIDE[1])
    unsigned = chain.build(stolen, nonce=0, rate=FeeRate(50, 50), units=0, coins=held)
    desk = house.platform.signer
    assert isinstance(desk, KeyDesk)
    keys = desk.guards[CHAIN].signer
    (one,) = chain.decode(unsigned.payload, sender=stolen.source).inputs
    signed = chain.assemble(unsigned, keys.sign(KeyRef(HOT, 0), one.digest))
    node.call("generateblock", MINER, [signed.raw.hex()])
    settle(house, node, 3)
    with house.platform.db.read() as conn:
        assert chain_state.state(conn, CHAIN).frozen
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.BROADCAST


def test_a_payment_that_waits_too_long_is_cancelled_by_the_same_coins(
    house: House, node: CoreNode, miner: Miner
) -> None:
    funded(house, node, miner, COIN)
    asked = all_approved(house, *[10_000_000] * 3)
    house.run(1)
    spend = spend_of(house, asked[0])
    house.platform.db.run(lambda conn: rows.abandon(conn, spend, "waited_too_long"))
    house.clock.advance(3 * SECOND_NS)
    house.step("spending.move")
    cancelling = attempts_of(house, spend)[-1]
    assert cancelling.cancels
    assert node.call("getrawmempool") == [cancelling.tx_id]
    settle(house, node, 3)
    ended = spend_of_id(house, spend)
    assert (ended.state, ended.failure) == (SpendState.FAILED, "waited_too_long")
    settle(house, node, 4)
    for row, to in zip(asked, OUTSIDE, strict=True):
        assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
        assert paid_to(house, to) == 10_000_000
    everything_holds(house)


def spend_of_id(house: House, spend: Spend) -> Spend:
    with house.platform.db.read() as conn:
        return rows.get(conn, spend.spend_id)
