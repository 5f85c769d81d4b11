"""The auditor believes officers' signatures, rosters and chains, and no entry of the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from chains.base import FeeRate, SpendKind
from core.errors import Refused
from core.ids import ChainId
from custody.keys import passkey as passkeys
from custody.keys.audit import Auditor, Finding, audit
from custody.keys.authority import Approvals, check_authority, evidence_of, read_evidence
from custody.keys.guard import SignRequest, sign_once
from custody.keys.intent import encode, intent_hash
from custody.keys.passkey import Assertion
from custody.keys.roster import SpendLimit
from custody.keys.roster_files import RosterChain
from custody.keys.signers import KeyRef
from custody.keys.signing_record import GENESIS, Entry, Mark, Record, entry_of
from tests.support.rails import PasskeyOf, Rail, WalletKey, give
from tests.unit.custody.keys.guardroom import CHAIN, HOT, Guardroom
from tests.unit.custody.keys.officers import officer, officer_key, roster_of

DEARER = FeeRate(26, 3)


def findings(
    room: Guardroom,
    entries: Sequence[Entry] | None = None,
    *,
    end: Mark | None = None,
    rosters: RosterChain | None = None,
) -> list[Finding]:
    def public_key_of(_chain: ChainId, key: KeyRef) -> bytes:
        return room.guard.signer.public_key(key)

    auditor = Auditor(
        rosters or room.rosters, {CHAIN: room.chain}, public_key_of, room.guard.law, end
    )
    return audit(room.entries() if entries is None else entries, auditor)


def busy_day(room: Guardroom) -> None:
    """Sign a bit of everything, a withdrawal that moved to another nonce included."""
    first = room.request("wd_1")
    room.sign(first)
    room.sign(room.request("wd_1", rate=DEARER))
    cancel = room.sign(room.cancellation(first.intent, rate=FeeRate(33, 4)))
    room.chain.broadcast(cancel.raw)
    room.world.mine(7)
    room.sign(room.request("wd_1", nonce=1, spend="sp_again"))
    room.sign(room.request("wd_2", nonce=2))
    room.sign(room.sweep("sw_1", 5_000, index=1))
    room.sign(room.sweep("sw_2", 5_000, index=2))


def test_an_honest_log_has_no_findings(any_room: Guardroom) -> None:
    busy_day(any_room)
    assert findings(any_room) == []
    assert findings(any_room, end=any_room.entries()[-1].mark) == []


def rewritten(entries: Sequence[Entry], position: int, **changes: Any) -> list[Entry]:
    """Change one record and compute every hash anew, as whoever has the file can."""
    found: list[Entry] = []
    mark = GENESIS
    for entry in entries:
        record, signature = entry.record, entry.signature
        if entry.position == position:
            signature = changes.pop("signature", signature)
            record = replace(record, **changes)
        found.append(entry_of(mark, record, signature)[0])
        mark = found[-1].mark
    return found


def test_an_entry_that_was_changed_added_or_left_out_is_found(room: Guardroom) -> None:
    busy_day(room)
    entries = room.entries()
    for tampered in (
        [*entries[:4], replace(entries[4], record=replace(entries[4].record, fee_max=1))],
        [*entries[:4], replace(entries[4], signature=entries[3].signature)],
        [*entries[:2], *entries[3:]],
        entries[1:],
        [*entries, entries[-1]],
    ):
        assert "log" in {finding.invariant for finding in findings(room, tampered)}
    end = entries[-1].mark
    cut = findings(room, entries[:-1], end=end)
    assert [(finding.invariant, finding.position) for finding in cut] == [("log", 7)]
    assert findings(room, entries[:-1]) == []  # nothing else tells that the end is missing
    other = findings(room, rewritten(entries, 7, signed_at_ns=1 << 62), end=end)
    assert "log" in {finding.invariant for finding in other}
    assert findings(room, entries, end=Mark(3, entries[2].hash)) == []


def test_verdicts_on_every_rail_are_audited_again_from_the_log(room: Guardroom) -> None:
    """Passkeys and wallets too: from the exported log and the rosters, with nothing else."""
    rails: tuple[Rail, ...] = (PasskeyOf("dan"), WalletKey("cai"))
    rows = tuple(rail.row(name) for rail, name in zip(rails, ("dan", "cai"), strict=True))
    modern = room.with_roster(officers=(*room.guard.roster.officers, *rows))
    intent = modern.withdrawal("wd_1")
    spend = modern.spend_of(intent)
    authority = Approvals(intent, tuple(give(rail, intent) for rail in rails))
    modern.sign(SignRequest(spend, authority, modern.unsigned(spend), HOT))
    entries = modern.entries()
    assert findings(modern, entries) == []
    honest, _ = read_evidence(entries[0].record.evidence)
    assert honest == authority
    first, second = authority.approvals
    data, client = passkeys.read_evidence(first.evidence)
    unverified = data[:32] + bytes([data[32] & ~passkeys.USER_VERIFIED]) + data[33:]
    for forged in (
        replace(first, evidence=b""),
        replace(first, evidence=passkeys.evidence_of(Assertion(unverified, client, b""))),
        replace(first, signature=second.signature[:64]),
        replace(second, signature=bytes(65)),
    ):
        others = tuple(one for one in authority.approvals if one.public_key != forged.public_key)
        text = evidence_of(Approvals(intent, (forged, *others)), modern.guard.roster)
        found = findings(modern, rewritten(entries, 1, evidence=text))
        assert "I8" in {finding.invariant for finding in found}
    without = RosterChain((replace(modern.guard.roster, officers=room.guard.roster.officers),))
    assert "I8" in {finding.invariant for finding in findings(modern, entries, rosters=without)}


REWRITES: list[tuple[str, int, dict[str, Any]]] = [
    ("log", 2, {"signed_at_ns": 0}),
    ("I8", 5, {"spend_id": "other"}),
    ("I8", 4, {"signature": bytes(65)}),
    ("I8", 4, {"signature": b""}),
    ("I8", 5, {"amount": 0}),
    ("I7", 4, {"proven_dead": ""}),
    ("I7", 4, {"proven_dead": "1"}),
    ("I7", 5, {"cause_id": "wd_1", "spend_id": "s"}),
    ("I7", 5, {"claims": None}),
    ("I9", 5, {"claims": None}),
    ("I9", 1, {"fee_max": 10**9}),
    ("I10", 7, {"amount": 10**9}),
    ("I8", 5, {"evidence": "{}"}),
    ("I8", 5, {"authority": "mandate"}),
    ("I8", 6, {"authority": "approvals"}),
    ("I8", 5, {"chain": ChainId("elsewhere")}),
    ("I8", 5, {"input_keys": (("hot", 0),)}),
]


@pytest.mark.parametrize(("invariant", "position", "changes"), REWRITES)
def test_a_rewritten_record_is_found_with_every_hash_made_anew(
    room: Guardroom, invariant: str, position: int, changes: dict[str, Any]
) -> None:
    busy_day(room)
    if "claims" in changes:
        changes = {"claims": (f"{room.address('hot')}/{0 if invariant == 'I7' else 9}",)}
    if "amount" in changes and invariant == "I10":
        # the amount of an earlier sweep counts for the later one
        position -= 1
    found = findings(room, rewritten(room.entries(), position, **changes))
    assert invariant in {finding.invariant for finding in found}, found


def test_limits_are_recomputed_from_the_exported_log(room: Guardroom) -> None:
    busy_day(room)
    wide = SpendLimit(CHAIN, "native", 5_000, 12_000, 1_000, 5_000)
    for limit, positions in (
        (wide, []),
        (replace(wide, amount_max=4_999), [6, 7]),
        (replace(wide, window_max=11_999), [7]),
        (replace(wide, fee_max=461), [1, 2, 3, 4, 5, 6, 7]),
        (replace(wide, asset_key="other"), [1, 2, 3, 4, 5, 6, 7]),
    ):
        narrow = RosterChain((replace(room.guard.roster, limits=(limit,)),))  # the same hash
        found = findings(room, rosters=narrow)
        assert [(f.invariant, f.position) for f in found] == [("I10", at) for at in positions]


Forgery = Callable[[Guardroom, Record], Record]


def put(room: Guardroom, record: Record, signature: bytes) -> None:
    """Write into the store past its guard."""
    room.guard.shelf.store().append([(record, signature)])


def with_copied_approvals(room: Guardroom, record: Record) -> Record:
    """Put the real approvals of another withdrawal under a payment to a thief."""
    spend = replace(record.spend, destination=room.world.outsider("thief"))
    unsigned = room.forged(spend, nonce=record.nonce)
    return replace(
        record,
        intent=encode(spend),
        intent_hash=intent_hash(spend),
        payload=unsigned.payload,
        digest=unsigned.digest,
    )


def with_rewritten_withdrawal(room: Guardroom, record: Record) -> Record:
    changed = with_copied_approvals(room, record)
    authority, _ = read_evidence(record.evidence)
    assert isinstance(authority, Approvals)
    withdrawal = replace(authority.withdrawal, destination=room.world.outsider("thief"))
    rewritten = replace(authority, withdrawal=withdrawal)
    return replace(changed, evidence=evidence_of(rewritten, room.guard.roster))


def with_another_roster(room: Guardroom, record: Record) -> Record:
    forged = roster_of(officer("eve"), officer("mallory"))
    request = room.request("wd_x")
    return replace(record, evidence=evidence_of(request.authority, forged))


def with_another_key(room: Guardroom, record: Record) -> Record:
    return replace(record, key_index=5)


def with_a_payload_of_its_own(room: Guardroom, record: Record) -> Record:
    spend = replace(record.spend, destination=room.world.outsider("thief"))
    unsigned = room.forged(spend, nonce=record.nonce)
    return replace(record, payload=unsigned.payload, digest=unsigned.digest)


def with_a_smaller_fee(_room: Guardroom, record: Record) -> Record:
    return replace(record, fee_max=record.fee_max - 1)


@pytest.mark.parametrize(
    "forge",
    [
        with_copied_approvals,
        with_rewritten_withdrawal,
        with_another_roster,
        with_another_key,
        with_a_payload_of_its_own,
        with_a_smaller_fee,
    ],
)
def test_a_log_that_was_written_as_a_whole_still_needs_officers(
    room: Guardroom, other_room: Guardroom, forge: Forgery
) -> None:
    """The forger recomputes every hash, so only the officers' signatures are missing."""
    sign_once(other_room.guard, other_room.request())
    (entry,) = other_room.entries()
    put(room, forge(other_room, entry.record), entry.signature)
    assert {finding.invariant for finding in findings(room)} == {"I8"}


