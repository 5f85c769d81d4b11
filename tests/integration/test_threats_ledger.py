"""The engine and the books through crashes and full disks, with money from a real chain: L07."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from chains.base import NATIVE
from core.errors import Unavailable
from core.ids import AssetNo, MarketNo
from custody import settlement
from custody.catalogue import MarketRow
from custody.deposit_rows import DepositState
from custody.withdrawals.states import WithdrawalState
from engine.simulated_files import SimulatedStorage
from engine.types import CancelOrder, OrderAccepted, PlaceOrder, Side
from infra.devnet.deploy import Contract
from tests.support.disks import fill_disk
from tests.support.evm import ETHER, listed, minted
from tests.support.threats import OUTSIDE, Customer, Scene, Stage, reopened

LOT = 10**12
MARKET = MarketRow(
    MarketNo(0), "ETH-DEMO", AssetNo(1), AssetNo(2), tick_minor=1, lot_minor=LOT,
    maker_ppm=1_000, taker_ppm=2_000,
)  # fmt: skip


class Crash(Exception):
    """The machine stops here."""


def order(
    scene: Scene, customer: Customer, side: Side, number: int, *, price: int, lots: int
) -> PlaceOrder:
    return PlaceOrder(
        customer_no=customer.number, client_order_id=number, market_no=1, side=side,
        price_ticks=price, quantity_lots=lots, issued_ns=scene.house.clock.now_ns(),
    )  # fmt: skip


def engine_balances(scene: Scene, *customers: Customer) -> list[dict[int, tuple[int, int, int]]]:
    """Return what the engine holds of each customer: available, locked and held by asset."""
    with scene.house.sequencer.reading() as engine:
        return [
            {asset: (held.available, held.locked, held.held)
             for asset, held in engine.balances(customer.number).items()}
            for customer in customers
        ]  # fmt: skip


def disk(scene: Scene) -> SimulatedStorage:
    assert isinstance(scene.house.storage, SimulatedStorage)
    return scene.house.storage


def traders(
    stage: Stage, token: Contract, database: str = "sqlite"
) -> tuple[Scene, list[Customer]]:
    """Return a market with a seller of native coin and a buyer with tokens."""
    scene = stage(listed(token.address), markets=[MARKET], database=database)
    scene.fund_wallets()
    alice, bob = scene.customer("alice"), scene.customer("bob")
    stage.contracts.pay(alice.address, ETHER)
    token.send("transfer", bob.address, 500_000)
    scene.go()
    return scene, [alice, bob]


def again(stage: Stage, scene: Scene, token: Contract) -> Scene:
    return reopened(stage, scene, listed(token.address), markets=[MARKET])


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_L07_after_a_power_cut_the_books_equal_the_engine_again(
    stage: Stage, database: str
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene, (alice, bob) = traders(stage, token, database)
    waiting = scene.approved(alice, 1_000)
    execute = scene.house.sequencer.execute
    # Acknowledged, and not one of them in the books: resting, crossing, cancelled.
    execute([order(scene, alice, Side.SELL, 1, price=2, lots=1_000)])
    execute([order(scene, bob, Side.BUY, 2, price=2, lots=400)])
    (placed,) = execute([order(scene, bob, Side.BUY, 3, price=1, lots=700)])
    execute([order(scene, alice, Side.SELL, 4, price=9, lots=50)])
    accepted = placed[0]
    assert isinstance(accepted, OrderAccepted)
    execute([CancelOrder(customer_no=bob.number, order_id=accepted.order_id)])
    before = engine_balances(scene, alice, bob)
    with scene.house.platform.db.read() as conn:
        behind = settlement.position(conn).sequence
    assert scene.house.sequencer.position.sequence - behind == 5, "the control: the books lag"
    disk(scene).crash()
    scene = again(stage, scene, token)
    assert engine_balances(scene, alice, bob) == before
    scene.go()
    assert scene.withdrawal(waiting).state is WithdrawalState.CONFIRMED
    assert scene.credited(bob) == 400 * LOT - 400 * LOT * 2_000 // 10**6
    assert scene.credited(alice, token.address) == 800 - 1
    scene.assert_equations_hold()


@pytest.mark.parametrize("operation", ["append", "sync"])
def test_L07_a_crash_while_a_block_is_written_leaves_books_and_engine_equal(
    stage: Stage, operation: str
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene, (alice, bob) = traders(stage, token)
    scene.house.sequencer.execute([order(scene, alice, Side.SELL, 1, price=2, lots=1_000)])
    stage.contracts.pay(alice.address, 7_000)
    stage.node.mine(3)
    crashes = []

    def stop(at: str, name: str) -> None:
        if at == operation:
            crashes.append(name)
            raise Crash(name)

    for number in range(4):
        disk(scene).before_operation = stop
        with pytest.raises(Crash):
            scene.house.sequencer.execute(
                [order(scene, bob, Side.BUY, 10 + number, price=2, lots=10)]
            )
        disk(scene).before_operation = None
        disk(scene).crash()
        scene = again(stage, scene, token)
        scene.run(1)
    assert len(crashes) == 4
    scene.go()
    # A command that was never answered may have happened or not; never twice and never by half.
    bought = scene.credited(bob) * 10**6 // (10**6 - 2_000) // LOT
    assert bought % 10 == 0
    assert 0 <= bought <= 40
    assert scene.credited(alice) == ETHER + 7_000 - bought * LOT
    scene.assert_equations_hold()


def test_a_full_journal_disk_refuses_everything_does_nothing_by_half_and_resumes(
    stage: Stage,
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene, (alice, bob) = traders(stage, token)
    before = engine_balances(scene, alice, bob)
    fill_disk(disk(scene), scene.house.sequencer)
    with pytest.raises(Unavailable, match="no space left"):
        scene.house.sequencer.execute([order(scene, alice, Side.SELL, 1, price=2, lots=1_000)])
    asked = scene.house.withdraw(alice.number, NATIVE, ETHER // 2, OUTSIDE)
    stage.contracts.pay(alice.address, 7_000)
    stage.node.mine(3)
    scene.run(3, bear=True)
    assert [e for e in scene.refused if "no space left" in str(e)], "the control"
    assert engine_balances(scene, alice, bob) == before
    assert scene.withdrawal(asked.withdrawal_id).state is WithdrawalState.REQUESTED
    assert [d.state for d in scene.deposits(alice)] == [DepositState.CREDITED, DepositState.FINAL]
    assert scene.broken_equations() == []
    disk(scene).capacity_bytes = None
    scene.run(2)
    assert scene.withdrawal(asked.withdrawal_id).state is WithdrawalState.HELD
    assert scene.credited(alice) == ETHER // 2 + 7_000
    scene.house.approve(asked.withdrawal_id)
    scene.assert_equations_hold()
    assert scene.withdrawal(asked.withdrawal_id).state is WithdrawalState.CONFIRMED


def limit_pages(scene: Scene, spare: int) -> None:
    """Let the database file grow by at most so many pages, as a full disk would."""
    with scene.house.platform.db.transaction() as conn:
        pages = conn.execute(sa.text("PRAGMA page_count")).scalar_one()
        conn.execute(sa.text(f"PRAGMA max_page_count = {pages + spare}"))


def fill_with_customers(scene: Scene) -> None:
    for number in range(2_000):
        scene.house.customer(f"customer {number}")


def test_a_full_database_disk_is_unavailable_leaves_nothing_half_done_and_resumes(
    stage: Stage,
) -> None:
    scene = stage()
    alice = scene.funded()
    paid = 0
    limit_pages(scene, 0)
    for _ in range(8):
        for _ in range(8):
            stage.contracts.pay(alice.address, 1_000)
            paid += 1_000
        scene.run(1, bear=True)
        if scene.refused:
            break
    assert any("database" in str(error) for error in scene.refused), "the control: it is full"
    with pytest.raises(Unavailable, match="not writable"):
        fill_with_customers(scene)
    assert scene.broken_equations() == []
    limit_pages(scene, 1 << 30)
    withdrawal_id = scene.approved(alice, ETHER)
    scene.go()
    assert scene.credited(alice) == 2 * ETHER + paid
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    scene.assert_equations_hold()
