"""A client of the API keeps a book that it can check, and a restart takes nothing from it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from core.entropy import SeededEntropy
from engine import tapes
from engine.bookclient import BookClient, BookMismatch
from engine.commands import HaltMarket, RetireMarket
from engine.levels import PriceLevel
from engine.simulated_files import SimulatedStorage
from tests.support.api import Caller, Front, new_order, open_front, problem_of
from tests.support.databases import Databases

BOOK = "/v1/markets/TOK-FAKE/book"


@dataclass(frozen=True)
class Seen:
    """A book or a delta as a client takes it: texts become whole steps, exactly."""

    body: dict[str, Any]
    steps: tuple[str, str]

    @property
    def update(self) -> int:
        return int(self.body["update"])

    @property
    def sequence(self) -> int:
        return int(self.body["sequence"])

    @property
    def previous_sequence(self) -> int:
        return int(self.body["previous_sequence"])

    @property
    def checksum(self) -> int:
        return int(self.body["checksum"])

    @property
    def bids(self) -> list[PriceLevel]:
        return self._levels("bids")

    @property
    def asks(self) -> list[PriceLevel]:
        return self._levels("asks")

    def _levels(self, side: str) -> list[PriceLevel]:
        price_step, quantity_step = map(Decimal, self.steps)
        found = []
        for price, quantity in self.body[side]:
            ticks, lots = Decimal(price) / price_step, Decimal(quantity) / quantity_step
            assert ticks == int(ticks)
            assert lots == int(lots)
            found.append((int(ticks), int(lots)))
        return found


class Reader:
    """Follows one market through the API."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        (market,) = caller.get("/v1/markets").json()["data"]
        self.steps = (market["price_step"], market["quantity_step"])
        self.copy = BookClient(self.book())

    def book(self, **query: int) -> Seen:
        """Return the book now, or as asked."""
        path = BOOK + "?depth=500" + "".join(f"&{name}={n}" for name, n in query.items())
        return Seen(self.caller.get(path).json(), self.steps)

    def deltas(self) -> list[Seen]:
        """Return what is new."""
        answer = self.caller.get(f"{BOOK}/deltas?after={self.copy.update}")
        assert answer.status_code == 200, answer.text
        return [Seen(body, self.steps) for body in answer.json()["data"]]


def trade(front: Front, seller: Caller, buyer: Caller, rounds: int) -> None:
    """Place orders that rest, trade, change and go."""
    for n in range(rounds):
        price = f"0.0{2 + n % 4}"
        resting = seller.post("/v1/orders", new_order(front, side="sell", price=price))
        bid = buyer.post("/v1/orders", new_order(front, price=f"0.00{1 + n % 9}"))
        assert (resting.status_code, bid.status_code) == (201, 201), resting.text
        if n % 3 == 0:
            buyer.ask("DELETE", f"/v1/orders/{bid.json()['order_id']}")
        if n % 2:
            buyer.post("/v1/orders", new_order(front, price="0.05", quantity="0.5"))


def test_a_client_keeps_a_checked_book_and_learns_of_a_gap(databases: Databases) -> None:
    with databases.fresh("sqlite") as url, open_front(url) as front:
        buyer, seller = front.customer("b", FAKE=10**9), front.customer("s", TOK=10**8)
        reader, before = Reader(buyer), BookClient(Reader(buyer).book())
        with front.running():
            trade(front, seller, buyer, 12)
        deltas = reader.deltas()
        assert len(deltas) > 20
        for delta in deltas:
            reader.copy.apply(delta)
            then = reader.book(sequence=delta.sequence)
            assert (list(reader.copy.bids(500)), list(reader.copy.asks(500))) == (
                then.bids, then.asks,
            )  # fmt: skip
            assert (then.update, then.checksum) == (delta.update, delta.checksum)
        now = reader.book()
        assert (now.update, now.checksum) == (reader.copy.update, deltas[-1].checksum)
        first = buyer.get(f"{BOOK}/deltas?after={before.update}&limit=3").json()["data"]
        assert first == [delta.body for delta in deltas[:3]]
        with pytest.raises(BookMismatch, match="gap"):
            before.apply(deltas[1])
        for path in (f"{BOOK}/deltas?after=0", f"{BOOK}/deltas?after={now.update + 1}",
                     f"{BOOK}?sequence={now.sequence + 1}", f"{BOOK}?sequence=0"):  # fmt: skip
            problem_of(buyer.get(path), 404, "not_found")
        problem_of(buyer.get(f"{BOOK}/deltas"), 400, "missing_field")


def test_trades_and_candles_outlive_a_restart_and_a_reader_resyncs(databases: Databases) -> None:
    storage = SimulatedStorage(SeededEntropy(1, "disk"))
    lists = "/v1/markets/TOK-FAKE/trades?limit=100", "/v1/markets/TOK-FAKE/candles"
    with databases.fresh("sqlite") as url:
        with open_front(url, storage=storage) as front:
            buyer, seller = front.customer("b", FAKE=10**9), front.customer("s", TOK=10**8)
            with front.running():
                trade(front, seller, buyer, 7)
            front.house.sequencer.snapshot(storage)
            tapes.keep(storage, front.context.market_data)
            with front.running():
                trade(front, seller, buyer, 4)
            reader, world = Reader(buyer), front.world
            shown = [buyer.get(path).json()["data"] for path in lists]
            front.settle()
            fills = {fill["fill_id"] for fill in buyer.get("/v1/fills").json()["data"]}
            assert {f"fill_{each['trade_id']}" for each in shown[0]} == fills
            assert len(fills) > 3
        with open_front(url, world=world, storage=storage) as front:
            reader.caller = buyer = Caller(front.client, buyer.token)
            assert [buyer.get(path).json()["data"] for path in lists] == shown
            answer = buyer.get(f"{BOOK}/deltas?after={reader.copy.update}")
            problem_of(answer, 404, "not_found")
            reader.copy.begin(reader.book())
            with front.running():
                answer = buyer.post("/v1/orders", new_order(front, price="0.001"))
            (delta,) = reader.deltas()
            reader.copy.apply(delta)
            assert reader.copy.bids(1) == tuple(reader.book().bids[:1])


def test_the_list_of_markets_says_what_a_market_lets_happen(databases: Databases) -> None:
    with databases.fresh("sqlite") as url, open_front(url) as front:
        buyer = front.customer("b", FAKE=10**9)
        market_no = 1
        commands = HaltMarket(market_no=market_no), RetireMarket(market_no=market_no)
        for command, halted, retired in ((None, False, False), (commands[0], True, False),
                                         (commands[1], False, True)):  # fmt: skip
            if command is not None:
                front.house.sequencer.execute([command])
            (market,) = buyer.get("/v1/markets").json()["data"]
            assert (market["halted"], market["retired"]) == (halted, retired)
            assert market["collar_ppm"] == 0
        assert buyer.get(BOOK).json()["bids"] == []
