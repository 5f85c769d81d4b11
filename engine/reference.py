"""The readable engine: the specification a native core is tested against.

Price-time priority. A fill happens at the maker's price. A buy locks quote at its limit, a sell
locks base; what a better price saves is given back with the fill. Fees come out of what is
received, so they need no lock. Of several reasons to refuse, the first in RejectReason is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from core.errors import Corrupt, Reason, Refused
from engine.base import (
    SEQUENCE_LIMIT,
    Balance,
    Depth,
    DumpedImage,
    Limits,
    LiveHold,
    OpenOrder,
    Totals,
)
from engine.commands import (
    AddAsset,
    AddMarket,
    CancelAll,
    CancelOrder,
    Capture,
    Command,
    Credit,
    Debit,
    FundingCommand,
    HaltMarket,
    Hold,
    PlaceOrder,
    Release,
    ReplaceOrder,
    ResumeMarket,
    RetireMarket,
    SetMarketCollar,
    SetMarketFees,
)
from engine.events import Event
from engine.market import Market
from engine.records import pack_event, unpack_commands
from engine.reference_config import (
    add_asset,
    add_market,
    halt_market,
    resume_market,
    retire_market,
    set_market_collar,
    set_market_fees,
)
from engine.reference_dump import dump_state, load_state
from engine.reference_funding import fund
from engine.reference_ids import ClientKey
from engine.reference_matching import cancel_all, cancel_order, place_order, replace_order
from engine.reference_state import State

DEFAULT_LIMITS = Limits()

_VERBS: dict[type, Callable[[State, Any], None]] = {
    AddAsset: add_asset,
    AddMarket: add_market,
    SetMarketFees: set_market_fees,
    HaltMarket: halt_market,
    ResumeMarket: resume_market,
    RetireMarket: retire_market,
    SetMarketCollar: set_market_collar,
    PlaceOrder: place_order,
    CancelOrder: cancel_order,
    CancelAll: cancel_all,
    ReplaceOrder: replace_order,
    Credit: fund,
    Debit: fund,
    Hold: fund,
    Capture: fund,
    Release: fund,
}


class ReferenceEngine:
    """Implements `engine.base.Engine`, one thread at a time."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._state = State(limits)

    # ---- the state machine

    @property
    def sequence(self) -> int:
        """Return the sequence of the last applied command; 0 when new."""
        return self._state.sequence

    @property
    def time_ns(self) -> int:
        """Return the block time of the last applied command."""
        return self._state.time_ns

    @property
    def funding_number(self) -> int:
        """Return the last funding number that was used up; 0 when new."""
        return self._state.funding_number

    @property
    def limits(self) -> Limits:
        """Return the limits this engine was made with."""
        return self._state.limits

    def apply(self, command: Command, *, sequence: int, time_ns: int) -> list[Event]:
        """Apply one command and return what it caused, in order.

        User input never raises. Corrupt: a gap in sequence or funding numbers, time going back,
        something that is no command: none of these can come out of our own journal.
        """
        state = self._state
        self._check_follows(sequence, time_ns)
        verb = _VERBS.get(type(command))
        if verb is None:
            raise Corrupt(f"{type(command).__name__} is no command")
        state.sequence, state.time_ns, state.events = sequence, time_ns, []
        state.client_ids.forget_before(time_ns)
        verb(state, command)
        assert state.events, "every command is answered"
        return state.events

    def has_room(self, commands: int) -> bool:
        """Return True: this engine's memory is the interpreter's, which cannot be asked."""
        return commands >= 0

    def check_records(self, records: bytes, *, first_sequence: int, time_ns: int) -> None:
        """Return when apply_records would take these records. Corrupt: it would not."""
        self._checked(records, first_sequence=first_sequence, time_ns=time_ns)

    def _checked(self, records: bytes, *, first_sequence: int, time_ns: int) -> list[Command]:
        commands = unpack_commands(records)
        self._check_follows(first_sequence, time_ns)
        if first_sequence + len(commands) > SEQUENCE_LIMIT:
            raise Corrupt(f"{len(commands)} commands after {self.sequence} pass the last sequence")
        number = self.funding_number
        for command in commands:
            if isinstance(command, FundingCommand):
                if command.number > number + 1:
                    raise Corrupt(f"funding number {command.number} follows {number}")
                number = max(number, command.number)
        return commands

    def _check_follows(self, sequence: int, time_ns: int) -> None:
        state = self._state
        if sequence != state.sequence + 1 or sequence >= SEQUENCE_LIMIT:
            raise Corrupt(f"sequence {sequence} follows {state.sequence}")
        if time_ns < state.time_ns:
            raise Corrupt(f"journal time goes back from {state.time_ns} to {time_ns}")

    def apply_records(self, records: bytes, *, first_sequence: int, time_ns: int) -> bytes:
        """Apply the command records of one block; return the event records, in order.

        Corrupt: as for apply, or bytes that are no commands; none was applied then.
        """
        commands = self._checked(records, first_sequence=first_sequence, time_ns=time_ns)
        return b"".join(
            pack_event(event)
            for sequence, command in enumerate(commands, first_sequence)
            for event in self.apply(command, sequence=sequence, time_ns=time_ns)
        )

    def copy_image(self) -> DumpedImage:
        """Return a copy of the state as it stands, which lives on while the engine goes on."""
        return DumpedImage(self.dump())

    def dump(self) -> bytes:
        """Return the whole state in its one canonical form."""
        return dump_state(self._state)

    @classmethod
    def load(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> ReferenceEngine:
        """Return the engine of a dump. Corrupt: cut short, damaged, or made under other limits."""
        engine = cls(limits)
        engine._state = load_state(data, limits)
        return engine

    def state_hash(self) -> bytes:
        """Return SHA-256 of dump()."""
        return hashlib.sha256(self.dump()).digest()

    # ---- questions

    def assets(self) -> tuple[int, ...]:
        """Return the known asset numbers, ascending."""
        return tuple(sorted(self._state.balances.assets))

    def markets(self) -> Mapping[int, Market]:
        """Return the markets by number."""
        return MappingProxyType(dict(sorted(self._state.markets.items())))

    def customers(self) -> tuple[int, ...]:
        """Return every customer with a balance, ascending."""
        return tuple(sorted({customer for customer, _, _ in self._state.balances.rows()}))

    def balances(self, customer_no: int) -> dict[int, Balance]:
        """Return a customer's balances by asset number, zeros left out."""
        return self._state.balances.of_customer(customer_no)

    def totals(self, asset_no: int) -> Totals:
        """Return the sums of an asset over all customers. Refused: unknown_asset."""
        if asset_no not in self._state.balances.assets:
            raise Refused(Reason.UNKNOWN_ASSET, f"asset {asset_no}")
        return self._state.balances.totals(asset_no)

    def open_orders(self, customer_no: int) -> list[OpenOrder]:
        """Return a customer's open orders in order of acceptance."""
        state = self._state
        return [state.orders[order_id].view() for order_id in state.open_order_ids(customer_no)]

    def all_open_orders(self) -> list[OpenOrder]:
        """Return every open order in order of acceptance."""
        return [order.view() for _, order in sorted(self._state.orders.items())]

    def order(self, order_id: int) -> OpenOrder | None:
        """Return an open order; None once it is closed."""
        order = self._state.orders.get(order_id)
        return order.view() if order else None

    def order_id_of(self, *, customer_no: int, client_order_id: int) -> int | None:
        """Return the order accepted under a client id, while that is remembered."""
        known = self._state.client_ids.find(ClientKey(customer_no, client_order_id))
        return known.order_id if known else None

    def depth(self, market_no: int, levels: int) -> Depth:
        """Return the best levels of a market. Refused: unknown_market."""
        book = self._state.books.get(market_no)
        if book is None:
            raise Refused(Reason.UNKNOWN_MARKET, f"market {market_no}")
        return Depth(
            market_no=market_no,
            sequence=self._state.sequence,
            bids=book.bids.levels(levels),
            asks=book.asks.levels(levels),
        )

    def live_holds(self) -> list[LiveHold]:
        """Return the holds not yet captured or released, by number."""
        return [hold for _, hold in sorted(self._state.holds.items())]
