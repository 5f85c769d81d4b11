"""What is swept, topped up or left, decided without any I/O."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.clock import SECOND_NS
from core.ids import AssetNo, DepositId
from custody.spending.sweep_items import Unswept, split_cost
from sweeper.policy import (
    FAILURES_MAX,
    Candidate,
    SweepRules,
    Verdict,
    is_resting,
    plan_sweeps,
)

RULES = SweepRules(
    cost_multiple=5, fee_max=1_000, top_up_max=2_000, top_up_percent=120, rate_max=100
)


def candidate(
    *,
    owed: int = 10_000,
    balance: int = 10_000,
    native: int = 0,
    cost: int = 100,
    is_native: bool = False,
    minimum: int = 1,
    busy: bool = False,
    address: str = "a",
    pays_fee: bool = True,
    balance_least: int = 0,
) -> Candidate:
    deposit = Unswept(DepositId("dep_1"), address, 0, AssetNo(1), owed)
    return Candidate(
        address=address, key_index=0, asset_no=AssetNo(1), is_native=is_native, minimum=minimum,
        deposits=(deposit,), balance=balance, native_balance=native, cost=cost, busy=busy,
        pays_fee=pays_fee, balance_least=balance_least,
    )  # fmt: skip


def decide(one: Candidate, *, rate: int = 10) -> tuple[Verdict, int, str]:
    (action,) = plan_sweeps([one], rate=rate, rules=RULES)
    return action.verdict, action.amount, action.why


def test_a_token_without_gas_is_topped_up_first() -> None:
    assert decide(candidate(native=20)) == (Verdict.TOP_UP, 100, "")


def test_a_token_with_gas_is_swept_and_no_more_than_was_credited() -> None:
    assert decide(candidate(native=100, balance=12_000)) == (Verdict.SWEEP, 10_000, "")


def test_where_another_wallet_pays_nothing_is_topped_up_and_all_that_is_owed_leaves() -> None:
    assert decide(candidate(native=0, pays_fee=False)) == (Verdict.SWEEP, 10_000, "")
    swept = decide(candidate(is_native=True, native=10_000, pays_fee=False))
    assert swept == (Verdict.SWEEP, 10_000, "")
    small = decide(candidate(is_native=True, owed=499, balance=499, pays_fee=False))
    assert small == (Verdict.WAIT, 0, "below_threshold")


def test_one_unit_that_is_owed_to_nobody_does_not_stop_a_sweep() -> None:
    def swept(balance: int) -> tuple[Verdict, int, str]:
        return decide(
            candidate(is_native=True, balance=balance, pays_fee=False, balance_least=1_000)
        )

    assert swept(10_000) == (Verdict.SWEEP, 10_000, "")
    assert swept(10_001) == (Verdict.SWEEP, 9_001, "")
    assert swept(10_999) == (Verdict.SWEEP, 9_999, "")
    assert swept(11_000) == (Verdict.SWEEP, 10_000, "")


def test_a_native_sweep_leaves_its_own_fee() -> None:
    swept = decide(candidate(is_native=True, native=10_000))
    assert swept == (Verdict.SWEEP, 9_900, "")


def test_what_is_not_worth_its_cost_waits() -> None:
    poor = candidate(is_native=True, owed=500, balance=500)
    assert decide(poor) == (Verdict.WAIT, 0, "below_threshold")


def test_high_fees_stop_sweeps_and_nothing_else() -> None:
    assert decide(candidate(native=100), rate=101) == (Verdict.WAIT, 0, "fees_too_high")
    assert decide(candidate(native=9_000, cost=1_001)) == (Verdict.WAIT, 0, "fees_too_high")


def test_a_busy_address_waits() -> None:
    assert decide(candidate(busy=True)) == (Verdict.WAIT, 0, "address_busy")


def test_an_address_gets_one_action_at_a_time_tokens_first() -> None:
    both = [
        candidate(is_native=True, native=9_000, balance=9_000, owed=9_000),
        candidate(native=9_000),
    ]
    verdicts = {action.candidate.is_native: action.verdict for action in plan_sweeps(
        both, rate=10, rules=RULES
    )}  # fmt: skip
    assert verdicts == {False: Verdict.SWEEP, True: Verdict.WAIT}


def test_an_address_whose_sweeps_fail_rests_longer_each_time_and_then_for_good() -> None:
    rests = [
        next(s for s in range(0, 10**6, 100) if not is_resting(
            failures=failures, last_ns=0, now_ns=s * SECOND_NS
        ))
        for failures in range(FAILURES_MAX)
    ]  # fmt: skip
    assert rests == [0, 600, 1_200, 2_400, 4_800, 9_600]
    assert is_resting(failures=FAILURES_MAX, last_ns=0, now_ns=1 << 62)
    assert decide(replace(candidate(native=100), resting=True)) == (
        Verdict.WAIT, 0, "keeps_failing",
    )  # fmt: skip


def test_a_top_up_is_bounded() -> None:
    rules = SweepRules(fee_max=10**6, top_up_max=2_000, rate_max=100)
    (action,) = plan_sweeps([candidate(cost=50_000)], rate=10, rules=rules)
    assert (action.verdict, action.why) == (Verdict.WAIT, "top_up_above_cap")


@given(
    cost=st.integers(0, 10**24), amounts=st.lists(st.integers(1, 10**24), min_size=1, max_size=50)
)
def test_a_split_cost_sums_to_the_cost(cost: int, amounts: list[int]) -> None:
    shares = split_cost(cost, amounts)
    assert sum(shares) == cost
    assert min(shares) >= 0
