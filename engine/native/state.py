"""The state of the native core as it lies in memory, read entry by entry.

An engine and a copy of its state are read the same way. The layouts are those of the structs in
engine/native/*.hpp: an order and a price level are a node of 48 bytes, everything else but for its
end is a row of a dump. Entry 0 of each kind is nothing.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from engine import state_rows
from engine.base import Limits
from engine.native._core import MARKET_BYTES
from engine.state_rows import ROW_BYTES, SLOT

ALL = 1 << 40
_NODE = struct.Struct("<QqIIIIIIII")
_LEVEL = struct.Struct("<q8xIII20x")
_LOTS_AND_RECORD = struct.Struct("<q20xI")
_RECORD = struct.Struct("<IHBB8xqqq16sq")
_CUSTOMER = struct.Struct("<III")
_NO_MONEY = bytes(48)


class Kind(enum.IntEnum):
    """What is read."""

    ASSET = 0
    MARKET = 1
    ACCOUNT = 2
    ORDER = 3
    LEVEL = 4
    RECORD = 5
    HOLD = 6
    CUSTOMER = 7


class Readable(Protocol):
    """An engine, or a copy of its state."""

    @property
    def counters(self) -> tuple[int, int, int, int, int, int]:
        """Return sequence, time, funding number, first level, freed slot, first closed record."""
        ...

    def read(self, kind: int, first: int, count: int, /) -> bytes:
        """Return so many entries, or as many as there are."""
        ...


class Node(NamedTuple):
    """An open order in its queue and among its customer's orders; id 0: not open."""

    order_id: int
    lots: int
    prev: int
    next: int
    level: int
    given: int
    received: int
    record: int
    older: int
    newer: int


class Level(NamedTuple):
    """A price: minus itself for bids, so that the smallest key is the best."""

    key: int
    newest: int
    oldest: int
    tag: int

    @property
    def price(self) -> int:
        """Return ticks."""
        return self.key if self.tag & 1 else -self.key


def node(of: Readable, index: int) -> Node:
    """Return an order."""
    return Node._make(_NODE.unpack(of.read(Kind.ORDER, index, 1)))


def level(of: Readable, index: int) -> Level:
    """Return a price level."""
    key, newest, oldest, tag = _LEVEL.unpack(of.read(Kind.LEVEL, index, 1))
    return Level(key, newest, oldest, tag)


def order_row(of: Readable, index: int) -> bytes:
    """Return an open order as a row of a dump."""
    order = node(of, index)
    record = of.read(Kind.RECORD, order.record, 1)
    return _order_row(order.order_id, order.lots, level(of, order.level).price, record, 0)


def _order_row(order_id: int, lots: int, price: int, records: bytes, at: int) -> bytes:
    customer, market, options, flags, _, _, decremented, client, total = _RECORD.unpack_from(
        records, at
    )
    filled = total - lots - decremented
    return state_rows.ORDER.pack(
        order_id, customer, market, options & 3, flags, price, total, filled, lots, client
    )


def entries(of: Readable, kind: Kind) -> Iterator[bytes]:
    """Yield the beginning of each entry, as long as a row."""
    data = of.read(kind, 0, ALL)
    for at in range(0, len(data), MARKET_BYTES if kind is Kind.MARKET else ROW_BYTES):
        yield data[at : at + ROW_BYTES]


def assets(of: Readable) -> list[bytes]:
    """Return the rows of the known assets by number."""
    return [row[:40] + bytes(24) for row in entries(of, Kind.ASSET) if row[40]]


def markets(of: Readable) -> list[bytes]:
    """Return the rows of the markets by number."""
    return [row for row in entries(of, Kind.MARKET) if any(row[16:32])]


def balances(accounts: Iterator[bytes]) -> list[bytes]:
    """Return the rows of those accounts that are not empty, by customer and asset."""
    full = [row[:56] + bytes(8) for row in accounts if row[8:56] != _NO_MONEY]
    return sorted(full, key=lambda row: row[3::-1] + row[5:3:-1])


def holds(of: Readable) -> list[bytes]:
    """Return the rows of the live holds by number."""
    live = [row[:32] + bytes(32) for row in entries(of, Kind.HOLD) if any(row[:8])]
    return sorted(live, key=lambda row: row[7::-1])


