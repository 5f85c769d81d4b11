"""python -m tests.benchmarks.engine_memory orders|markets: what resting orders take; JSON.

`orders`: half a million in one market at 300 prices, as w1 spreads them. `markets`: a hundred
thousand over a thousand markets. Customers and their balances are there before.
"""

from __future__ import annotations

import gc
import json
import struct
import sys

from engine.enums import CommandKind, EventKind, OrderKind, SelfTrade, Side, TimeInForce
from engine.laboratory.draws import Draws
from engine.laboratory.machine import resident_bytes
from engine.laboratory.workloads import NOW_NS
from engine.native.engine import NativeEngine
from engine.records import RECORD_BYTES, RECORD_VERSION, pack_command
from engine.types import AddAsset, AddMarket, Credit

CUSTOMERS, BATCH, PRICES, MID = 1_000, 1024, 300, 20_000
SIZES = {"orders": (1, 500_000), "markets": (1_000, 100_000)}
_PLACE = struct.Struct("<BBHIQQqqqBBBBB11x")


def _opening(markets: int) -> bytes:
    return b"".join(
        [
            *(pack_command(AddAsset(asset_no=no)) for no in (1, 2)),
            *(pack_command(_market(no)) for no in range(1, markets + 1)),
            *(pack_command(_credit(number)) for number in range(1, 2 * CUSTOMERS + 1)),
        ]
    )


def _market(no: int) -> AddMarket:
    return AddMarket(
        market_no=no, base_asset_no=2, quote_asset_no=1, tick_minor=1, lot_minor=1,
        maker_ppm=200, taker_ppm=500,
    )  # fmt: skip


def _credit(number: int) -> Credit:
    customer_no, asset_no = (number - 1) // 2 + 1, number % 2 + 1
    return Credit(number=number, customer_no=customer_no, asset_no=asset_no, amount=1 << 60)


def _orders(markets: int, orders: int) -> bytes:
    draws, records = Draws(1), bytearray()
    for number in range(orders):
        sells = bool(number & 1)
        away = 1 + draws.below(PRICES // 2)
        records += _PLACE.pack(
            CommandKind.PLACE_ORDER, RECORD_VERSION, number % markets + 1,
            number % CUSTOMERS + 1, number + 1, draws.next(), MID + away if sells else MID - away,
            1 + draws.below(100), NOW_NS, Side.SELL if sells else Side.BUY, OrderKind.LIMIT,
            TimeInForce.GTC, 0, SelfTrade.CANCEL_NEWEST,
        )  # fmt: skip
    return bytes(records)


def _apply(engine: NativeEngine, records: bytes, wanted: EventKind | None) -> None:
    step = BATCH * RECORD_BYTES
    for at in range(0, len(records), step):
        events = engine.apply_records(
            records[at : at + step], first_sequence=engine.sequence + 1, time_ns=NOW_NS
        )
        assert wanted is None or set(events[::RECORD_BYTES]) == {wanted}


def main(what: str) -> None:
    """Measure and write JSON."""
    markets, orders = SIZES[what]
    opening, placed = _opening(markets), _orders(markets, orders)
    gc.collect()
    before = resident_bytes()
    engine = NativeEngine()
    _apply(engine, opening, None)
    opened = resident_bytes()
    _apply(engine, placed, EventKind.ORDER_ACCEPTED)
    filled = resident_bytes()
    levels = sum(
        len(side)
        for no in engine.markets()
        for side in (engine.depth(no, PRICES).bids, engine.depth(no, PRICES).asks)
    )
    found = {
        "markets": markets,
        "orders": orders,
        "levels": levels,
        "orders_bytes": filled - opened,
        "engine_bytes": filled - before,
        "process_bytes": filled - len(placed) - len(opening),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
