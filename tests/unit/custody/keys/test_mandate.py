"""A mandate has one encoding, signed by a quorum, and covers what it names and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.mandate import (
    AssetCap,
    Mandate,
    SignedMandate,
    Usage,
    check_mandate,
    covers,
    decode,
    encode,
    fits,
    mandate_hash,
    parse_mandates,
    render_mandates,
    sign_mandate,
)
from tests.unit.custody.keys.officers import ADA, BEA, NOW_NS, ROSTER, officer_key, spend

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
SIGNED = SignedMandate(MANDATE, (sign_mandate(ADA, MANDATE), sign_mandate(BEA, MANDATE)))
SWEEP = spend(kind=SpendKind.SWEEP, destination=HOT, amount=10, fee_max=100, source="0xdeposit")


def refusal(call: Any, *arguments: Any, **options: Any) -> Reason:
    with pytest.raises(Refused) as refused:
        call(*arguments, **options)
    return refused.value.reason


def test_decode_is_the_inverse_of_encode() -> None:
    assert decode(encode(MANDATE)) == MANDATE
    empty = replace(MANDATE, destinations=(), destination_accounts=(), caps=())
    assert decode(encode(empty)) == empty


def test_no_other_bytes_decode_to_it() -> None:
    data = encode(MANDATE)
    for position in range(len(data)):
        mutated = bytearray(data)
        mutated[position] ^= 1
        try:
            other = decode(bytes(mutated))
        except Refused:
            continue
        assert other != MANDATE
        assert encode(other) == bytes(mutated)


OTHER: dict[str, Any] = {
    "mandate_id": "x",
    "kind": SpendKind.TOP_UP,
    "chain": "x",
    "network": "x",
    "destinations": (),
    "destination_accounts": ("hot",),
    "caps": (AssetCap("0xToken", 50, 71), AssetCap(NATIVE, 10, 20)),
    "fee_max": 101,
    "fee_window_max": 1_001,
    "valid_from_ns": NOW_NS - 1,
    "valid_until_ns": NOW_NS + 1_001,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Mandate)])
def test_a_change_of_any_field_voids_every_signature(name: str) -> None:
    changed = replace(MANDATE, **{name: OTHER[name]})
    assert mandate_hash(changed) != mandate_hash(MANDATE)
    stolen = replace(SIGNED, mandate=changed)
    assert refusal(check_mandate, ROSTER, stolen, now_ns=NOW_NS) is Reason.BAD_SIGNATURE


def test_a_quorum_stands_behind_it_while_it_is_valid() -> None:
    assert check_mandate(ROSTER, SIGNED, now_ns=NOW_NS) == ("ada", "bea")
    for now_ns in (NOW_NS - 1, NOW_NS + 1_000):
        assert refusal(check_mandate, ROSTER, SIGNED, now_ns=now_ns) is Reason.APPROVAL_EXPIRED
    for signatures, reason in (
        ((), Reason.QUORUM_NOT_MET),
        (SIGNED.signatures[:1] * 2, Reason.QUORUM_NOT_MET),
        (
            (SIGNED.signatures[0], sign_mandate(officer_key("eve"), MANDATE)),
            Reason.NOT_AN_OFFICER,
        ),
    ):
        few = replace(SIGNED, signatures=signatures)
        assert refusal(check_mandate, ROSTER, few, now_ns=NOW_NS) is reason


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
    assert refusal(encode, replace(MANDATE, **changes)) is Reason.MALFORMED


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


def test_the_file_reads_back_and_may_not_lie_about_its_bytes() -> None:
    data = render_mandates([SIGNED])
    assert parse_mandates(data) == (SIGNED,)
    for wrong in (
        data.replace(b"50 each", b"51 each"),
        data.replace(b'"version": 1', b'"version": "1"'),
        data.replace(b'"signatures"', b'"names"'),
        data[:-10],
        b"[]",
        b"",
    ):
        assert wrong != data
        assert refusal(parse_mandates, wrong) in {Reason.MALFORMED, Reason.UNKNOWN_VERSION}
