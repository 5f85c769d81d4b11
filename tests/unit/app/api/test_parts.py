"""The parts of the API that need no house: statuses, units, JSON, buckets, the matrix."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

from app.api import problems, strict_json, units
from app.api.app import ROUTERS
from app.api.limiter import Limiter
from app.api.roles import PUBLIC, ROLES
from app.api.units import MarketUnits
from chains.base import AssetSpec
from core.clock import SECOND_NS, ManualClock
from core.errors import Reason, Refused
from core.ids import AssetNo, ChainId, MarketNo
from custody.access import Role
from custody.catalogue import Asset, MarketRow


def listed(number: int, scale: int) -> Asset:
    return Asset(AssetNo(number), AssetSpec(ChainId("c"), f"k{number}", "S", scale, 0, 0, 0, 0))


def market(*, base: int = 18, quote: int = 6, tick: int = 1, lot: int = 10**14) -> MarketUnits:
    row = MarketRow(MarketNo(1), "A-B", AssetNo(1), AssetNo(2), tick, lot, 0, 0)
    return MarketUnits.of(row, listed(1, base), listed(2, quote))


def reason_of(call: object, *arguments: object) -> Reason:
    with pytest.raises(Refused) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.reason


def test_every_reason_has_one_status_and_all_but_one_blame_the_caller() -> None:
    assert set(problems.STATUS) == set(Reason)
    ours = {reason for reason, status in problems.STATUS.items() if status >= 500}
    assert ours == {Reason.BAD_ATTESTATION}
    assert all(400 <= status <= 500 for status in problems.STATUS.values())
    assert not set(problems.OWN_CODES) & {reason.value for reason in Reason}


def test_every_route_is_in_the_matrix_and_the_matrix_holds_nothing_else() -> None:
    routes = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert routes == set(ROLES)
    public = {path for (_, path), roles in ROLES.items() if roles == PUBLIC}
    assert public == {"/livez", "/readyz", "/metrics", "/v1/time"}


def test_only_officers_approve_and_only_customers_move_their_money() -> None:
    assert ROLES["POST", "/v1/withdrawals/{withdrawal_id}/approvals"] == {Role.OFFICER}
    for path in ("/v1/withdrawals", "/v1/orders", "/v1/deposit-addresses"):
        assert ROLES["POST", path] == {Role.CUSTOMER}
    changing = [roles for (method, _), roles in ROLES.items() if method != "GET"]
    assert all(Role.AUDITOR not in roles for roles in changing)


@pytest.mark.parametrize(
    ("price", "ticks"),
    [("0.01", 1), ("0.02", 2), ("1", 100), ("1.10", 110), ("92233720368547758.07", (1 << 63) - 1)],
)
def test_a_price_becomes_exactly_its_ticks(price: str, ticks: int) -> None:
    made = market()
    assert made.price(1) == "0.01"
    assert made.ticks(price) == ticks


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("0", Reason.INVALID_PRICE),
        ("0.001", Reason.MALFORMED_AMOUNT),
        ("92233720368547758.08", Reason.AMOUNT_OUT_OF_RANGE),
        ("1e3", Reason.MALFORMED_AMOUNT),
        ("-1", Reason.MALFORMED_AMOUNT),
    ],
)
def test_a_price_off_the_grid_is_refused(price: str, reason: Reason) -> None:
    assert reason_of(market().ticks, price) is reason


def test_a_tick_of_five_cents_refuses_what_lies_between() -> None:
    made = market(tick=5)
    assert made.price(1) == "0.05"
    assert made.ticks("0.15") == 3
    assert reason_of(made.ticks, "0.12") is Reason.INVALID_PRICE


def test_quantities_are_multiples_of_a_lot() -> None:
    made = market()
    assert made.lots("1.2345") == 12_345
    assert reason_of(made.lots, "0.00005") is Reason.INVALID_QUANTITY
    assert reason_of(made.lots, "1.00005") is Reason.INVALID_QUANTITY
    assert reason_of(made.lots, "0") is Reason.INVALID_QUANTITY
    assert reason_of(made.lots, "0." + "0" * 18 + "1") is Reason.MALFORMED_AMOUNT


def test_a_tick_without_a_decimal_spelling_is_not_listed() -> None:
    with pytest.raises(ValueError, match="no decimal"):
        market(lot=3)


@given(
    ticks=st.integers(1, 1 << 62),
    scales=st.tuples(st.integers(0, 18), st.integers(0, 18)),
    tick=st.integers(1, 10**9),
    lot_zeros=st.integers(0, 18),
)
def test_prices_and_quantities_survive_the_way_there_and_back(
    ticks: int, scales: tuple[int, int], tick: int, lot_zeros: int
) -> None:
    made = market(base=scales[0], quote=scales[1], tick=tick, lot=10**lot_zeros)
    if made.price_scale <= 30:
        assert made.ticks(made.price(ticks)) == ticks
    assert made.lots(made.quantity(ticks)) == ticks


@given(st.integers(0, (1 << 62)))
def test_times_survive_the_way_there_and_back(time_ns: int) -> None:
    assert units.parse_instant(units.instant(time_ns)) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00:00+00:00",
        "2026-02-30T12:00:00Z", "1969-12-31T23:59:59Z", "２026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.1234567890Z", "2026-01-31 12:00:00Z", "2026-01-31T24:00:00Z",
    ],
)  # fmt: skip
def test_other_spellings_of_a_time_are_refused(text: str) -> None:
    assert reason_of(units.parse_instant, text) is Reason.MALFORMED


def test_a_client_order_id_is_128_bits_however_it_is_hyphenated() -> None:
    plain = "00112233445566778899aabbccddeeff"
    hyphened = "00112233-4455-6677-8899-aabbccddeeff"
    assert units.parse_client_order_id(plain) == units.parse_client_order_id(hyphened)
    assert units.client_order_id(units.parse_client_order_id(plain)) == plain
    for other in ("", "1", plain.upper(), plain + "0", hyphened[:-1], "g" * 32):
        assert reason_of(units.parse_client_order_id, other) is Reason.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'{"a":1', b"[]", b"1", b'"a"', b"null", b'{"a":1}x', b'{"a":1,}',
        b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b'{"a":NaN}', b'{"a":Infinity}',
        b'{"a":-Infinity}', b'\xff{"a":1}', b'{"a":"\\ud800"}', b'{"a":"\n"}', b"{'a':1}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a":' + b"9" * 5_000 + b"}",
        b'{"a":"\\u12"}', b'\xef\xbb\xbf{"a":1}',
    ],
)  # fmt: skip
def test_what_is_not_one_clean_object_is_malformed(body: bytes) -> None:
    assert reason_of(strict_json.parse_object, body) is Reason.MALFORMED


def test_brackets_inside_texts_are_no_depth() -> None:
    text = "[" * 1_000
    assert strict_json.parse_object(b'{"a": "' + text.encode() + b'\\""}') == {"a": text + '"'}


def test_a_bucket_gives_its_burst_then_its_rate_and_forgets_the_oldest_name() -> None:
    clock = ManualClock()
    limiter = Limiter(clock, per_s=2, burst=3, buckets_max=2)
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, SECOND_NS // 2]
    assert limiter.take("b") == 0
    clock.advance(SECOND_NS // 2)
    assert [limiter.take("a"), limiter.take("a") > 0] == [0, True]
    for name in ("c", "d"):
        assert limiter.take(name) == 0
    assert limiter.take("a") == 0
