"""N06 and BIP-125: what is paid stays between floor and cap, whatever nodes say."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import FeeRate
from chains.bitcoin import fees
from chains.bitcoin.sizes import virtual_size
from core.errors import Reason, Refused
from tests.support.bitcoin import PARAMS

BOUNDS = replace(PARAMS, fee_floor=2, fee_cap=300)
JSON = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.lists(st.integers(), max_size=6)
)  # fmt: skip


def rate_for(expected: list[int | None], paid: list[int | None], **more: list[int | None]) -> int:
    """Return the planned rate."""
    rate = fees.plan_rate(expected, paid, BOUNDS, **more)
    assert rate.tip_rate == rate.max_rate
    return rate.max_rate


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        ({"feerate": 0.00004, "blocks": 6}, 4),
        ({"feerate": 0.00004001, "blocks": 6}, 5),
        ({"feerate": Decimal("0.00004001"), "blocks": 6}, 5),
        ({"feerate": Decimal("nan"), "blocks": 6}, None),
        ({"feerate": "0.00012345", "blocks": 6}, 13),
        ({"feerate": 1, "blocks": 6}, 100_000),
        ({"errors": ["Insufficient data or no feerate found"], "blocks": 0}, None),
        ({"feerate": None}, None),
        ({"feerate": 0}, None),
        ({"feerate": -1}, None),
        ({"feerate": -0.00001}, None),
        ({"feerate": True}, None),
        ({"feerate": "many"}, None),
        ({"feerate": 10**6}, None),
        ({"feerate": math.inf}, None),
        ({"feerate": math.nan}, None),
        (None, None),
        (-1, None),
        ([], None),
    ],
)
def test_N06_an_estimate_is_a_rate_or_nothing(answer: object, rate: int | None) -> None:
    assert fees.smart_rate(answer) == rate


@pytest.mark.parametrize(
    ("expected", "paid", "rate"),
    [
        ([], [], 2),
        ([None], [None], 2),
        ([0], [None], 2),
        ([1], [1], 2),
        ([10], [], 10),
        ([], [12], 12),
        ([10], [12], 12),
        ([12], [10], 12),
        ([5, 7, 10**9], [6], 7),
        ([10**9], [10], 10),
        ([10], [10**9], 10),
        ([10**9], [10**9], 300),
        ([10**9], [], 300),
        ([40], [10], 40),
        ([41], [10], 10),
    ],
)
def test_N06_two_estimators_are_weighed_and_bounded(
    expected: list[int | None], paid: list[int | None], rate: int
) -> None:
    assert rate_for(expected, paid) == rate


def test_N06_the_pools_least_lifts_the_rate_within_the_cap() -> None:
    assert rate_for([3], [3], least=[8]) == 8
    assert rate_for([], [], least=[10**9]) == 300
    assert rate_for([9], [9], least=[None]) == 9


@given(
    answers=st.lists(st.fixed_dictionaries({"feerate": JSON}) | JSON, max_size=5),
    stats=st.lists(st.fixed_dictionaries({"feerate_percentiles": JSON}) | JSON, max_size=8),
)
def test_N06_no_answer_leads_out_of_the_bounds(answers: list[object], stats: list[object]) -> None:
    rate = rate_for([fees.smart_rate(one) for one in answers], [fees.paid_rate(stats)])
    assert BOUNDS.fee_floor <= rate <= BOUNDS.fee_cap


def test_what_blocks_were_paid_is_the_median_of_their_medians() -> None:
    blocks = [{"feerate_percentiles": [1, 2, middle, 90, 400]} for middle in (3, 50, 7)]
    assert fees.paid_rate(blocks) == 7
    empty = {"feerate_percentiles": [0, 0, 0, 0, 0]}
    assert fees.paid_rate([empty, *blocks[:1], empty]) == 3
    assert fees.paid_rate([empty, {"feerate_percentiles": [1, 2]}, None, 5]) is None


@given(
    current=st.integers(1, 10_000),
    wanted=st.integers(1, 10_000),
    inputs=st.integers(1, 60),
    outputs=st.integers(1, 30),
)
def test_a_bump_pays_what_bip_125_asks_with_change_or_without(
    current: int, wanted: int, inputs: int, outputs: int
) -> None:
    params = replace(PARAMS, fee_cap=10_000)
    try:
        raised = fees.plan_bump(FeeRate(wanted, wanted), FeeRate(current, current), params)
    except Refused as refused:
        assert refused.reason is Reason.FEE_ABOVE_CAP  # noqa: PT017
        assert max(wanted, current * 2) > 5_000
        return
    assert wanted <= raised.max_rate > current
    for own in (b"\x00\x14" + bytes(20), b"\x51\x20" + bytes(32)):
        to = [b"\x00\x14" + bytes(20)] * outputs
        smaller = virtual_size([own] * inputs, to)
        old_fee = current * virtual_size([own] * inputs, [*to, own])
        assert raised.max_rate * smaller >= old_fee + fees.RELAY_STEP * smaller
    assert raised.max_rate <= max(wanted, 2 * current + 1)


def test_a_bump_above_the_cap_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        fees.plan_bump(FeeRate(1, 1), FeeRate(200, 200), PARAMS)
    assert refused.value.reason is Reason.FEE_ABOVE_CAP
    assert fees.plan_bump(FeeRate(90, 90), FeeRate(3, 3), PARAMS) == FeeRate(90, 90)
