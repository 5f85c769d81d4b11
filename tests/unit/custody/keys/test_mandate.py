"""A mandate is plain, and covers what it names and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.mandate import AssetCap, Mandate, Usage, check_mandate, covers, fits
from tests.unit.custody.keys.officers import NOW_NS, spend

HOT = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
MANDATE = Mandate(
    mandate_id="sweeps of 2026",
    kind=SpendKind.SWEEP,
    chain=ChainId("local"),
    network="31337:0xabc",
    destinations=(HOT,),
    destination_accounts=("cold", "hot"),
    caps=(AssetCap("0xToken", 50, 70), AssetCap(NATIVE, 10, 20)),
    fee_max=100,
    fee_window_max=1_000,
    valid_from_ns=NOW_NS,
    valid_until_ns=NOW_NS + 1_000,
)
SWEEP = spend(kind=SpendKind.SWEEP, destination=HOT, amount=10, fee_max=100, source="0xdeposit")


def refusal(call: Any, *arguments: Any, **options: Any) -> Reason:
    with pytest.raises(Refused) as refused:
        call(*arguments, **options)
    return refused.value.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": SpendKind.WITHDRAWAL},
        {"destinations": ("b", "a")},
        {"destinations": ("a", "a")},
        {"destination_accounts": ("savings",)},
        {"caps": (AssetCap(NATIVE, 1, 1), AssetCap("0xToken", 1, 1))},
        {"caps": (AssetCap(NATIVE, -1, 1),)},
        {"fee_max": True},
        {"valid_from_ns": NOW_NS + 1_000},
        {"mandate_id": ""},
    ],
)
def test_a_mandate_that_is_not_plain_is_refused(changes: dict[str, Any]) -> None:
    check_mandate(MANDATE)
    assert refusal(check_mandate, replace(MANDATE, **changes)) is Reason.MALFORMED


def test_what_it_names_is_covered() -> None:
    covers(MANDATE, SWEEP, destination_account=None)
    token = replace(SWEEP, asset_key="0xToken", amount=50)
    covers(MANDATE, token, destination_account=None)
    covers(MANDATE, replace(SWEEP, destination="own key"), destination_account="cold")


@pytest.mark.parametrize(
    ("changes", "account", "reason"),
    [
        ({"kind": SpendKind.TOP_UP}, None, Reason.INTENT_MISMATCH),
        ({"kind": SpendKind.WITHDRAWAL}, None, Reason.INTENT_MISMATCH),
        ({"chain": "x"}, None, Reason.INTENT_MISMATCH),
        ({"network": "x"}, None, Reason.INTENT_MISMATCH),
        ({"destination": "thief"}, None, Reason.FORBIDDEN_DESTINATION),
        ({"destination": "thief"}, "gas", Reason.FORBIDDEN_DESTINATION),
        ({"asset_key": "0xOther"}, None, Reason.ASSET_MISMATCH),
        ({"amount": 11}, None, Reason.POLICY_BLOCKED),
        ({"fee_max": 101}, None, Reason.FEE_ABOVE_CAP),
    ],
)
def test_what_it_does_not_name_is_refused(
    changes: dict[str, Any], account: str | None, reason: Reason
) -> None:
    other = replace(SWEEP, **changes)
    assert refusal(covers, MANDATE, other, destination_account=account) is reason


def test_the_window_includes_its_cap_and_no_unit_more() -> None:
    fits(MANDATE, SWEEP, Usage(amount=10, fees=900))
    assert refusal(fits, MANDATE, SWEEP, Usage(amount=11, fees=0)) is Reason.POLICY_BLOCKED
    assert refusal(fits, MANDATE, SWEEP, Usage(amount=0, fees=901)) is Reason.POLICY_BLOCKED
