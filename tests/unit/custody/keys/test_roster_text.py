"""A roster's body has one spelling, and every word of it counts."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.roster import ContractWallet, Delegate, Node, Roster, SpendLimit
from custody.keys.roster_text import parse_body, parse_draft, render_body, sealed
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.officers import ADA, NOW_NS, ROSTER, officer, roster_of

CHAIN = ChainId("local")
MANDATE = Mandate(
    mandate_id="sweeps",
    kind=SpendKind.SWEEP,
    chain=CHAIN,
    network="31337:0xabc",
    destinations=("0xhot",),
    destination_accounts=("cold", "hot"),
    caps=(AssetCap("0xToken", 50, 70), AssetCap(NATIVE, 10**20, 20)),
    fee_max=100,
    fee_window_max=1_000,
    valid_from_ns=NOW_NS,
    valid_until_ns=NOW_NS + 1_000,
)
FULL = roster_of(
    *ROSTER.officers,
    issued_ns=NOW_NS,
    attestation_key=bytes(range(32)),
    nodes=(Node(CHAIN, ("http://one", "http://two"), 2),),
    limits=(SpendLimit(CHAIN, NATIVE, 10**30, 10**31, 5, 50),),
    mandates=(MANDATE, replace(MANDATE, mandate_id="other")),
    wallets=(ContractWallet(CHAIN, "0xsafe", (KeyRef("hot", 0), KeyRef("cold", 7))),),
    delegates=(Delegate(CHAIN, "0xdelegate"),),
)


def test_a_body_reads_back_and_its_hash_is_that_of_its_bytes() -> None:
    for roster in (FULL, ROSTER, replace(FULL, serial=2, previous=bytes(32))):
        data = render_body(roster)
        assert parse_body(data) == replace(roster, hash=hashlib.sha256(data).digest())
    assert parse_body(render_body(FULL)).hash == FULL.hash


CHANGES: list[dict[str, Any]] = [
    {"serial": 2, "previous": bytes(32)},
    {"issued_ns": NOW_NS + 1},
    {"threshold": 3},
    {"officers": (*ROSTER.officers[:2], officer("eve"))},
    {"officers": (*ROSTER.officers[:2], replace(ROSTER.officers[2], active_until_ns=5))},
    {"attestation_key": None},
    {"nodes": (Node(CHAIN, ("http://one", "http://two"), 1),)},
    {"limits": (replace(FULL.limits[0], window_max=10**31 + 1),)},
    {"mandates": (replace(MANDATE, fee_max=101), FULL.mandates[1])},
    {"mandates": (replace(MANDATE, destinations=("0xthief",)), FULL.mandates[1])},
    {"wallets": (replace(FULL.wallets[0], owners=(KeyRef("hot", 1),)),)},
    {"delegates": (Delegate(CHAIN, "0xthief"),)},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_any_change_is_another_hash(changes: dict[str, Any]) -> None:
    changed = sealed(replace(FULL, **changes))
    assert changed.hash != FULL.hash
    assert parse_body(render_body(changed)) == changed


GOOD = render_body(FULL).decode()
KEY = ADA.public_key().public_bytes_raw().hex()
M, V = Reason.MALFORMED, Reason.UNKNOWN_VERSION


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version = 3", "version = 1", V),
        ("version = 3\n", "", V),
        ("serial = 1", "serial = 2", M),
        ("serial = 1", "serial = 0", M),
        ('previous = ""', 'previous = "00"', M),
        ("threshold = 2", "threshold = 1", M),
        ("threshold = 2", "threshold = 4", M),
        ("threshold = 2", "threshold = true", M),
        ("threshold = 2", 'threshold = "2"', M),
        ("threshold = 2", "threshold = +2", M),
        ("threshold = 2", "threshold = 2 # sic", M),
        ("threshold = 2", "threshold = 2\nlimit = 3", M),
        ('"ada"', '"Ada"', M),
        ('"ada"', '"аda"', M),
        ('"ada"', '"\\u0061da"', M),
        (KEY, KEY.upper(), M),
        (KEY, KEY[:-2], M),
        ('kind = "ed25519"', 'kind = "webauthn"', M),
        ('kind = "ed25519"', 'kind = ["ed25519"]', M),
        ('kind = "ed25519"\n', "", M),
        ("active_from_ns = 0\n", "", M),
        ("active_from_ns = 0\n", "active_from_ns = 9223372036854775807\n", M),
        ("quorum = 2", "quorum = 3", M),
        ("quorum = 2", "quorum = 0", M),
        ('"50"', "50", M),
        ('"50"', '"050"', M),
        ('"50"', '"-50"', M),
        ('"50"', '"5_0"', M),
        ('"50"', '"' + "9" * 77 + '"', M),
        ('"sweep"', '"withdrawal"', M),
        ('"sweep"', '"steal"', M),
        ('"other"', '"sweeps"', M),
        ('["cold", "hot"]', '["hot", "cold"]', M),
        ('["cold", "hot"]', '["savings"]', M),
        ('"hot/0"', '"hot/00"', M),
        ('"hot/0"', '"savings/0"', M),
        ('"hot/0"', '"hot/2147483648"', M),
        ("[signer]", "[singer]", M),
        ("attestation_key", "attestation", M),
        ("[[delegates]]", "[[delegates]]\nchain = 3\naddress = 4\n[[delegates]]", M),
        ("[[delegates]]", "[delegates]", M),
    ],
)
def test_a_roster_that_is_not_plain_is_refused(old: str, new: str, reason: Reason) -> None:
    assert old in GOOD
    with pytest.raises(Refused) as refused:
        parse_body(GOOD.replace(old, new).encode())
    assert refused.value.reason is reason
    assert parse_body(GOOD.encode()) == FULL


def test_what_is_no_text_or_too_much_of_it_is_refused() -> None:
    for data, reason in (
        (b"", V),
        (b"not toml at all", M),
        (b"\xff", M),
        (b"version = 3\n" + b"#" * (1 << 20), Reason.TOO_LARGE),
        (b"version = 3\nx = " + b"[" * 100_000, M),
        (GOOD.encode() + b"\n", M),
        (GOOD.encode()[:-1], M),
    ):
        with pytest.raises(Refused) as refused:
            parse_body(data)
        assert refused.value.reason is reason


def test_a_key_stands_in_a_roster_once() -> None:
    with pytest.raises(Refused) as refused:
        roster_of(*ROSTER.officers, officer("dan", key="ada"))
    assert refused.value.reason is Reason.MALFORMED


def test_a_draft_may_be_spelled_freely_and_hashes_as_its_body_does() -> None:
    draft = f"""# the second version
version = 3
serial = 1
issued_ns = 0
previous = ""
threshold = 2
officers = [{{ person = "ada", public_key = "{KEY}" }},
            {{ public_key = "{officer("bea").public_key.hex()}", person = "bea" }}]
"""
    roster: Roster = parse_draft(draft.encode())
    assert roster == roster_of(officer("ada"), officer("bea"))
    with pytest.raises(Refused):
        parse_body(draft.encode())


def test_a_roster_finds_what_is_in_it_and_nothing_else() -> None:
    assert FULL.mandate("sweeps") == MANDATE
    assert FULL.limit(CHAIN, NATIVE) == FULL.limits[0]
    assert FULL.limit(CHAIN, "0xToken") is FULL.limit(ChainId("other"), NATIVE) is None
    assert FULL.wallet(CHAIN, "0xsafe") == FULL.wallets[0]
    assert FULL.wallet(CHAIN, "0xSafe") is None
    assert FULL.mandates_of(ChainId("other")) == ()
    with pytest.raises(Refused) as refused:
        FULL.mandate("")
    assert refused.value.reason is Reason.NOT_FOUND
