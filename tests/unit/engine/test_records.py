"""The 64-byte records: what is packed comes back, and what is not one is refused."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Corrupt, Reason, Refused
from engine.commands import AddAsset, Capture, Credit, PlaceOrder
from engine.enums import CancelReason, RejectReason, Side
from engine.events import Trade
from engine.records import (
    COMMAND_LAYOUTS,
    EVENT_LAYOUTS,
    RECORD_BYTES,
    RECORD_VERSION,
    Layout,
    command_kind,
    pack_command,
    pack_event,
    unpack_command,
    unpack_event,
)

LIMITS = {
    "u8": 1 << 8,
    "u16": 1 << 16,
    "u32": 1 << 32,
    "u64": 1 << 64,
    "id": 1 << 128,
    "amount": 1 << 96,
}
ORDER = PlaceOrder(
    customer_no=0x01020304,
    client_order_id=0x1112131415161718191A1B1C1D1E1F20,
    market_no=0x0506,
    side=Side.SELL,
    price_ticks=0x2122232425262728,
    quantity_lots=0x3132333435363738,
    issued_ns=0x4142434445464748,
)


def values(layout: Layout, members: dict[str, list[object]]) -> st.SearchStrategy[object]:
    """Return a strategy for values of one kind, edges of every width included."""
    fields: dict[str, st.SearchStrategy[object]] = {}
    for name, (_, code) in layout.offsets.items():
        if name in members:
            fields[name] = st.sampled_from(members[name])
        elif code == "i64":
            fields[name] = st.integers(-(1 << 63), (1 << 63) - 1)
        else:
            limit = LIMITS[code]
            fields[name] = st.integers(0, limit - 1) | st.just(limit - 1)
    return st.builds(layout.cls, **fields)


def members_of(layout: Layout) -> dict[str, list[object]]:
    """Return the fields that hold members of an enum, with the members."""
    names = list(layout.offsets)
    return {names[index]: list(members.values()) for index, members in layout._members}


@pytest.mark.parametrize("layout", COMMAND_LAYOUTS, ids=lambda layout: layout.cls.__name__)
def test_every_command_comes_back(layout: Layout) -> None:
    @given(values(layout, members_of(layout)))
    def check(command: object) -> None:
        record = pack_command(command)  # type: ignore[arg-type]
        assert len(record) == RECORD_BYTES
        assert record[:2] == bytes([layout.kind, RECORD_VERSION])
        assert unpack_command(record) == command

    check()


@pytest.mark.parametrize("layout", EVENT_LAYOUTS, ids=lambda layout: layout.cls.__name__)
def test_every_event_comes_back(layout: Layout) -> None:
    @given(values(layout, members_of(layout)))
    def check(event: object) -> None:
        record = pack_event(event)  # type: ignore[arg-type]
        assert len(record) == RECORD_BYTES
        assert record[:2] == bytes([layout.kind, RECORD_VERSION])
        assert unpack_event(record) == event

    check()


@pytest.mark.parametrize("layouts", [COMMAND_LAYOUTS, EVENT_LAYOUTS])
def test_every_kind_has_one_number_and_every_field_a_place(layouts: tuple[Layout, ...]) -> None:
    assert len({layout.kind for layout in layouts}) == len(layouts)
    for layout in layouts:
        assert set(layout.offsets) == {f.name for f in dataclasses.fields(layout.cls)}


def test_the_layout_of_an_order_is_the_documented_one() -> None:
    assert pack_command(ORDER).hex() == (
        "1001" "0605" "04030201"
        "201f1e1d1c1b1a191817161514131211"
        "2827262524232221" "3837363534333231" "4847464544434241"
        "02" "01" "01" "00" "01" "000000" "0000000000000000"
    )  # fmt: skip


def test_the_layout_of_a_capture_and_a_trade_is_the_documented_one() -> None:
    capture = Capture(number=7, hold_number=5, customer_no=3, asset_no=2, amount=(1 << 96) - 1)
    assert pack_command(capture).hex() == (
        "2301" "0200" "03000000" "0700000000000000"
        "ffffffffffffffffffffffff00000000" "0500000000000000"
    ).ljust(128, "0")  # fmt: skip
    trade = Trade(
        sequence=1,
        market_no=2,
        taker_order_id=3,
        maker_order_id=4,
        taker_customer_no=5,
        maker_customer_no=6,
        taker_side=Side.BUY,
        price_ticks=7,
        quantity_lots=8,
        taker_ppm=9,
        maker_ppm=10,
    )
    words = [1, 3, 4, 7, 8]
    assert pack_event(trade).hex() == (
        "1301" "0200" "05000000"
        + "".join(word.to_bytes(8, "little").hex() for word in words)
        + "06000000" "09000000" "0a000000" "01000000"
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        dataclasses.replace(ORDER, customer_no=1 << 32),
        dataclasses.replace(ORDER, customer_no=-1),
        dataclasses.replace(ORDER, market_no=1 << 16),
        dataclasses.replace(ORDER, client_order_id=1 << 128),
        dataclasses.replace(ORDER, client_order_id=-1),
        dataclasses.replace(ORDER, price_ticks=1 << 63),
        dataclasses.replace(ORDER, quantity_lots=-(1 << 63) - 1),
        Credit(number=1 << 64, customer_no=1, asset_no=1, amount=1),
        Credit(number=1, customer_no=1, asset_no=1, amount=1 << 96),
        Credit(number=1, customer_no=1, asset_no=1, amount=-1),
    ],
)
def test_a_field_that_does_not_fit_is_refused_before_it_is_journalled(
    command: PlaceOrder | Credit,
) -> None:
    with pytest.raises(Refused) as refused:
        pack_command(command)
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


def damaged(record: bytes, offset: int, value: int) -> bytes:
    """Return the record with one byte set."""
    return record[:offset] + bytes([value]) + record[offset + 1 :]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        bytes(RECORD_BYTES),
        pack_command(ORDER)[:-1],
        pack_command(ORDER) + b"\0",
        damaged(pack_command(ORDER), 0, 15),
        damaged(pack_command(ORDER), 1, 2),
        damaged(pack_command(ORDER), 48, 3),
        damaged(pack_command(ORDER), 51, 2),
        damaged(pack_command(Credit(number=1, customer_no=1, asset_no=1, amount=1)), 28, 1),
    ],
)
def test_bytes_that_are_no_command_are_corrupt(record: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack_command(record)


def test_bytes_that_are_no_event_are_corrupt() -> None:
    with pytest.raises(Corrupt):
        unpack_event(bytes(RECORD_BYTES))
    with pytest.raises(Corrupt):
        unpack_event(b"\xff" * RECORD_BYTES)


def test_every_reject_reason_is_a_published_reason_and_they_stand_in_its_order() -> None:
    published = list(Reason)
    places = [published.index(reason.reason) for reason in RejectReason]
    assert places == sorted(places)
    assert list(RejectReason) == sorted(RejectReason)


def test_numbers_once_given_stay() -> None:
    assert {r.name: r.value for r in CancelReason} == {
        "REQUESTED": 1,
        "UNFILLED": 2,
        "SELF_TRADE": 3,
        "DEBIT": 4,
        "MARKET_RETIRED": 5,
    }
    assert RejectReason.EXCEEDS_AVAILABLE.value == 250
    assert RejectReason.DUPLICATE_OTHER_CONTENT.value == 40
    assert command_kind(AddAsset(asset_no=1)) == 1
    assert command_kind(ORDER) == 16
