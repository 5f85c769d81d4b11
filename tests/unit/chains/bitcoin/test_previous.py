"""Where coins come from: fetched once, kept within bounds, and never believed beyond their hash."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from chains.bitcoin import previous
from chains.bitcoin.build import build, proven
from chains.bitcoin.params import COIN
from chains.bitcoin.previous import PreviousTransactions
from core.errors import Reason, Refused, Unavailable
from tests.support.bitcoin import (
    HOT,
    PARAMS,
    STRANGER,
    address_of,
    coin_of,
    funding,
    intent_of,
    named,
)

MADE = coin_of(funding(address_of(HOT), COIN, 2 * COIN))


def test_a_transaction_is_fetched_once_until_others_take_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: Counter[str] = Counter()

    def fetch(tx_id: str) -> bytes:
        asked[tx_id] += 1
        if tx_id == "gone":
            raise Unavailable("node_null")
        return bytes(100)

    kept = PreviousTransactions(fetch)
    monkeypatch.setattr(previous, "BYTES_MAX", 250)
    for tx_id in ("a", "a", "b", "a", "c", "a", "b"):
        assert kept.get(tx_id) == bytes(100)
    assert asked == {"a": 1, "b": 2, "c": 1}, "the one that was not used for longest made way"
    for _ in range(2):
        with pytest.raises(Unavailable):
            kept.get("gone")
    assert asked["gone"] == 2, "what failed is asked for again"


@pytest.mark.parametrize("changes", [{"amount": COIN + 1}, {"outpoint": f"{MADE.tx_id}:1"},
                                     {"outpoint": f"{MADE.tx_id}:2"}])  # fmt: skip
def test_a_coin_that_is_not_what_its_transaction_says_is_not_spent(
    changes: dict[str, object],
) -> None:
    (coin,) = named([MADE])
    intent = intent_of(STRANGER, COIN // 2)
    for one, is_good in ((coin, True), (replace(coin, **changes), False)):  # type: ignore[arg-type]
        told = proven(one, lambda _: MADE.previous)
        if is_good:
            assert build(intent, PARAMS, coins=[told], rate=5).fee_max
            continue
        with pytest.raises(Refused) as refused:
            build(intent, PARAMS, coins=[told], rate=5)
        assert refused.value.reason is Reason.UNPROVEN_AMOUNT


def test_another_transaction_than_the_coins_own_proves_nothing() -> None:
    other = funding(address_of(HOT), COIN, salt=9).serialise()
    told = proven(named([MADE])[0], lambda _: other)
    with pytest.raises(Refused) as refused:
        build(intent_of(STRANGER, COIN // 2), PARAMS, coins=[told], rate=5)
    assert refused.value.reason is Reason.UNPROVEN_AMOUNT


@pytest.mark.parametrize("name", ["", "ab", f"{'ab' * 32}", f"{'ab' * 32}:", f"{'ab' * 32}:-1"])
def test_a_coin_without_a_name_is_malformed(name: str) -> None:
    with pytest.raises(Refused) as refused:
        proven(replace(named([MADE])[0], outpoint=name), lambda _: b"")
    assert refused.value.reason is Reason.MALFORMED
