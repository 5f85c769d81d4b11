"""An approval counts only for exactly what it signed, by officers of the roster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.errors import Reason, Refused
from custody.keys.roster import (
    Approval,
    Verdict,
    approval_message,
    sign_approval,
    verify_approvals,
)
from tests.unit.custody.keys.officers import (
    ADA,
    BEA,
    CAI,
    NOW_NS,
    ROSTER,
    WITHDRAWAL,
    officer,
    officer_key,
    roster_of,
    withdrawal,
)


def verified(*approvals: Approval, **changes: Any) -> tuple[str, ...]:
    arguments: dict[str, Any] = {"now_ns": NOW_NS, **changes}
    roster = arguments.pop("roster", ROSTER)
    intent = arguments.pop("intent", WITHDRAWAL)
    return verify_approvals(roster, intent, approvals, **arguments)


def refusal(*approvals: Approval, **changes: Any) -> Reason:
    with pytest.raises(Refused) as refused:
        verified(*approvals, **changes)
    return refused.value.reason


def yes(name: str) -> Approval:
    return sign_approval(officer_key(name), WITHDRAWAL)


def test_two_distinct_officers_are_a_quorum_of_three() -> None:
    assert verified(yes("bea"), yes("ada")) == ("ada", "bea")
    assert verified(yes("ada"), yes("bea"), yes("cai")) == ("ada", "bea", "cai")


def test_a_forged_row_beside_a_quorum_changes_nothing() -> None:
    forged = replace(yes("cai"), signature=bytes(64))
    short = replace(yes("cai"), signature=b"", public_key=b"")
    stranger = sign_approval(officer_key("eve"), WITHDRAWAL, Verdict.REJECT)
    unsigned_no = replace(yes("cai"), verdict=Verdict.REJECT)
    assert verified(forged, yes("ada"), short, stranger, unsigned_no, yes("bea")) == ("ada", "bea")


def test_one_valid_rejection_ends_it_whatever_its_place() -> None:
    no = sign_approval(CAI, WITHDRAWAL, Verdict.REJECT)
    for approvals in ((no, yes("ada"), yes("bea")), (yes("ada"), yes("bea"), no)):
        assert refusal(*approvals) is Reason.REJECTED_BY_OFFICER


def test_the_same_person_may_not_approve_and_reject() -> None:
    no = sign_approval(ADA, WITHDRAWAL, Verdict.REJECT)
    assert refusal(yes("ada"), yes("bea"), no) is Reason.REJECTED_BY_OFFICER


@pytest.mark.parametrize(
    "changes",
    [
        {"withdrawal_id": "wd_2"},
        {"customer_no": 8},
        {"initiator": "customer:8"},
        {"chain": "other"},
        {"network": "1:main"},
        {"asset_key": "0xToken"},
        {"destination": "0x8617E340B3D01FA5F11F306F4090FD50E238070D"},
        {"amount": WITHDRAWAL.amount + 1},
        {"fee_minor": 0},
        {"network_fee_max": WITHDRAWAL.network_fee_max + 1},
        {"policy_version": 2},
        {"expires_ns": WITHDRAWAL.expires_ns + 1},
        {"rule": "other"},
    ],
)
def test_any_change_of_the_intent_voids_every_approval(changes: dict[str, Any]) -> None:
    """W05 and W07."""
    changed = withdrawal(**changes)
    assert refusal(yes("ada"), yes("bea"), intent=changed) is Reason.BAD_SIGNATURE
    assert verified(sign_approval(ADA, changed), sign_approval(BEA, changed), intent=changed)


def test_an_approval_is_no_rejection() -> None:
    assert approval_message(WITHDRAWAL, Verdict.APPROVE) != approval_message(
        WITHDRAWAL, Verdict.REJECT
    )


def test_approvals_expire_at_the_nanosecond() -> None:
    assert verified(yes("ada"), yes("bea"), now_ns=WITHDRAWAL.expires_ns - 1)
    at = {"now_ns": WITHDRAWAL.expires_ns}
    assert refusal(yes("ada"), yes("bea"), **at) is Reason.APPROVAL_EXPIRED


def test_when_several_reasons_hold_the_first_of_the_list_is_given() -> None:
    bad = replace(yes("cai"), signature=bytes(64))
    assert refusal(bad, yes("ada"), yes("ada")) is Reason.ALREADY_APPROVED
    own = withdrawal(initiator="ada")
    both = (sign_approval(ADA, own), sign_approval(BEA, own))
    assert refusal(bad, *both, intent=own) is Reason.INITIATOR_CANNOT_APPROVE
    assert refusal(bad, yes("ada")) is Reason.BAD_SIGNATURE
    assert refusal() is Reason.QUORUM_NOT_MET


def test_an_officer_counts_only_while_active() -> None:
    roster = roster_of(
        officer("ada", active_from_ns=NOW_NS),
        officer("bea", active_until_ns=NOW_NS + 10),
        officer("cai"),
    )
    both = (yes("ada"), yes("bea"))
    assert verified(*both, roster=roster)
    assert refusal(*both, roster=roster, now_ns=NOW_NS - 1) is Reason.NOT_AN_OFFICER
    assert refusal(*both, roster=roster, now_ns=NOW_NS + 10) is Reason.NOT_AN_OFFICER


def test_a_flood_of_approvals_is_refused() -> None:
    assert refusal(*[yes("ada")] * 65) is Reason.TOO_LARGE
