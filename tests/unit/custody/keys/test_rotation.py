"""Retired keys pay their successor and nobody else, and officers see what they approve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.authority import Approvals, Standing, check_authority
from custody.keys.intent import explains
from custody.keys.mandate import Mandate
from custody.keys.roster import Roster, Rotation, sign_approval
from custody.keys.roster_files import check_signed
from custody.keys.roster_text import parse_body, render_body, sealed
from custody.keys.rotation import (
    Move,
    check_generation,
    check_receiver,
    plan_rotation,
    present_key,
    spend_of,
)
from custody.keys.signers.base import KeyRef
from tests.unit.custody.keys.officers import (
    NOW_NS,
    ROSTER,
    next_roster,
    officer_key,
    signed_by,
    spend,
)
from tests.unit.custody.keys.policyroom import LAW

CHAIN = ChainId("devnet")
FIRST = sealed(replace(ROSTER, issued_ns=NOW_NS))
ROTATED = next_roster(FIRST, rotations=(Rotation(CHAIN, "hot", 2), Rotation(CHAIN, "deposits", 3)))


def address_of(key: KeyRef) -> str:
    return f"address of {key.account}/{key.index}"


def judge(roster: Roster, account: str, kind: SpendKind, to: str = "hot.2/0") -> str:
    """Return what the roster says of a spend: `signs`, or why not."""
    intent = replace(spend(), chain=CHAIN, kind=kind, destination=f"address of {to}")
    try:
        check_generation(roster, intent, KeyRef(account, 0), address_of_key=address_of)
    except Refused as refused:
        return refused.reason.value
    return "signs"


_K = SpendKind


@pytest.mark.parametrize(
    ("account", "kind", "to", "verdict"),
    [
        ("hot", _K.ROTATION, "hot.2/0", "signs"),
        ("hot", _K.ROTATION, "hot.2/1", "forbidden_destination"),
        ("hot", _K.ROTATION, "hot.3/0", "forbidden_destination"),
        ("hot", _K.ROTATION, "hot/0", "forbidden_destination"),
        ("hot", _K.ROTATION, "cold/0", "forbidden_destination"),
        ("hot", _K.ROTATION, "a thief", "forbidden_destination"),
        ("hot", _K.CANCELLATION, "hot/0", "signs"),
        ("hot", _K.WITHDRAWAL, "a customer", "unknown_key"),
        ("hot", _K.TOP_UP, "deposits.3/0", "unknown_key"),
        ("hot", _K.SWEEP, "cold/0", "unknown_key"),
        ("hot.2", _K.WITHDRAWAL, "a customer", "signs"),
        ("hot.2", _K.TOP_UP, "deposits/0", "signs"),
        ("hot.2", _K.ROTATION, "hot.2/0", "intent_mismatch"),
        ("hot.3", _K.WITHDRAWAL, "a customer", "unknown_key"),
        ("hot.3", _K.ROTATION, "hot.2/0", "unknown_key"),
        ("deposits", _K.SWEEP, "hot.2/0", "signs"),
        ("deposits.2", _K.SWEEP, "hot.2/0", "signs"),
        ("deposits.3", _K.SWEEP, "hot.2/0", "signs"),
        ("deposits.4", _K.SWEEP, "hot.2/0", "unknown_key"),
        ("deposits", _K.TOP_UP, "hot.2/0", "unknown_key"),
        ("deposits", _K.WITHDRAWAL, "a customer", "unknown_key"),
        ("gas", _K.TOP_UP, "deposits/0", "signs"),
        ("gas", _K.ROTATION, "gas/0", "intent_mismatch"),
        ("gas.2", _K.TOP_UP, "deposits/0", "unknown_key"),
    ],
)
def test_what_keys_of_each_generation_sign(
    account: str, kind: SpendKind, to: str, verdict: str
) -> None:
    assert judge(ROTATED, account, kind, to) == verdict


def test_nothing_changes_without_a_rotation() -> None:
    for account in ("hot", "deposits", "gas", "cold"):
        assert judge(FIRST, account, SpendKind.WITHDRAWAL) == "signs"
        assert judge(FIRST, account, SpendKind.ROTATION) == "intent_mismatch"
    elsewhere = next_roster(FIRST, rotations=(Rotation(ChainId("other"), "hot", 2),))
    assert judge(elsewhere, "hot", SpendKind.WITHDRAWAL) == "signs"


def receives(account: str, *, named: bool = True) -> bool:
    """Return whether a sweep may go to a key, which the request names or hides."""
    key = KeyRef(account, 0)
    what = replace(
        spend(), chain=CHAIN, kind=SpendKind.SWEEP, destination=f"address of {account}/0"
    )
    try:
        check_receiver(ROTATED, what, key if named else None, address_of_key=address_of)
    except Refused as refused:
        return refused.reason is not Reason.FORBIDDEN_DESTINATION
    return True


def test_nothing_is_paid_to_retired_keys() -> None:
    for account in ("hot.2", "gas", "cold", "deposits", "deposits.2", "deposits.3"):
        assert receives(account)
        assert receives(account, named=False)
    for account in ("hot", "hot.3", "gas.2"):
        assert not receives(account)
    assert not receives("hot", named=False), "its address is found without being named"
    assert present_key(ROTATED, CHAIN, KeyRef("hot", 4)) == KeyRef("hot.2", 4)


def test_a_mandate_for_a_wallet_pays_its_present_keys() -> None:
    what = replace(spend(), chain=CHAIN, kind=SpendKind.SWEEP, destination="address of hot.2/0")
    mandate = Mandate(
        mandate_id="sweep", kind=SpendKind.SWEEP, chain=CHAIN, network=what.network,
        destinations=(), destination_accounts=("hot",), caps=(), fee_max=what.fee_max,
        fee_window_max=1, valid_from_ns=0, valid_until_ns=NOW_NS + 1,
    )  # fmt: skip
    roster = sealed(replace(ROTATED, mandates=(mandate,)))

    def reason(key: KeyRef, to: str) -> Reason:
        with pytest.raises(Refused) as caught:
            check_authority(
                Standing("sweep", key),
                replace(what, destination=to),
                key=KeyRef("deposits", 0),
                roster=roster,
                law=LAW,
                now_ns=NOW_NS,
                address_of_key=address_of,
            )
        return caught.value.reason

    assert reason(KeyRef("hot", 0), "address of hot/0") is Reason.FORBIDDEN_DESTINATION
    assert reason(KeyRef("hot.2", 0), "address of hot.2/0") is Reason.ASSET_MISMATCH, (
        "it came as far as the caps, of which there are none"
    )


# ---- what officers approve

MOVE = Move(
    rotation_id="rot_1",
    initiator="olga",
    chain=CHAIN,
    network="31337:0xabc",
    wallet="hot",
    destination="address of hot.2/0",
    balances={"0xB": 7, NATIVE: 1_000, "0xA": 5, "0xC": 0},
    fee_max=10,
    policy_version=1,
    expires_ns=NOW_NS + 1,
)


def test_every_asset_is_moved_and_the_coin_last() -> None:
    made = plan_rotation(MOVE)
    assert [(one.asset_key, one.amount) for one in made] == [
        ("0xA", 5), ("0xB", 7), (NATIVE, 1_000 - 3 * 10),
    ]  # fmt: skip
    assert {one.destination for one in made} == {"address of hot.2/0"}
    assert len({one.withdrawal_id for one in made}) == 3
    assert {(one.customer_no, one.fee_minor, one.rule) for one in made} == {(0, 0, "rotation")}


@pytest.mark.parametrize(
    ("balances", "outcome"),
    [
        ({}, "zero_amount"),
        ({NATIVE: 0, "0xA": 0}, "zero_amount"),
        ({NATIVE: 10}, "exceeds_available"),
        ({NATIVE: 11}, [(NATIVE, 1)]),
        ({"0xA": 5}, "exceeds_available"),
        ({"0xA": 5, NATIVE: 9}, "exceeds_available"),
        ({"0xA": 5, NATIVE: 10}, [("0xA", 5)]),
        ({"0xA": 5, NATIVE: 21}, [("0xA", 5), (NATIVE, 1)]),
    ],
)
def test_fees_are_left_behind(balances: dict[str, int], outcome: object) -> None:
    move = replace(MOVE, balances=balances)
    try:
        found: object = [(one.asset_key, one.amount) for one in plan_rotation(move)]
    except Refused as refused:
        found = refused.reason.value
    assert found == outcome


def test_an_approved_move_is_carried_out_by_a_rotation_only() -> None:
    approved = plan_rotation(MOVE)[0]
    what = spend_of(approved, source="address of hot/0")
    explains(approved, what)
    for wrong in (
        replace(what, kind=SpendKind.WITHDRAWAL),
        replace(what, kind=SpendKind.SWEEP),
        replace(what, destination="elsewhere"),
        replace(what, amount=what.amount + 1),
    ):
        with pytest.raises(Refused) as caught:
            explains(approved, wrong)
        assert caught.value.reason is Reason.INTENT_MISMATCH
    with pytest.raises(Refused):
        explains(replace(approved, rule="quorum"), what)


def test_a_rotation_needs_the_quorum_and_never_who_asked() -> None:
    approved = plan_rotation(replace(MOVE, initiator="ada"))[0]
    what = spend_of(approved, source="address of hot/0")

    def check(*names: str) -> None:
        verdicts = tuple(sign_approval(officer_key(name), approved) for name in names)
        check_authority(
            Approvals(approved, verdicts),
            what,
            key=KeyRef("hot", 0),
            roster=ROTATED,
            law=LAW,
            now_ns=NOW_NS,
            address_of_key=address_of,
        )

    check("bea", "cai")
    for names in (("bea",), ("ada", "bea"), ()):
        with pytest.raises(Refused):
            check(*names)


# ---- the roster


def test_rotations_stand_in_the_signed_body() -> None:
    body = render_body(ROTATED)
    assert b'[[rotations]]\nchain = "devnet"\nwallet = "hot"\ngeneration = 2\n' in body
    assert parse_body(body) == ROTATED
    assert b"rotations" not in render_body(FIRST), "rosters without one keep their hash"
    assert ROTATED.generation(CHAIN, "hot") == 2
    assert ROTATED.generation(CHAIN, "gas") == 1
    for old, new in (
        (b'"hot"\ngeneration = 2', b'"hot"\ngeneration = 1'),
        (b'"hot"\ngeneration = 2', b'"hot"\ngeneration = 17'),
        (b'"hot"\ngeneration = 2', b'"savings"\ngeneration = 2'),
        (b'"hot"\ngeneration = 2', b'"deposits"\ngeneration = 2'),
        (b'"hot"\ngeneration = 2', b'"hot.2"\ngeneration = 2'),
    ):
        assert old in body
        with pytest.raises(Refused) as caught:
            parse_body(body.replace(old, new, 1))
        assert caught.value.reason is Reason.MALFORMED


def test_retired_keys_do_not_come_back_by_a_later_roster() -> None:
    names = ("ada", "bea")
    for rotations in ((), (Rotation(CHAIN, "hot", 2),)):
        back = next_roster(ROTATED, rotations=rotations)
        with pytest.raises(Refused) as caught:
            check_signed(signed_by(back, *names), ROTATED)
        assert caught.value.reason is Reason.ROSTER_MISMATCH
    on = next_roster(ROTATED, rotations=(Rotation(CHAIN, "hot", 3), Rotation(CHAIN, "deposits", 3)))
    assert check_signed(signed_by(on, *names), ROTATED) == names
