"""Fixed 64-byte little-endian records: the same bytes for journal, replay and a native core.

Version 1. Every record begins: kind u8 @0, version u8 @1, market or asset u16 @2, customer u32 @4.
Command bodies start at 8, event bodies at 16 after the sequence u64 @8; the layouts below are the
whole documentation. u128 is unsigned, low byte first; an amount in one is below 2^96. Bytes not
named are zero.

    PlaceOrder   client_order_id u128 @8, price i64 @24, quantity i64 @32, issued i64 @40,
                 side u8 @48, kind u8 @49, tif u8 @50, post_only u8 @51, stp u8 @52
    Credit …     number u64 @8, amount u128 @16, hold_number u64 @32
    Trade        taker order u64 @16, maker order u64 @24, price i64 @32, quantity i64 @40,
                 maker customer u32 @48, taker ppm u32 @52, maker ppm u32 @56, taker side u8 @60
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Mapping
from operator import attrgetter, itemgetter
from typing import Any

from core.errors import Corrupt, Reason, Refused
from core.money import ENGINE_AMOUNT_LIMIT
from engine import commands, events
from engine.commands import Command
from engine.enums import (
    CancelReason,
    CommandKind,
    EventKind,
    OrderKind,
    RejectReason,
    SelfTrade,
    Side,
    TimeInForce,
)
from engine.events import Event

RECORD_BYTES = 64
RECORD_VERSION = 1

_CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q", "id": "16s", "amount": "16s"}
Members = Mapping[int, object]


def _members(of: type[enum.IntEnum]) -> Members:
    return {int(member): member for member in of}


_BOOL: Members = {0: False, 1: True}
_MEMBERS: dict[str, Members] = {
    "side": _members(Side),
    "taker_side": _members(Side),
    "kind": _members(OrderKind),
    "tif": _members(TimeInForce),
    "stp": _members(SelfTrade),
    "post_only": _BOOL,
    "kept_priority": _BOOL,
    "command": _members(CommandKind),
}
_REJECT = {"reason": _members(RejectReason)}
_CANCEL = {"reason": _members(CancelReason)}


def _parse(item: str) -> tuple[str, str, int]:
    name, code, at = item.replace("@", ":").split(":")
    return name, code, int(at)


class Layout:
    """Where the fields of one kind of record stand; packs and unpacks it."""

    def __init__(
        self,
        kind: int,
        cls: type,
        spec: str,
        members: dict[str, Members] | None = None,
    ) -> None:
        self.kind = kind
        self.cls = cls
        self.offsets: dict[str, tuple[int, str]] = {}
        end, code_text = 2, "<BB"
        names: list[str] = []
        for name, code, at in sorted(map(_parse, spec.split()), key=itemgetter(2)):
            code_text += f"{at - end}x{_CODES[code]}"
            end = at + struct.calcsize("<" + _CODES[code])
            names.append(name)
            self.offsets[name] = (at, code)
        self._struct = struct.Struct(f"{code_text}{RECORD_BYTES - end}x")
        assert self._struct.size == RECORD_BYTES
        self._names = tuple(names)
        self._get: Callable[[object], Any] = attrgetter(*names, names[0])
        self._wide = tuple(
            (index, code == "amount")
            for index, (_, code) in enumerate(self.offsets.values())
            if _CODES[code] == "16s"
        )
        known = _MEMBERS | (members or {})
        self._members = tuple((i, known[name]) for i, name in enumerate(names) if name in known)

    def pack(self, value: object) -> bytes:
        """Return 64 bytes.

        Refused: amount_out_of_range when a field does not fit its width; malformed: no such member.
        """
        fields = list(self._get(value))
        fields.pop()
        for index, members in self._members:
            if fields[index] not in members:
                raise Refused(Reason.MALFORMED, f"{self.cls.__name__}: no member {fields[index]}")
        try:
            for index, is_amount in self._wide:
                number = fields[index]
                if is_amount and number >= ENGINE_AMOUNT_LIMIT:
                    raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "an amount is below 2^96")
                fields[index] = number.to_bytes(16, "little")
            return self._struct.pack(self.kind, RECORD_VERSION, *fields)
        except (struct.error, OverflowError) as error:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"{self.cls.__name__}: {error}") from None

    def unpack(self, record: bytes | memoryview) -> Any:
        """Return the value. Corrupt: other version, number outside its enum, amount >= 2^96."""
        _, version, *fields = self._struct.unpack(record)
        if version != RECORD_VERSION:
            raise Corrupt(f"record version {version}, this program knows {RECORD_VERSION}")
        for index, is_amount in self._wide:
            number = int.from_bytes(fields[index], "little")
            if is_amount and number >= ENGINE_AMOUNT_LIMIT:
                raise Corrupt(f"{self.cls.__name__} record with an amount of 2^96 or more")
            fields[index] = number
        try:
            for index, members in self._members:
                fields[index] = members[fields[index]]
        except KeyError as error:
            raise Corrupt(f"{self.cls.__name__} record: no member {error}") from None
        return self.cls(**dict(zip(self._names, fields, strict=True)))


_MARKET = (
    "market_no:u16@2 base_asset_no:u16@{0} quote_asset_no:u16@{1} "
    "maker_ppm:u32@{2} taker_ppm:u32@{3} tick_minor:amount@{4} lot_minor:amount@{5}"
)
_FUNDING = "asset_no:u16@2 customer_no:u32@4 number:u64@8 amount:amount@16"
_OF_HOLD = f"{_FUNDING} hold_number:u64@32"

COMMAND_LAYOUTS = (
    Layout(CommandKind.ADD_ASSET, commands.AddAsset, "asset_no:u16@2"),
    Layout(CommandKind.ADD_MARKET, commands.AddMarket, _MARKET.format(8, 10, 12, 16, 24, 40)),
    Layout(
        CommandKind.SET_MARKET_FEES,
        commands.SetMarketFees,
        "market_no:u16@2 maker_ppm:u32@12 taker_ppm:u32@16",
    ),
    Layout(CommandKind.HALT_MARKET, commands.HaltMarket, "market_no:u16@2"),
    Layout(CommandKind.RESUME_MARKET, commands.ResumeMarket, "market_no:u16@2"),
    Layout(CommandKind.RETIRE_MARKET, commands.RetireMarket, "market_no:u16@2"),
    Layout(
        CommandKind.SET_MARKET_COLLAR,
        commands.SetMarketCollar,
        "market_no:u16@2 collar_ppm:u32@16 reference_ticks:i64@24",
    ),
    Layout(
        CommandKind.PLACE_ORDER,
        commands.PlaceOrder,
        "market_no:u16@2 customer_no:u32@4 client_order_id:id@8 price_ticks:i64@24 "
        "quantity_lots:i64@32 issued_ns:i64@40 side:u8@48 kind:u8@49 tif:u8@50 "
        "post_only:u8@51 stp:u8@52",
    ),
    Layout(CommandKind.CANCEL_ORDER, commands.CancelOrder, "customer_no:u32@4 order_id:u64@8"),
    Layout(CommandKind.CANCEL_ALL, commands.CancelAll, "market_no:u16@2 customer_no:u32@4"),
    Layout(
        CommandKind.REPLACE_ORDER,
        commands.ReplaceOrder,
        "customer_no:u32@4 order_id:u64@8 price_ticks:i64@24 quantity_lots:i64@32",
    ),
    Layout(CommandKind.CREDIT, commands.Credit, _FUNDING),
    Layout(CommandKind.DEBIT, commands.Debit, _FUNDING),
    Layout(CommandKind.HOLD, commands.Hold, _FUNDING),
    Layout(CommandKind.CAPTURE, commands.Capture, _OF_HOLD),
    Layout(CommandKind.RELEASE, commands.Release, _OF_HOLD),
)

_ORDER = "market_no:u16@2 customer_no:u32@4 sequence:u64@8 order_id:u64@16"
_FUNDED = "asset_no:u16@2 customer_no:u32@4 sequence:u64@8 number:u64@16"
_AMOUNT = f"{_FUNDED} amount:amount@32"

EVENT_LAYOUTS = (
    Layout(EventKind.ASSET_ADDED, events.AssetAdded, "asset_no:u16@2 sequence:u64@8"),
    Layout(
        EventKind.MARKET_ADDED,
        events.MarketAdded,
        "sequence:u64@8 " + _MARKET.format(16, 18, 20, 24, 32, 48),
    ),
    Layout(
        EventKind.MARKET_FEES_SET,
        events.MarketFeesSet,
        "market_no:u16@2 sequence:u64@8 maker_ppm:u32@20 taker_ppm:u32@24",
    ),
    Layout(EventKind.MARKET_HALTED, events.MarketHalted, "market_no:u16@2 sequence:u64@8"),
    Layout(EventKind.MARKET_RESUMED, events.MarketResumed, "market_no:u16@2 sequence:u64@8"),
    Layout(EventKind.MARKET_RETIRED, events.MarketRetired, "market_no:u16@2 sequence:u64@8"),
    Layout(
        EventKind.MARKET_COLLAR_SET,
        events.MarketCollarSet,
        "market_no:u16@2 sequence:u64@8 collar_ppm:u32@20 reference_ticks:i64@24",
    ),
    Layout(
        EventKind.CONFIG_REFUSED,
        events.ConfigRefused,
        "subject_no:u16@2 sequence:u64@8 reason:u16@16 command:u8@18",
        _REJECT,
    ),
    Layout(
        EventKind.ORDER_ACCEPTED,
        events.OrderAccepted,
        f"{_ORDER} client_order_id:id@24 price_ticks:i64@40 quantity_lots:i64@48 side:u8@56 "
        "kind:u8@57 tif:u8@58 post_only:u8@59 stp:u8@60",
    ),
    Layout(
        EventKind.ORDER_REJECTED,
        events.OrderRejected,
        f"{_ORDER} client_order_id:id@24 reason:u16@40 command:u8@42",
        _REJECT,
    ),
    Layout(EventKind.ORDER_DUPLICATE, events.OrderDuplicate, f"{_ORDER} client_order_id:id@24"),
    Layout(
        EventKind.TRADE,
        events.Trade,
        "market_no:u16@2 taker_customer_no:u32@4 sequence:u64@8 taker_order_id:u64@16 "
        "maker_order_id:u64@24 price_ticks:i64@32 quantity_lots:i64@40 maker_customer_no:u32@48 "
        "taker_ppm:u32@52 maker_ppm:u32@56 taker_side:u8@60",
    ),
    Layout(
        EventKind.ORDER_REDUCED,
        events.OrderReduced,
        f"{_ORDER} reduced_lots:i64@24 remaining_lots:i64@32",
    ),
    Layout(
        EventKind.ORDER_REPLACED,
        events.OrderReplaced,
        f"{_ORDER} price_ticks:i64@24 quantity_lots:i64@32 remaining_lots:i64@40 "
        "kept_priority:u8@48",
    ),
    Layout(EventKind.ORDER_FILLED, events.OrderFilled, _ORDER),
    Layout(
        EventKind.ORDER_CANCELLED,
        events.OrderCancelled,
        f"{_ORDER} cancelled_lots:i64@24 reason:u16@32",
        _CANCEL,
    ),
    Layout(
        EventKind.ORDERS_CANCELLED,
        events.OrdersCancelled,
        "market_no:u16@2 customer_no:u32@4 sequence:u64@8 count:u32@16",
    ),
    Layout(EventKind.CREDITED, events.Credited, _AMOUNT),
    Layout(
        EventKind.DEBITED, events.Debited, f"{_FUNDED} amount_taken:amount@32 shortfall:amount@48"
    ),
    Layout(EventKind.HELD, events.Held, _AMOUNT),
    Layout(EventKind.CAPTURED, events.Captured, f"{_FUNDED} hold_number:u64@24 amount:amount@32"),
    Layout(EventKind.RELEASED, events.Released, f"{_FUNDED} hold_number:u64@24 amount:amount@32"),
    Layout(
        EventKind.FUNDING_REFUSED,
        events.FundingRefused,
        f"{_FUNDED} hold_number:u64@24 amount:amount@32 reason:u16@48 command:u8@50",
        _REJECT,
    ),
    Layout(EventKind.FUNDING_REPEATED, events.FundingRepeated, _FUNDED),
)

_COMMAND_BY_KIND = {layout.kind: layout for layout in COMMAND_LAYOUTS}
_COMMAND_BY_TYPE = {layout.cls: layout for layout in COMMAND_LAYOUTS}
_EVENT_BY_KIND = {layout.kind: layout for layout in EVENT_LAYOUTS}
_EVENT_BY_TYPE = {layout.cls: layout for layout in EVENT_LAYOUTS}


def command_kind(command: Command) -> CommandKind:
    """Return the number a command is journalled under."""
    return CommandKind(_COMMAND_BY_TYPE[type(command)].kind)


def pack_command(command: Command) -> bytes:
    """Return the 64-byte record. Refused: amount_out_of_range when a field does not fit."""
    return _COMMAND_BY_TYPE[type(command)].pack(command)


def unpack_command(record: bytes | memoryview) -> Command:
    """Return the command of a record. Corrupt: not a command record this program knows."""
    command: Command = _find(_COMMAND_BY_KIND, record).unpack(record)
    return command


def unpack_commands(records: bytes) -> list[Command]:
    """Return the commands of records standing one after another. Corrupt: see unpack_command."""
    view = memoryview(records)
    starts = range(0, len(records), RECORD_BYTES)
    return [unpack_command(view[at : at + RECORD_BYTES]) for at in starts]


def pack_event(event: Event) -> bytes:
    """Return the 64-byte record. Refused: amount_out_of_range when a field does not fit."""
    return _EVENT_BY_TYPE[type(event)].pack(event)


def unpack_event(record: bytes | memoryview) -> Event:
    """Return the event of a record. Corrupt: not an event record this program knows."""
    event: Event = _find(_EVENT_BY_KIND, record).unpack(record)
    return event


def _find(layouts: dict[int, Layout], record: bytes | memoryview) -> Layout:
    if len(record) != RECORD_BYTES:
        raise Corrupt(f"a record of {len(record)} bytes instead of {RECORD_BYTES}")
    layout = layouts.get(record[0])
    if layout is None:
        raise Corrupt(f"unknown record kind {record[0]}")
    return layout


def unpack_events(records: bytes) -> list[Event]:
    """Return the events of records standing one after another. Corrupt: see unpack_event."""
    view = memoryview(records)
    starts = range(0, len(records), RECORD_BYTES)
    return [unpack_event(view[at : at + RECORD_BYTES]) for at in starts]
