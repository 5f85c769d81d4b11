"""The same facts for every kind of credential: what an approval is worth, and when nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import signer_wire
from app.signer_frames import ByOfficers
from core.errors import Reason, Refused
from custody.keys.authority import Approvals, evidence_of, read_evidence
from custody.keys.credentials import CredentialKind
from custody.keys.passkey import P256_ORDER
from custody.keys.roster import (
    Approval,
    Officer,
    Roster,
    Verdict,
    approval_signable,
    check_approval,
    verify_approvals,
)
from custody.keys.typed_approval import CURVE_ORDER
from tests.support.rails import KINDS, FileKey, Rail, WalletKey, give, of_every_kind
from tests.unit.custody.keys.officers import NOW_NS, WITHDRAWAL, officer, roster_of, withdrawal

ORDERS = {"wallet": CURVE_ORDER, "passkey": P256_ORDER, "passkey-synced": P256_ORDER}
kinds = pytest.mark.parametrize("kind", KINDS)


def rail_of(kind: str, name: str = "dan") -> Rail:
    """Return dan's credential."""
    return of_every_kind(name)[kind]


def roster_with(*rows: Officer) -> Roster:
    """Return a roster of ada, bea and cai with file keys, and others."""
    return roster_of(officer("ada"), officer("bea"), officer("cai"), *rows)


def counted(roster: Roster, *approvals: Approval, **changes: Any) -> tuple[str, ...]:
    """Return who counts."""
    arguments: dict[str, Any] = {"now_ns": NOW_NS, "intent": WITHDRAWAL, **changes}
    intent = arguments.pop("intent")
    return verify_approvals(roster, intent, approvals, **arguments)


def refusal(roster: Roster, *approvals: Approval, **changes: Any) -> Reason:
    """Return why nobody counts."""
    with pytest.raises(Refused) as refused:
        counted(roster, *approvals, **changes)
    return refused.value.reason


def single(roster: Roster, approval: Approval, **changes: Any) -> Reason | str:
    """Return the person behind one approval, or why it is nobody's."""
    intent = changes.get("intent", WITHDRAWAL)
    try:
        return check_approval(roster, intent, approval, now_ns=changes.get("now_ns", NOW_NS)).person
    except Refused as refused:
        return refused.reason


BEA = give(FileKey("bea"), WITHDRAWAL)


@kinds
def test_an_approval_counts_beside_any_other(kind: str) -> None:
    rail = rail_of(kind)
    roster = roster_with(rail.row("dan"))
    assert counted(roster, BEA, give(rail, WITHDRAWAL)) == ("bea", "dan")
    for other in KINDS:
        held = of_every_kind("eve")[other]
        both = roster_with(rail.row("dan"), held.row("eve"))
        assert counted(both, give(held, WITHDRAWAL), give(rail, WITHDRAWAL)) == ("dan", "eve")


@kinds
def test_a_rejection_ends_it(kind: str) -> None:
    rail = rail_of(kind)
    no = give(rail, WITHDRAWAL, Verdict.REJECT)
    given = (BEA, give(FileKey("ada"), WITHDRAWAL), no)
    assert refusal(roster_with(rail.row("dan")), *given) is Reason.REJECTED_BY_OFFICER
    assert counted(roster_with(), *given) == ("ada", "bea")


@kinds
def test_a_verdict_is_not_its_opposite(kind: str) -> None:
    rail = rail_of(kind)
    roster = roster_with(rail.row("dan"))
    for said in Verdict:
        (other,) = set(Verdict) - {said}
        turned = replace(give(rail, WITHDRAWAL, said), verdict=other)
        assert single(roster, turned) is Reason.BAD_SIGNATURE


@kinds
def test_another_officers_signature_counts_for_nobody(kind: str) -> None:
    rail, thief = rail_of(kind), rail_of(kind, "eve")
    roster = roster_with(rail.row("dan"))
    stolen = give(thief, WITHDRAWAL)
    assert single(roster, stolen) is Reason.NOT_AN_OFFICER
    named = replace(stolen, public_key=rail.row("dan").public_key)
    assert single(roster, named) is Reason.BAD_SIGNATURE
    assert single(roster, give(rail, WITHDRAWAL)) == "dan"


