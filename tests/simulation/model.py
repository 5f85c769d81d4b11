"""The books as they must be, told by the chain and the journal alone.

It shares no code with custody: deposits are what is final on the fake chain, withdrawals are what
arrived at the destinations that customers chose (each is used once), trades are what the durable
journal says when it is replayed. What the platform keeps aside as dust is the only thing taken from
its own word, and it is bounded here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from chains.base import Payment
from chains.fake import FakeWorld
from engine.types import Event, Side, Trade

TOO_LARGE = 1 << 96


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One withdrawal as its customer knows it."""

    customer_no: int
    asset_no: int
    destination: str
    amount: int
    fee: int


@dataclass(frozen=True, slots=True)
class Prices:
    """The units of the one market and its asset numbers."""

    base_no: int
    quote_no: int
    tick_minor: int
    lot_minor: int


def arrived(
    world: FakeWorld, owners: Mapping[str, int], listed: Mapping[str, int], own: Collection[str]
) -> list[tuple[int, int, Payment]]:
    """Return (customer, asset number, payment) of everything final that a customer is owed."""
    return [
        (owners[paid.to_address], listed[paid.asset_key], paid)
        for paid in world.final_payments_to(owners)
        if paid.asset_key in listed
        and paid.from_address not in own
        and paid.anomaly != "unexplained_balance"
        and 0 < paid.amount < TOO_LARGE
    ]


def paid_to(world: FakeWorld, destination: str) -> list[Payment]:
    """Return every final payment to one destination."""
    return world.final_payments_to({destination})


def expected(
    world: FakeWorld,
    *,
    owners: Mapping[str, int],
    listed: Mapping[str, int],
    own: Collection[str],
    outgoing: Sequence[Outgoing],
    events: Sequence[Event],
    prices: Prices,
) -> dict[tuple[int, int], int]:
    """Return what each (customer, asset number) must have, dust included."""
    owed: dict[tuple[int, int], int] = defaultdict(int)
    for customer_no, asset_no, paid in arrived(world, owners, listed, own):
        owed[customer_no, asset_no] += paid.amount
    for out in outgoing:
        if paid_to(world, out.destination):
            owed[out.customer_no, out.asset_no] -= out.amount + out.fee
    for event in events:
        if isinstance(event, Trade):
            _trade(owed, event, prices)
    return owed


def _trade(owed: dict[tuple[int, int], int], trade: Trade, prices: Prices) -> None:
    base = trade.quantity_lots * prices.lot_minor
    quote = trade.quantity_lots * trade.price_ticks * prices.tick_minor
    taker, maker = trade.taker_customer_no, trade.maker_customer_no
    taker_gets, maker_gets = (prices.base_no, base), (prices.quote_no, quote)
    if trade.taker_side is Side.SELL:
        taker_gets, maker_gets = maker_gets, taker_gets
    for giver, receiver, (asset_no, amount), ppm in (
        (maker, taker, taker_gets, trade.taker_ppm),
        (taker, maker, maker_gets, trade.maker_ppm),
    ):
        fee = (amount * ppm + 999_999) // 1_000_000
        owed[giver, asset_no] -= amount
        owed[receiver, asset_no] += amount - fee
