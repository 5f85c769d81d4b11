"""Every kind of credential has one spelling in a roster, and version 2 stays what it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.errors import Reason, Refused
from custody.keys.credentials import CredentialKind
from custody.keys.passkey import Passkey
from custody.keys.roster import Officer
from custody.keys.roster_files import check_chain
from custody.keys.roster_text import parse_body, parse_draft, render_body, sealed
from custody.keys.typed_approval import address_text
from tests.unit.custody.keys.officers import ROSTER, next_roster, officer, roster_of, signed_by

POINT = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
"""The generator of P-256 (SEC 2, §2.4.2), compressed."""
WALLET = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
PASSKEY = Passkey(b"\x01\x02", "custody.example", ("https://custody.example:8443",))
BY_PASSKEY = Officer("ada", POINT, 0, 9, CredentialKind.WEBAUTHN, PASSKEY)
BY_WALLET = Officer("bea", bytes.fromhex(WALLET[2:]), 0, 9, CredentialKind.EIP712)
FULL = roster_of(*ROSTER.officers, BY_PASSKEY, BY_WALLET)
TEXT = render_body(FULL).decode()


def test_every_kind_reads_back() -> None:
    assert parse_body(TEXT.encode()) == FULL
    edwards = replace(BY_PASSKEY, public_key=bytes(range(32)))
    synced = replace(edwards, passkey=replace(PASSKEY, synced=True))
    for one in (edwards, synced):
        roster = roster_of(*ROSTER.officers, one)
        assert parse_body(render_body(roster)) == roster


def test_a_row_says_what_its_kind_needs_and_nothing_else() -> None:
    assert (
        """[[officers]]
kind = "webauthn"
person = "ada"
public_key = "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
credential_id = "0102"
rp_id = "custody.example"
origins = ["https://custody.example:8443"]
synced = false
active_from_ns = 0
active_until_ns = 9

[[officers]]
kind = "eip712"
person = "bea"
address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
active_from_ns = 0
active_until_ns = 9
"""
        in TEXT
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("credential_id = ", "id = "),
        ('credential_id = "0102"\n', ""),
        ("0102", "010"),
        ("0102", "01O2"),
        ("0102", "01" * 1_024),
        ("036b17", "046b17"),
        ("036b17", "036b18"),
        ("96\"", "9600\""),
        ("custody.example:8443", "custody.example.thief:8443"),
        ("custody.example:8443", "custodyXexample:8443"),
        ("https://custody.example:8443", "http://custody.example:8443"),
        ("https://custody.example:8443", "https://custody.example:8443/"),
        ('["https://custody.example:8443"]', "[]"),
        ('["https://custody.example:8443"]', '"https://custody.example:8443"'),
        ('rp_id = "custody.example"', 'rp_id = "Custody.example"'),
        ('rp_id = "custody.example"', 'rp_id = ""'),
        ("synced = false", "synced = 0"),
        ("synced = false\n", ""),
        ("0x5aAe", "0x5aae"),
        ("0x5aAe", "0X5aAe"),
        ("0x5aAe", "0xAe"),
        ("address = ", "public_key = "),
        ('kind = "eip712"', 'kind = "ed25519"'),
        ('kind = "eip712"', 'kind = "pgp"'),
        ("[[officers]]\nkind", "[[officers]]\nrole = 3\nkind"),
    ],
)  # fmt: skip
def test_a_row_that_is_not_plain_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(Refused) as refused:
        parse_body(TEXT.replace(old, new).encode())
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "row",
    [
        replace(BY_PASSKEY, passkey=None),
        replace(BY_WALLET, passkey=PASSKEY),
        replace(BY_WALLET, public_key=bytes(32)),
        replace(ROSTER.officers[0], public_key=bytes(20)),
        replace(BY_PASSKEY, passkey=replace(PASSKEY, origins=PASSKEY.origins * 2)),
    ],
)
def test_a_row_whose_parts_do_not_belong_together_is_refused(row: Officer) -> None:
    with pytest.raises(Refused) as refused:
        roster_of(*ROSTER.officers[1:], officer("dan"), row)
    assert refused.value.reason is Reason.MALFORMED


def test_a_passkey_stands_in_a_roster_once() -> None:
    twin = replace(BY_PASSKEY, person="bea", public_key=bytes(range(32)))
    with pytest.raises(Refused):
        roster_of(*ROSTER.officers, BY_PASSKEY, twin)
    other = replace(twin, passkey=replace(PASSKEY, credential_id=b"other"))
    assert len(roster_of(*ROSTER.officers, BY_PASSKEY, other).officers) == 5


def test_a_roster_that_nobody_could_follow_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        roster_of(officer("ada"), BY_WALLET, BY_PASSKEY)
    assert "nobody signs the next roster" in refused.value.detail
    assert len(roster_of(officer("ada"), officer("bea"), BY_PASSKEY).officers) == 3


def test_version_2_keeps_its_bytes_and_version_3_follows_it() -> None:
    old = sealed(replace(ROSTER, version=2))
    body = render_body(old)
    assert b"kind" not in body
    assert body.startswith(b"version = 2\n")
    assert parse_body(body) == old
    new = next_roster(old, officers=FULL.officers, version=3)
    chain = check_chain([signed_by(old, "ada", "bea"), signed_by(new, "bea", "cai")], new.hash)
    assert chain.pinned == parse_body(render_body(new))


@pytest.mark.parametrize(
    "changes",
    [{"officers": FULL.officers}, {"version": 4}, {"version": 1}],
)
def test_version_2_knows_no_other_kind_and_there_is_no_version_4(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        sealed(replace(ROSTER, **{"version": 2, **changes}))


def test_a_draft_may_leave_out_the_kind_of_a_file_key() -> None:
    free = TEXT.replace('kind = "ed25519"\n', "")
    assert parse_draft(free.encode()) == FULL


def test_addresses_are_spelled_as_eip_55_shows() -> None:
    for text in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert address_text(bytes.fromhex(text[2:])) == text