CHANGES: list[dict[str, Any]] = [
    {"withdrawal_id": "wd_2"},
    {"network": "1:main"},
    {"chain": "other"},
    {"asset_key": "0xToken"},
    {"amount": WITHDRAWAL.amount + 1},
    {"destination": "0x8617E340B3D01FA5F11F306F4090FD50E238070D"},
    {"expires_ns": WITHDRAWAL.expires_ns + 1},
    {"policy_hash": "1" * 64},
    {"decision_hash": "1" * 64},
    {"rule": "other"},
    {"wallet": "treasury"},
    {"not_before_ns": WITHDRAWAL.not_before_ns + 1},
    {"customer_no": 8},
]


@kinds
@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
def test_an_approval_is_for_one_intent_only(kind: str, changes: dict[str, Any]) -> None:
    """W05 and W07: a twin withdrawal, another network, another amount, …"""
    rail = rail_of(kind)
    roster, other = roster_with(rail.row("dan")), withdrawal(**changes)
    assert single(roster, give(rail, WITHDRAWAL), intent=other) is Reason.BAD_SIGNATURE
    assert single(roster, give(rail, other), intent=other) == "dan"


@kinds
def test_an_approval_expires(kind: str) -> None:
    rail = rail_of(kind)
    roster, given = roster_with(rail.row("dan")), (BEA, give(rail, WITHDRAWAL))
    assert counted(roster, *given, now_ns=WITHDRAWAL.expires_ns - 1)
    late = {"now_ns": WITHDRAWAL.expires_ns}
    assert refusal(roster, *given, **late) is Reason.APPROVAL_EXPIRED


@kinds
def test_an_officer_counts_only_while_active_and_listed(kind: str) -> None:
    rail = rail_of(kind)
    given = give(rail, WITHDRAWAL)
    row = rail.row("dan", active_from_ns=NOW_NS - 5, active_until_ns=NOW_NS + 5)
    for now_ns, said in (
        (NOW_NS - 6, Reason.NOT_AN_OFFICER),
        (NOW_NS, "dan"),
        (NOW_NS + 5, Reason.NOT_AN_OFFICER),
    ):
        assert single(roster_with(row), given, now_ns=now_ns) == said
    assert refusal(roster_with(), BEA, given) is Reason.NOT_AN_OFFICER


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(KINDS, 2)))
def test_a_person_with_two_credentials_counts_once(first: str, second: str) -> None:
    """W04."""
    one, two = rail_of(first), rail_of(second, "dans second")
    roster = roster_with(one.row("dan"), two.row("dan"))
    both = (give(one, WITHDRAWAL), give(two, WITHDRAWAL))
    assert refusal(roster, *both) is Reason.ALREADY_APPROVED
    assert counted(roster, *both, BEA) == ("bea", "dan")
    apart = roster_with(one.row("dan"), two.row("eve"))
    assert counted(apart, *both) == ("dan", "eve")


@pytest.mark.parametrize("listed", KINDS)
@pytest.mark.parametrize("signed", KINDS)
def test_a_signature_counts_on_its_own_rail_only(listed: str, signed: str) -> None:
    """Whatever another kind of key signed, named as this row's key, is nothing."""
    row, rail = rail_of(listed).row("dan"), rail_of(signed)
    given = replace(give(rail, WITHDRAWAL), public_key=row.public_key)
    said = single(roster_with(row), given)
    assert said == ("dan" if listed == signed else Reason.BAD_SIGNATURE)


def test_one_edwards_key_is_a_files_or_a_passkeys_and_never_both() -> None:
    passkey = rail_of("passkey-ed25519")
    device = passkey.device  # type: ignore[attr-defined]  # it is a PasskeyOf
    row = passkey.row("dan")
    as_file = replace(row, kind=CredentialKind.ED25519, passkey=None)
    bare = Approval(
        row.public_key,
        Verdict.APPROVE,
        device.sign(approval_signable(WITHDRAWAL, Verdict.APPROVE).message),
    )
    assert single(roster_with(row), bare) is Reason.BAD_SIGNATURE
    assert single(roster_with(as_file), bare) == "dan"
    assert single(roster_with(as_file), give(passkey, WITHDRAWAL)) is Reason.BAD_SIGNATURE


