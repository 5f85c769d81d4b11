"""Which coins travel together, decided without any I/O."""

from __future__ import annotations

from chains.base import Coin
from core.clock import SECOND_NS
from core.ids import AssetNo, DepositId
from custody.spending.sweep_items import Unswept
from sweeper.coin_policy import CoinCandidate, Gathering, decide, fee_of, groups
from sweeper.policy import FIRST_REST_NS, SweepRules

RULES = SweepRules(cost_multiple=5, fee_max=1_000, inputs_max=8)
NOW_NS = 10**6 * SECOND_NS


def candidate(number: int, amount: int = 10_000, *, failures: int = 0) -> CoinCandidate:
    item = Unswept(DepositId(f"dep_{number}"), f"a{number}", number, AssetNo(1), amount)
    coin = Coin(f"{number:064x}:0", f"a{number}", amount)
    return CoinCandidate(coin, (item,), failures, NOW_NS if failures else 0)


def sizes(candidates: list[CoinCandidate], *, now_ns: int = NOW_NS) -> list[int]:
    return [len(group) for group in groups(candidates, rules=RULES, now_ns=now_ns)]


def test_many_coins_make_few_transactions() -> None:
    assert sizes([candidate(number) for number in range(20)]) == [8, 8, 4]


def test_what_failed_travels_with_ever_fewer_others_until_it_is_alone() -> None:
    for failures, size in enumerate((8, 4, 2, 1)):
        some = [candidate(number, failures=failures) for number in range(8)]
        assert set(sizes(some)) == {size}


def test_a_coin_that_failed_alone_rests_and_comes_back() -> None:
    poisoned = candidate(1, failures=4)
    assert sizes([poisoned]) == []
    assert sizes([poisoned], now_ns=NOW_NS + 2 * FIRST_REST_NS) == [1]
    assert sizes([poisoned, candidate(2)]) == [1], "others flow"


def test_amount_and_fee_use_the_coins_up() -> None:
    found = decide([candidate(1), candidate(2)], cost=100, minimum=1, rules=RULES)
    assert isinstance(found, Gathering)
    assert (found.amount, found.fee) == (19_890, fee_of(100)) == (19_890, 110)
    assert [item.deposit_id for item in found.deposits] == ["dep_1", "dep_2"]


def test_a_sweep_that_is_not_worth_its_fee_waits() -> None:
    assert decide([candidate(1, 500)], cost=100, minimum=1, rules=RULES) == "below_threshold"
    assert decide([candidate(1)], cost=100, minimum=9_900, rules=RULES) == "below_threshold"
    assert decide([candidate(1)], cost=1_000, minimum=1, rules=RULES) == "fees_too_high"
