"""L09: the native engine says and keeps exactly what the reference does.

STRONGROOM_NATIVE_COMMANDS sets how many commands are drawn in all; the campaign `native` draws ten
times as many as `make test`.
"""

from __future__ import annotations

import os

import pytest

from engine.laboratory.weather import WEATHER, Rough
from tests.support.differential import compare

COMMANDS = int(os.environ.get("STRONGROOM_NATIVE_COMMANDS", "500000"))
SEEDS = range(8)

EXPECTED = {
    "Fine": {"Trade", "OrderReduced", "OrderReplaced", "OrderDuplicate", "FundingRepeated"}
    | {"MarketCollarSet", "MarketRetired", "OrderCancelled:MARKET_RETIRED"}
    | {"OrderRejected:OUTSIDE_COLLAR", "OrderRejected:MARKET_RETIRED"}
    | {"ConfigRefused:MARKET_RETIRED", "ConfigRefused:AMOUNT_OUT_OF_RANGE"},
    "FarPrices": {"Trade", "OrderCancelled:DEBIT", "OrderRejected:WOULD_NOT_FILL"},
    "TightLimits": {"OrderRejected:TOO_MANY_ORDERS", "OrderRejected:TOO_MANY_LEVELS"},
    "FewLevels": {"Trade", "OrderRejected:TOO_MANY_LEVELS"},
    "Enormous": {"Trade", "OrderRejected:AMOUNT_OUT_OF_RANGE", "OrderRejected:EXCEEDS_AVAILABLE"},
    "DeepQueues": {"OrderCancelled:SELF_TRADE", "OrderReduced", "OrderRejected:WOULD_CROSS"},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("weather", WEATHER)
def test_L09_native_and_reference_are_equal(weather: type[Rough], seed: int) -> None:
    commands = COMMANDS // len(SEEDS) // len(WEATHER)
    seen = compare(weather, seed, commands).seen
    if commands >= 10_000:
        missing = EXPECTED[weather.__name__] - set(seen)
        assert not missing, f"never happened: {missing}"
