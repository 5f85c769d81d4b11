"""What a second reader found in the native core, each as a fact."""

from __future__ import annotations

import threading

from engine.commands import AddAsset, Command, Credit, PlaceOrder
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce
from engine.native.engine import NativeEngine
from engine.records import RECORD_BYTES, pack_command
from tests.unit.engine.world import ALICE, BASE, QUOTE, START_NS, market


def test_every_market_there_can_be_leaves_room_for_orders_and_for_the_process() -> None:
    """Linux lets a process have 65 530 pieces of address space, and both sides were pieces once."""
    engine = NativeEngine()

    def apply(commands: list[Command]) -> int:
        records = b"".join(map(pack_command, commands))
        answer = engine.apply_records(records, first_sequence=engine.sequence + 1, time_ns=START_NS)
        return len(answer) // RECORD_BYTES

    apply([AddAsset(asset_no=BASE), AddAsset(asset_no=QUOTE)])
    apply([Credit(number=1, customer_no=ALICE, asset_no=BASE, amount=10**6)])
    sample = pack_command(market())
    every = b"".join(
        sample[:2] + number.to_bytes(2, "little") + sample[4:] for number in range(1, 1 << 16)
    )
    engine.apply_records(every, first_sequence=engine.sequence + 1, time_ns=START_NS)
    assert len(engine.markets()) == (1 << 16) - 1
    assert engine.has_room(1 << 16)
    orders: list[Command] = [
        PlaceOrder(
            customer_no=ALICE,
            client_order_id=number,
            market_no=number * 16,
            side=Side.SELL,
            kind=OrderKind.LIMIT,
            tif=TimeInForce.GTC,
            price_ticks=number,
            quantity_lots=1,
            issued_ns=START_NS,
            post_only=False,
            stp=SelfTrade.CANCEL_NEWEST,
        )
        for number in range(1, 4096)
    ]
    assert apply(orders) == 4095
    thread = threading.Thread(target=engine.dump)
    thread.start()
    thread.join()
    assert engine.has_room(1 << 16)


def test_an_engine_that_was_loaded_makes_room_for_what_comes_after() -> None:
    """The room that its rows had taken was once counted as free, and new accounts fell outside."""
    engine, half = NativeEngine(), 50_000
    credit = pack_command(Credit(number=1, customer_no=1, asset_no=BASE, amount=1))

    def enter(engine: NativeEngine, numbers: range) -> None:
        number = engine.funding_number
        records = b"".join(
            credit[:4] + n.to_bytes(4, "little") + (number + k).to_bytes(8, "little") + credit[16:]
            for k, n in enumerate(numbers, 1)
        )
        engine.apply_records(records, first_sequence=engine.sequence + 1, time_ns=START_NS)

    asset = pack_command(AddAsset(asset_no=BASE))
    engine.apply_records(asset, first_sequence=1, time_ns=START_NS)
    enter(engine, range(1, half + 1))
    loaded = NativeEngine.load(engine.dump())
    for first in range(half + 1, 2 * half, 1_000):
        enter(loaded, range(first, first + 1_000))
    assert loaded.customers() == tuple(range(1, 2 * half + 1))
