"""A roster counts when the quorum of the one before it signed it, back to the first and pinned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys.roster import Roster, sign_approval, verify_approvals
from custody.keys.roster_files import (
    MARKER,
    RosterChain,
    SignedRoster,
    check_signed,
    file_name,
    load_rosters,
    parse_file,
    render_file,
    roster_message,
    sign_roster,
)
from custody.keys.roster_text import render_body, sealed
from tests.unit.custody.keys.officers import (
    ADA,
    BEA,
    NOW_NS,
    ROSTER,
    WITHDRAWAL,
    next_roster,
    officer,
    officer_key,
    roster_of,
    signed_by,
)

FIRST = sealed(replace(ROSTER, issued_ns=NOW_NS))
SECOND = next_roster(FIRST, officers=(officer("ada"), officer("cai"), officer("dan")))
THIRD = next_roster(SECOND, threshold=3)
CHAIN = (
    signed_by(FIRST, "ada", "bea"),
    signed_by(SECOND, "bea", "cai"),
    signed_by(THIRD, "cai", "dan"),
)


def write(folder: Path, *rosters: SignedRoster) -> Path:
    for signed in rosters:
        (folder / file_name(signed.roster.serial)).write_bytes(render_file(signed))
    return folder


def refusal(folder: Path, pinned: bytes) -> Reason:
    with pytest.raises(Refused) as refused:
        load_rosters(folder, pinned)
    return refused.value.reason


def test_the_pinned_roster_is_loaded_with_every_one_before_it(tmp_path: Path) -> None:
    write(tmp_path, *CHAIN)
    rosters = load_rosters(tmp_path, THIRD.hash)
    assert rosters == RosterChain((FIRST, SECOND, THIRD))
    assert rosters.pinned is rosters.by_hash(THIRD.hash)
    assert load_rosters(tmp_path, SECOND.hash).versions == (FIRST, SECOND)
    with pytest.raises(Refused) as refused:
        load_rosters(tmp_path, SECOND.hash).by_hash(THIRD.hash)
    assert refused.value.reason is Reason.ROSTER_MISMATCH


def test_a_broken_proposal_beside_it_stops_nobody(tmp_path: Path) -> None:
    write(tmp_path, *CHAIN[:2])
    (tmp_path / file_name(3)).write_bytes(b"version = 2\nhalf a ")
    assert load_rosters(tmp_path, SECOND.hash).pinned == SECOND


def test_a_file_reads_back_and_signatures_do_not_change_its_hash() -> None:
    data = render_file(CHAIN[1])
    assert parse_file(data) == CHAIN[1]
    assert data.startswith(render_body(SECOND) + MARKER)
    more = replace(CHAIN[1], signatures=(*CHAIN[1].signatures, sign_roster(ADA, SECOND)))
    assert parse_file(render_file(more)).roster.hash == hashlib.sha256(render_body(SECOND)).digest()


def test_officers_sign_the_serial_and_the_hash_of_the_body() -> None:
    expected = canonical.encode("strongroom/roster", 1, (2, SECOND.hash))
    assert roster_message(SECOND) == expected
    assert check_signed(CHAIN[1], FIRST) == ("bea", "cai")


def altered(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize("serial", [1, 2, 3])
def test_a_changed_body_is_another_roster(tmp_path: Path, serial: int) -> None:
    path = write(tmp_path, *CHAIN) / file_name(serial)
    path.write_bytes(altered(path.read_bytes(), b'person = "ada"', b'person = "eve"'))
    assert refusal(tmp_path, THIRD.hash) in {Reason.ROSTER_MISMATCH, Reason.BAD_SIGNATURE}


@pytest.mark.parametrize("serial", [1, 2])
def test_a_missing_version_is_refused(tmp_path: Path, serial: int) -> None:
    (write(tmp_path, *CHAIN) / file_name(serial)).unlink()
    assert refusal(tmp_path, THIRD.hash) is Reason.ROSTER_MISMATCH


FORGERIES: list[tuple[str, Callable[[], SignedRoster], Reason]] = [
    ("nobody signed", lambda: signed_by(SECOND), Reason.QUORUM_NOT_MET),
    ("one signed", lambda: signed_by(SECOND, "ada"), Reason.QUORUM_NOT_MET),
    ("one signed twice", lambda: signed_by(SECOND, "ada", "ada"), Reason.QUORUM_NOT_MET),
    ("a stranger beside a quorum", lambda: signed_by(SECOND, "ada", "bea", "eve"),
     Reason.NOT_AN_OFFICER),
    ("the new one signs for himself", lambda: signed_by(SECOND, "ada", "dan"),
     Reason.NOT_AN_OFFICER),
    ("a signature of another version",
     lambda: SignedRoster(SECOND, signed_by(FIRST, "ada", "bea").signatures), Reason.BAD_SIGNATURE),
    ("a signature in another's name",
     lambda: SignedRoster(SECOND, (sign_roster(ADA, SECOND), replace(
         sign_roster(officer_key("eve"), SECOND),
         public_key=BEA.public_key().public_bytes_raw()))), Reason.BAD_SIGNATURE),
    ("it follows another one", lambda: signed_by(next_roster(SECOND, serial=2), "ada", "bea"),
     Reason.ROSTER_MISMATCH),
    ("it skips a serial", lambda: signed_by(next_roster(FIRST, serial=3), "ada", "bea"),
     Reason.ROSTER_MISMATCH),
    ("it was issued before the first",
     lambda: signed_by(next_roster(FIRST, issued_ns=NOW_NS), "ada", "bea"),
     Reason.ISSUED_TOO_LONG_AGO),
]  # fmt: skip


@pytest.mark.parametrize(
    ("forge", "reason"), [pytest.param(forge, reason, id=name) for name, forge, reason in FORGERIES]
)
def test_a_roster_without_the_quorum_before_it_is_refused(
    tmp_path: Path, forge: Callable[[], SignedRoster], reason: Reason
) -> None:
    forged = forge()
    write(tmp_path, CHAIN[0])
    (tmp_path / file_name(2)).write_bytes(render_file(forged))
    assert refusal(tmp_path, forged.roster.hash) is reason
    write(tmp_path, CHAIN[1])
    assert load_rosters(tmp_path, SECOND.hash).pinned == SECOND


def test_the_first_roster_is_signed_by_its_own_quorum(tmp_path: Path) -> None:
    for names, reason in (
        (("ada",), Reason.QUORUM_NOT_MET),
        (("ada", "eve"), Reason.NOT_AN_OFFICER),
    ):
        write(tmp_path, signed_by(FIRST, *names))
        assert refusal(tmp_path, FIRST.hash) is reason
    write(tmp_path, signed_by(FIRST, "cai", "bea"))
    assert load_rosters(tmp_path, FIRST.hash).pinned == FIRST


def test_two_keys_of_one_person_sign_as_one(tmp_path: Path) -> None:
    first = roster_of(officer("ada"), officer("ada", key="phone"), officer("bea"))
    write(tmp_path, signed_by(first, "ada", "phone"))
    assert refusal(tmp_path, first.hash) is Reason.QUORUM_NOT_MET
    write(tmp_path, signed_by(first, "ada", "bea"))
    assert load_rosters(tmp_path, first.hash).pinned == first


def test_officers_must_be_active_when_the_roster_is_issued(tmp_path: Path) -> None:
    leaving = officer("bea", active_until_ns=NOW_NS + 10)
    first = sealed(replace(FIRST, officers=(officer("ada"), leaving, officer("cai"))))
    write(tmp_path, signed_by(first, "ada", "bea"))
    late = next_roster(first, issued_ns=NOW_NS + 10)
    write(tmp_path, signed_by(late, "ada", "bea"))
    assert refusal(tmp_path, late.hash) is Reason.NOT_AN_OFFICER
    early = next_roster(first, issued_ns=NOW_NS + 9)
    write(tmp_path, signed_by(early, "ada", "bea"))
    assert load_rosters(tmp_path, early.hash).pinned == early


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (MARKER, b""),
        (MARKER, MARKER + MARKER),
        (MARKER, b"\r\n" + MARKER),
        (b"# " + b"0", b"#  0"),
        (b"\n", b"\r\n"),
    ],
)
def test_signatures_stand_in_one_place_only(tmp_path: Path, old: bytes, new: bytes) -> None:
    signature = replace(signed_by(FIRST, "ada").signatures[0], public_key=bytes(32))
    data = render_file(replace(CHAIN[0], signatures=(*CHAIN[0].signatures, signature)))
    with pytest.raises(Refused) as refused:
        parse_file(altered(data, old, new))
    assert refused.value.reason is Reason.MALFORMED


def test_a_signature_cut_short_is_no_signature() -> None:
    with pytest.raises(Refused) as refused:
        parse_file(render_file(CHAIN[0])[:-1])
    assert refused.value.reason is Reason.MALFORMED


def test_a_removed_officers_open_approvals_are_void_under_the_new_roster() -> None:
    """Rules, versions: removing a member voids that person's open approvals."""
    given = tuple(sign_approval(key, WITHDRAWAL) for key in (ADA, BEA))

    def persons(roster: Roster) -> tuple[str, ...]:
        return verify_approvals(roster, WITHDRAWAL, given, now_ns=NOW_NS)

    assert persons(FIRST) == ("ada", "bea")
    assert check_signed(CHAIN[1], FIRST)
    with pytest.raises(Refused) as refused:
        persons(SECOND)
    assert refused.value.reason is Reason.NOT_AN_OFFICER
