"""What can be said of a rule by somebody who knows only the payment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.policy.decide import decide
from custody.policy.decision import Outcome
from custody.policy.known import Known, Match, can_match, deny_of, rule_for
from custody.policy.request import (
    Destination,
    DestinationKind,
    Facts,
    Movement,
    PolicyRequest,
    Price,
)
from custody.policy.rules import Policy
from tests.unit.custody.keys.policyroom import ALL, QUORUM, policy

PAYMENT = Known(
    kind="withdrawal",
    initiator="customer:7",
    customer_no=7,
    chain="local",
    asset_key="native",
    scale=6,
    amount=5_000_000,
    wallet="hot",
    destination="0xD",
)
ONE_ASSET = {"chains": ["local"], "assets": ["native"]}


def rule(id_: str, **conditions: Any) -> dict[str, Any]:
    return {**QUORUM, "id": id_, **conditions}


def match(**conditions: Any) -> Match:
    (found,) = policy((rule("one", **conditions),)).rules
    return can_match(found.scope, PAYMENT)


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, Match.YES),
        ({"kinds": ["withdrawal", "sweep"]}, Match.YES),
        ({"kinds": ["sweep"]}, Match.NO),
        ({"chains": ["local"]}, Match.YES),
        ({"chains": ["other"]}, Match.NO),
        ({"chains": []}, Match.NO),
        ({"assets": ["native"]}, Match.YES),
        ({"assets": ["0xT"]}, Match.NO),
        ({"wallets": ["hot"]}, Match.YES),
        ({"wallets": ["treasury"]}, Match.NO),
        ({"initiators": ["customer:7"]}, Match.YES),
        ({"initiators": ["olga"]}, Match.NO),
        ({"customers": [7, 8]}, Match.YES),
        ({"customers": [8]}, Match.NO),
        ({"destinations": ["0xD"]}, Match.YES),
        ({"destinations": ["0xE"]}, Match.NO),
        ({**ONE_ASSET, "max_coins": "5"}, Match.NO),
        ({**ONE_ASSET, "max_coins": "5.000001"}, Match.YES),
        ({**ONE_ASSET, "min_coins": "5"}, Match.YES),
        ({**ONE_ASSET, "min_coins": "5.000001"}, Match.NO),
        ({"roles": ["customer"]}, Match.MAYBE),
        ({"roles": []}, Match.NO),
        ({"roles": ["*"]}, Match.YES),
        ({"destination_kinds": ["external"]}, Match.MAYBE),
        ({"in_book": True}, Match.MAYBE),
        ({"in_book": False}, Match.MAYBE),
        ({"entry_age_min_s": 5}, Match.MAYBE),
        ({"max_usd": "1"}, Match.MAYBE),
        ({"min_usd": "1"}, Match.MAYBE),
        ({"in_book": True, "wallets": ["treasury"]}, Match.NO),
    ],
)
def test_a_rule_matches_or_not_or_may(conditions: dict[str, Any], found: Match) -> None:
    assert match(**conditions) is found


def refusal(found: Policy, rule_id: str, payment: Known = PAYMENT) -> Reason:
    with pytest.raises(Refused) as refused:
        rule_for(found, rule_id, payment)
    return refused.value.reason


def test_a_rule_behind_one_that_must_match_decides_nothing() -> None:
    found = policy((rule("big", **ONE_ASSET, min_coins="5"), rule("rest")))
    assert rule_for(found, "big", PAYMENT).id == "big"
    assert refusal(found, "rest") is Reason.POLICY_BLOCKED
    small = replace(PAYMENT, amount=4_999_999)
    assert rule_for(found, "rest", small).id == "rest"
    assert refusal(found, "big", small) is Reason.POLICY_BLOCKED
    assert refusal(found, "nobody") is Reason.POLICY_BLOCKED


def test_a_rule_behind_one_that_may_match_is_for_those_who_decided() -> None:
    found = policy((rule("dear", min_usd="1000"), rule("rest")))
    assert rule_for(found, "dear", PAYMENT).id == "dear"
    assert rule_for(found, "rest", PAYMENT).id == "rest"


def test_coins_of_an_asset_without_known_places_are_not_counted() -> None:
    found = policy((rule("big", **ONE_ASSET, min_coins="5"), rule("rest")))
    unknown = replace(PAYMENT, scale=None)
    assert refusal(found, "big", unknown) is Reason.UNKNOWN_ASSET
    assert rule_for(found, "rest", unknown).id == "rest"


def test_a_deny_counts_when_it_certainly_matches() -> None:
    def denies(**conditions: Any) -> bool:
        deny = {**ALL, "id": "never", "code": "never", **conditions}
        return deny_of(policy(denies=(deny,)), PAYMENT) is not None

    assert denies(destinations=["0xD"])
    assert denies(assets=["native"])
    assert denies(**ONE_ASSET, min_coins="5")
    assert not denies(destinations=["0xE"])
    assert not denies(roles=["customer"])
    assert not denies(max_usd="5")


def test_what_decides_is_never_called_impossible() -> None:
    """Whatever the signer cannot see, it never refuses the rule that the decision found."""
    rules = (
        rule("board", in_book=False, wallets=["treasury"]),
        rule("dear", min_usd="100"),
        rule("coins", **ONE_ASSET, min_coins="3", max_coins="9"),
        rule("booked", in_book=True, roles=["customer"]),
        rule("contract", destination_kinds=["contract"]),
        rule("rest"),
    )
    found, seen = policy(rules), set()
    for amount in (1, 2_999_999, 3_000_000, 8_999_999, 9_000_000):
        for entry in (None, "e1"):
            for kind in (DestinationKind.EXTERNAL, DestinationKind.CONTRACT):
                for price in (None, Price(10**12, 0, "t"), Price(10**14, 0, "t")):
                    for wallet in ("hot", "treasury"):
                        request = PolicyRequest(
                            request_id="wd", kind="withdrawal", initiator="customer:7",
                            roles=frozenset({"customer"}), customer_no=7, chain=ChainId("local"),
                            asset_key="native", scale=6, amount=amount, price=price, wallet=wallet,
                            destination=Destination("0xD", kind, entry=entry, entry_age_ns=1),
                            effects=(Movement("native", "0xD", amount),), now_ns=1,
                        )  # fmt: skip
                        decision = decide(found, request, Facts())
                        assert decision.outcome is Outcome.REQUIRE
                        payment = replace(PAYMENT, amount=amount, wallet=wallet)
                        assert rule_for(found, decision.rule, payment).id == decision.rule
                        seen.add(decision.rule)
    assert seen == {one.id for one in found.rules}