def test_a_copied_log_with_nothing_forged_is_sound(room: Guardroom, other_room: Guardroom) -> None:
    sign_once(other_room.guard, other_room.request())
    (entry,) = other_room.entries()
    put(room, entry.record, entry.signature)
    assert findings(room) == []


def test_two_honest_logs_of_the_same_keys_do_not_go_together(
    room: Guardroom, other_room: Guardroom
) -> None:
    """Two guards that did not know of each other: every record is right, the pair is not."""
    room.sign(room.request("wd_1"))
    sign_once(other_room.guard, other_room.request("wd_2", rate=DEARER))
    (entry,) = other_room.entries()
    put(room, entry.record, entry.signature)
    assert [(f.invariant, f.position) for f in findings(room)] == [("I7", 2)]


def test_a_spend_that_was_signed_after_its_cancellation_is_found(
    room: Guardroom, other_room: Guardroom
) -> None:
    request = other_room.request()
    sign_once(other_room.guard, request)
    (entry,) = other_room.entries()
    room.sign(room.cancellation(request.intent))
    put(room, entry.record, entry.signature)
    assert [(f.invariant, f.position) for f in findings(room)] == [("I7", 2)]


def test_a_database_takeover_signs_nothing(room: Guardroom) -> None:
    """S01: whatever stands in the database, the roster in the file decides."""
    victim = room.request("wd_1")
    assert isinstance(victim.authority, Approvals)
    thief = room.world.outsider("thief")
    withdrawal = replace(victim.authority.withdrawal, withdrawal_id="wd_thief", destination=thief)
    spend = room.spend_of(withdrawal, "sp_thief")
    attempts = [
        replace(victim.authority, withdrawal=withdrawal),  # copied approvals
        Approvals(withdrawal, ()),  # a state called APPROVED
        room.approved(withdrawal, officer_key("eve"), officer_key("mallory")),  # replaced officers
    ]
    for authority in attempts:
        request = replace(victim, intent=spend, unsigned=room.forged(spend), authority=authority)
        with pytest.raises(Refused):
            sign_once(room.guard, request)
    assert room.entries() == []
    room.sign(victim)


def test_evidence_reads_back_as_it_was(room: Guardroom) -> None:
    request = room.request()
    sweep = room.sweep("sw_1", 5)
    top_up = room.standing(SpendKind.TOP_UP, KeyRef("deposits", 3))
    for authority in (request.authority, sweep.authority, top_up):
        roster = room.guard.roster
        assert read_evidence(evidence_of(authority, roster)) == (authority, roster.hash)


def test_a_removed_officer_still_counts_for_what_was_signed_before(room: Guardroom) -> None:
    busy_day(room)
    entries = room.entries()
    later = roster_of(officer("ada"), officer("cai"))
    authority, _ = read_evidence(entries[0].record.evidence)
    with pytest.raises(Refused):
        check_authority(
            authority,
            entries[0].record.spend,
            key=KeyRef("hot", 0),
            roster=later,
            law=room.guard.law,
            now_ns=room.clock.now_ns(),
            address_of_key=room.guard.address_of,
        )
    assert findings(room) == []
