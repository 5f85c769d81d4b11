"""The canonical form of an engine's state: a header and sections of fixed rows, little-endian.

Sections, in order: assets, markets, balances by (customer, asset), orders as they stand in the
books (market, bids then asks, best first, oldest first), holds by number, client ids of closed
orders by time of closing, client ids of open orders by order id, freed slots (the last is given out
first). A row has 64 bytes, a slot 4. Nothing depends on the order of a dictionary.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from core.errors import Corrupt
from engine.base import Limits

MAGIC = b"SRSTATE2"
ROW_BYTES = 64

_HEADER = struct.Struct("<8sQqQI4x4Q8Q")
HEADER_BYTES = _HEADER.size
ASSET = struct.Struct("<H6x16s16s24x")
"""Number, supply, fees."""
MARKET = struct.Struct("<HHHBxII16s16sI4xq")
"""Number, base, quote, status, maker ppm, taker ppm, tick, lot, collar ppm, last price."""
BALANCE = struct.Struct("<IH2x16s16s16s8x")
"""Customer, asset, available, locked, held."""
ORDER = struct.Struct("<QIHBBqqqq16s")
"""Order id, customer, market, side, post only | stp << 1, price, quantity, filled, remaining,
client order id."""
HOLD = struct.Struct("<QIH2x16s32x")
"""Number, customer, asset, amount."""
CLIENT_ID = struct.Struct("<IHBBQqqq16s8x")
"""Customer, market, side | kind << 2 | tif << 4, post only | stp << 1, order id, price, quantity,
time of closing (open: 0), client order id."""
SLOT = struct.Struct("<I")


class Header(NamedTuple):
    """What stands before the rows."""

    sequence: int
    time_ns: int
    funding_number: int
    slot_top: int
    counts: Sequence[int]
    """Rows of each section."""


def wide(value: int) -> bytes:
    """Return a 128-bit number as bytes."""
    return value.to_bytes(16, "little")


def narrow(data: bytes) -> int:
    """Return the number of 16 bytes."""
    return int.from_bytes(data, "little")


def pack_state(
    limits: Limits,
    *,
    sequence: int,
    time_ns: int,
    funding_number: int,
    slot_top: int,
    sections: Sequence[Sequence[bytes]],
) -> bytes:
    """Return the dump of these sections of rows."""
    header = _HEADER.pack(
        MAGIC,
        sequence,
        time_ns,
        funding_number,
        slot_top,
        *_limits(limits),
        *map(len, sections),
    )
    return header + b"".join(b"".join(rows) for rows in sections)


def unpack_header(data: bytes, limits: Limits) -> Header:
    """Return the header. Corrupt: not a dump, cut short, or made under other limits."""
    if len(data) < HEADER_BYTES:
        raise Corrupt("state dump is shorter than its header")
    magic, sequence, time_ns, funding_number, slot_top, *rest = _HEADER.unpack_from(data)
    limits_of_dump, counts = tuple(rest[:4]), rest[4:]
    if magic != MAGIC:
        raise Corrupt("not a state dump of this version")
    if limits_of_dump != _limits(limits):
        raise Corrupt(f"state dumped under limits {limits_of_dump}")
    if len(data) != HEADER_BYTES + ROW_BYTES * sum(counts[:-1]) + SLOT.size * counts[-1]:
        raise Corrupt("state dump has the wrong length")
    if counts[3] != counts[6] or counts[7] + counts[6] != slot_top:
        raise Corrupt("state dump counts its orders in two ways")
    return Header(sequence, time_ns, funding_number, slot_top, counts)


def _limits(limits: Limits) -> tuple[int, ...]:
    return (
        limits.open_orders,
        limits.open_orders_per_customer,
        limits.remembered_orders,
        limits.levels_per_side,
    )
