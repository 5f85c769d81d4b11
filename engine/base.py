"""The seam: what an engine is to the sequencer, to settlement and to the API.

`engine.reference` is the readable specification; a native core stands behind the same verbs. Both
give identical events and identical `state_hash()` for the same commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from core.clock import DAY_NS, SECOND_NS
from engine.commands import Command
from engine.enums import SelfTrade, Side
from engine.events import Event
from engine.market import Market

ISSUE_AGE_LIMIT_NS = DAY_NS
"""An order issued longer ago than this is refused."""
ISSUE_LEAD_LIMIT_NS = 60 * SECOND_NS
"""An order issued further ahead of journal time than this is refused."""
REMEMBER_NS = ISSUE_AGE_LIMIT_NS + ISSUE_LEAD_LIMIT_NS
"""A closed order's client id is remembered for this long. The lead is included: an order issued
ahead of the journal stays young for that much longer, and must not outlive the memory of itself."""

SLOT_BITS = 24
SEQUENCE_LIMIT = 1 << (64 - SLOT_BITS)
"""An order id is sequence << 24 | slot, so a native core finds the order without a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Nothing grows without a bound. Part of the rules: a replay needs the same limits."""

    open_orders: int = 1 << SLOT_BITS
    open_orders_per_customer: int = 1 << 14
    remembered_orders: int = 1 << 24
    """Open orders and those closed in the last 24 h, whose client ids are remembered."""
    levels_per_side: int = 1 << 20
    """Prices at which one side of a market has orders."""


class Balance(NamedTuple):
    """Minor units of one asset: free to use, locked by open orders, held for withdrawals."""

    available: int
    locked: int
    held: int


class Totals(NamedTuple):
    """One asset over all customers; supply = credits - debits - captures = all others together."""

    available: int
    locked: int
    held: int
    fees: int
    supply: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order in the book. Lots neither filled nor remaining went by self-trade decrement."""

    order_id: int
    customer_no: int
    client_order_id: int
    market_no: int
    side: Side
    price_ticks: int
    quantity_lots: int
    filled_lots: int
    remaining_lots: int
    post_only: bool
    stp: SelfTrade


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveHold:
    """Money held under a funding number until it is captured or released."""

    number: int
    customer_no: int
    asset_no: int
    amount: int


class Level(NamedTuple):
    """One price of a book."""

    price_ticks: int
    quantity_lots: int
    orders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The best levels of a market, best first, at an engine sequence."""

    market_no: int
    sequence: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class StateImage(Protocol):
    """The state of an engine at one sequence, apart from the engine."""

    def dump(self) -> bytes:
        """Return what the engine's own dump() would have given; on any thread."""
        ...


@dataclass(frozen=True, slots=True)
class DumpedImage:
    """The image of an engine that can copy itself in no quicker way than by dumping."""

    data: bytes

    def dump(self) -> bytes:
        """Return the dump."""
        return self.data


class Engine(Protocol):
    """A deterministic state machine: no clock, no randomness, no files."""

    @property
    def sequence(self) -> int:
        """Return the sequence of the last applied command; 0 when new."""
        ...

    @property
    def time_ns(self) -> int:
        """Return the block time of the last applied command."""
        ...

    @property
    def funding_number(self) -> int:
        """Return the last funding number that was used up; 0 when new."""
        ...

    def apply(self, command: Command, *, sequence: int, time_ns: int) -> list[Event]:
        """Apply one command. User input never raises; Corrupt: a gap in sequence or numbers."""
        ...

    def has_room(self, commands: int) -> bool:
        """Return whether memory for so many commands more is there, whatever they cause.

        Of this process alone, no part of the rules: ask before commands are made durable, because
        afterwards they must be applied.
        """
        ...

    def check_records(self, records: bytes, *, first_sequence: int, time_ns: int) -> None:
        """Return when apply_records would take these records, and change nothing.

        Corrupt: it would not. Whoever has records from elsewhere asks before they are journalled.
        """
        ...

    def apply_records(self, records: bytes, *, first_sequence: int, time_ns: int) -> bytes:
        """Apply the command records of one block; return the event records, in order.

        Each event carries the sequence of its command. Corrupt: as for apply, or bytes that are no
        commands; none was applied then.
        """
        ...

    def copy_image(self) -> StateImage:
        """Return a copy of the state as it stands, which lives on while the engine goes on."""
        ...

    def dump(self) -> bytes:
        """Return the whole state in its one canonical form."""
        ...

    def state_hash(self) -> bytes:
        """Return SHA-256 of dump()."""
        ...

    def assets(self) -> tuple[int, ...]:
        """Return the known asset numbers, ascending."""
        ...

    def markets(self) -> Mapping[int, Market]:
        """Return the markets by number."""
        ...

    def balances(self, customer_no: int) -> dict[int, Balance]:
        """Return a customer's balances by asset number, zeros left out."""
        ...

    def customers(self) -> tuple[int, ...]:
        """Return every customer with a balance, ascending."""
        ...

    def totals(self, asset_no: int) -> Totals:
        """Return the sums of an asset over all customers."""
        ...

    def open_orders(self, customer_no: int) -> list[OpenOrder]:
        """Return a customer's open orders in order of acceptance."""
        ...

    def order(self, order_id: int) -> OpenOrder | None:
        """Return an open order."""
        ...

    def order_id_of(self, *, customer_no: int, client_order_id: int) -> int | None:
        """Return the order accepted under a remembered client id."""
        ...

    def depth(self, market_no: int, levels: int) -> Depth:
        """Return the best levels of a market. Refused: unknown_market."""
        ...

    def live_holds(self) -> list[LiveHold]:
        """Return the holds not yet captured or released, by number."""
        ...