def open_indexes(of: Readable) -> list[int]:
    """Return where open orders are."""
    found = _NODE.iter_unpack(of.read(Kind.ORDER, 0, ALL))
    return [index for index, order in enumerate(found) if order[0]]


def depth(of: Readable, index: int) -> tuple[int, int, int]:
    """Return price, lots and number of orders of a level."""
    at, lots, count = level(of, index), 0, 0
    order = at.oldest
    while order != index:
        found = node(of, order)
        lots, count, order = lots + found.lots, count + 1, found.next
    return at.price, lots, count


class Customer(NamedTuple):
    """Where a customer's orders and accounts begin."""

    open_orders: int
    newest_order: int
    accounts: int


def customer(of: Readable, number: int) -> Customer:
    """Return a customer; of an unknown one everything is 0."""
    entry = of.read(Kind.CUSTOMER, number, 1) if 0 <= number < 1 << 32 else b""
    return Customer(*_CUSTOMER.unpack_from(entry or bytes(12)))


@dataclass(frozen=True, slots=True)
class NativeImage:
    """A copy of the state, to be dumped while the engine goes on."""

    of: Readable
    limits: Limits

    def dump(self) -> bytes:
        """Return the state in its one canonical form."""
        return _Dump(self.of).whole(self.limits)


class _Dump:
    def __init__(self, of: Readable) -> None:
        self.of = of
        counters = of.counters
        self.sequence, self.time_ns, self.number = counters[:3]
        self.first_level, self.free, self.closed = counters[3:]
        self.nodes = of.read(Kind.ORDER, 0, ALL)
        self.levels = of.read(Kind.LEVEL, 0, ALL)
        self.records = of.read(Kind.RECORD, 0, ALL)
        self.words = memoryview(self.nodes).cast("I")
        self.ids = memoryview(self.nodes).cast("Q")

    def whole(self, limits: Limits) -> bytes:
        indexes = [n for n in range(1, len(self.nodes) // _NODE.size) if self.ids[n * 6]]
        return state_rows.pack_state(
            limits,
            sequence=self.sequence,
            time_ns=self.time_ns,
            funding_number=self.number,
            slot_top=len(self.nodes) // _NODE.size - 1,
            sections=[
                assets(self.of),
                markets(self.of),
                balances(entries(self.of, Kind.ACCOUNT)),
                list(self._orders(indexes)),
                holds(self.of),
                list(self._closed_clients()),
                list(self._open_clients(indexes)),
                self._slots(),
            ],
        )

    def _orders(self, indexes: list[int]) -> Iterator[bytes]:
        words = self.words
        for _, _, index, price in sorted(
            self._level(index) for index in {words[index * 12 + 6] for index in indexes}
        ):
            at = self._oldest(index)
            while at != index:
                lots, record = _LOTS_AND_RECORD.unpack_from(self.nodes, at * 48 + 8)
                yield _order_row(self.ids[at * 6], lots, price, self.records, record * ROW_BYTES)
                at = words[at * 12 + 5]

    def _level(self, index: int) -> tuple[int, int, int, int]:
        key, _, _, tag = _LEVEL.unpack_from(self.levels, (index - self.first_level) * 48)
        return tag, key, index, key if tag & 1 else -key

    def _oldest(self, index: int) -> int:
        return int(SLOT.unpack_from(self.levels, (index - self.first_level) * 48 + 20)[0])

    def _closed_clients(self) -> Iterator[bytes]:
        index, records = self.closed, self.records
        end = bytes(8)
        while index:
            at = index * ROW_BYTES
            yield records[at : at + 56] + end
            (index,) = SLOT.unpack_from(records, at + 56)

    def _open_clients(self, indexes: list[int]) -> Iterator[bytes]:
        end = bytes(8)
        for index in sorted(indexes, key=lambda n: self.ids[n * 6]):
            at = self.words[index * 12 + 9] * ROW_BYTES
            yield self.records[at : at + 32] + end + self.records[at + 40 : at + 56] + end

    def _slots(self) -> list[bytes]:
        found, index = [], self.free
        while index:
            found.append(SLOT.pack(index - 1))
            index = self.words[index * 12 + 5]
        return found[::-1]