@kinds
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_bit_is_no_approval(kind: str, data: st.DataObject) -> None:
    rail = rail_of(kind)
    roster, honest = roster_with(rail.row("dan")), give(rail, WITHDRAWAL)
    parts = ["public_key", "signature", *(["evidence"] if honest.evidence else [])]
    part = data.draw(st.sampled_from(parts))
    value = bytearray(getattr(honest, part))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changes: dict[str, Any] = {part: bytes(value)}
    changed = replace(honest, **changes)
    assert single(roster, changed) in {Reason.BAD_SIGNATURE, Reason.NOT_AN_OFFICER}
    assert single(roster, honest) == "dan"


@kinds
@pytest.mark.parametrize("part", ["signature", "evidence"])
def test_a_longer_or_shorter_part_is_no_approval(kind: str, part: str) -> None:
    rail = rail_of(kind)
    roster, honest = roster_with(rail.row("dan")), give(rail, WITHDRAWAL)
    value: bytes = getattr(honest, part)
    for changed in (value + b"\x00", b"\x00" + value, value[:-1] if value else b"{}", value * 2):
        changes: dict[str, Any] = {part: changed}
        if changed != value:
            other = replace(honest, **changes)
            assert single(roster, other) is Reason.BAD_SIGNATURE
    assert single(roster, honest) == "dan"


@pytest.mark.parametrize("kind", sorted(ORDERS))
def test_the_twin_with_the_other_s_is_no_approval(kind: str) -> None:
    """The same key, message and r with n - s verifies for mathematics; here only one does."""
    rail = rail_of(kind)
    roster, honest = roster_with(rail.row("dan")), give(rail, WITHDRAWAL)
    order, signature = ORDERS[kind], honest.signature
    s = int.from_bytes(signature[32:64], "big")
    high = signature[:32] + (order - s).to_bytes(32, "big")
    ends = [bytes([27]), bytes([28])] if kind == "wallet" else [b""]
    zero = bytes(32)
    for forged in (
        *(high + end for end in ends),
        *(zero + signature[32:64] + end for end in ends),
        *(signature[:32] + zero + end for end in ends),
        *(signature[:32] + order.to_bytes(32, "big") + end for end in ends),
        *(order.to_bytes(32, "big") + signature[32:64] + end for end in ends),
    ):
        assert single(roster, replace(honest, signature=forged)) is Reason.BAD_SIGNATURE
    assert s <= order // 2
    assert single(roster, honest) == "dan"


def test_a_wallets_signature_ends_in_27_or_28_and_in_the_right_one() -> None:
    rail = WalletKey("dan")
    roster, honest = roster_with(rail.row("dan")), give(rail, WITHDRAWAL)
    right = [
        end
        for end in range(256)
        if single(roster, replace(honest, signature=honest.signature[:64] + bytes([end]))) == "dan"
    ]
    assert right == [honest.signature[64]]
    assert right[0] in {27, 28}


@kinds
def test_a_logged_authority_is_verified_again_offline(kind: str) -> None:
    """From the log's text and the roster of that day, years later, as often as anybody wants."""
    rail = rail_of(kind)
    roster = roster_with(rail.row("dan"))
    authority = Approvals(WITHDRAWAL, (BEA, give(rail, WITHDRAWAL)))
    logged = evidence_of(authority, roster)
    for _ in range(2):
        found, roster_hash = read_evidence(logged)
        assert roster_hash == roster.hash
        assert found == authority
        assert isinstance(found, Approvals)
        assert counted(roster, *found.approvals, intent=found.withdrawal) == ("bea", "dan")


@kinds
def test_an_approval_crosses_the_signers_socket_unchanged(kind: str) -> None:
    authority = Approvals(WITHDRAWAL, (BEA, give(rail_of(kind), WITHDRAWAL)))
    crossed = msgspec.msgpack.encode(signer_wire._authority_of(authority))
    read = msgspec.msgpack.decode(crossed, type=ByOfficers)
    assert signer_wire._authority(read) == authority
