"""The auditor believes officers' signatures, rosters and chains, and no row of the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from chains.base import FeeRate, SpendKind
from core.errors import Refused
from core.ids import ChainId
from custody.db import Database
from custody.keys import signature_log as log
from custody.keys.audit import Auditor, Finding, audit
from custody.keys.authority import Approvals, check_authority, evidence_of, read_evidence
from custody.keys.guard import sign_once
from custody.keys.intent import encode, intent_hash
from custody.keys.signature_log import Record
from custody.keys.signers import KeyRef
from tests.support.databases import Databases
from tests.unit.custody.keys.conftest import create_tables
from tests.unit.custody.keys.guardroom import CHAIN, Guardroom, guardroom
from tests.unit.custody.keys.officers import officer, officer_key, roster_of

DEARER = FeeRate(26, 3)


def findings(room: Guardroom) -> list[Finding]:
    def public_key_of(_chain: ChainId, key: KeyRef) -> bytes:
        return room.guard.signer.public_key(key)

    auditor = Auditor(room.rosters, {CHAIN: room.chain}, public_key_of)
    with room.guard.db.read() as conn:
        return audit(conn, auditor)


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


def superuser(room: Guardroom, *statements: str) -> None:
    """Do what a database superuser can: switch the triggers off and write."""
    with room.guard.db.transaction() as conn:
        for name in ("signing_records", "signing_nonces", "signatures_made", "counters"):
            for verb in ("update", "delete", "replace"):
                conn.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}_no_{verb}")
        for statement in statements:
            conn.exec_driver_sql(statement)


def test_the_database_itself_refuses_changes(any_room: Guardroom) -> None:
    busy_day(any_room)
    columns = {
        "signing_records": "spend_id",
        "signing_nonces": "spend_id",
        "signatures_made": "signature",
    }
    for name, column in columns.items():
        for verb in (f"DELETE FROM {name}", f"UPDATE {name} SET {column} = {column}"):
            with (
                pytest.raises(sa.exc.IntegrityError, match="append-only"),
                any_room.guard.db.transaction() as conn,
            ):
                conn.exec_driver_sql(verb)


HUGE = "x'" + (10**9).to_bytes(32, "big").hex() + "'"
REWRITES: list[tuple[str, str]] = [
    ("log", "UPDATE signing_records SET spend_id = 'other' WHERE position = 5"),
    ("log", "UPDATE signing_records SET signed_at_ns = 0 WHERE position = 2"),
    ("log", "DELETE FROM signing_records WHERE position = 3"),
    ("log", "DELETE FROM signing_records WHERE position = 7"),
    ("I8", "UPDATE signatures_made SET signature = zeroblob(65) WHERE position = 4"),
    ("I8", "UPDATE signing_records SET amount = zeroblob(32) WHERE position = 5"),
    ("I7", "UPDATE signing_records SET proven_dead = '' WHERE position = 4"),
    ("I7", "UPDATE signing_records SET cause_id = 'wd_1', spend_id = 's' WHERE position = 5"),
    ("I7", "UPDATE signing_records SET nonce = 0 WHERE position = 5"),
    ("I9", "UPDATE signing_records SET nonce = 9 WHERE position = 5"),
    ("I10", "UPDATE signing_records SET amount = " + HUGE + " WHERE position = 6"),
    ("I8", "UPDATE signing_records SET evidence = '{}' WHERE position = 5"),
]


@pytest.mark.parametrize(("invariant", "statement"), REWRITES)
def test_a_rewritten_row_is_found(room: Guardroom, invariant: str, statement: str) -> None:
    busy_day(room)
    if "DELETE" in statement:  # a signature refers to its record
        superuser(room, statement.replace("signing_records", "signatures_made"))
    superuser(room, statement)
    found = findings(room)
    assert invariant in {finding.invariant for finding in found}, found


@pytest.fixture
def other_room(databases: Databases) -> Iterator[Guardroom]:
    """Return a second platform of the same officers, whose log an attacker writes freely."""
    with databases.fresh("sqlite", create_tables) as url:
        database = Database.open(url)
        yield guardroom(database)
        database.close()


Forgery = Callable[[Guardroom, Record], Record]


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
    with other_room.guard.db.read() as conn:
        (entry,) = log.entries(conn)
    room.guard.db.run(lambda conn: log.append(conn, forge(other_room, entry.record)))
    assert {finding.invariant for finding in findings(room)} == {"I8"}


def test_a_copied_log_with_nothing_forged_is_sound(room: Guardroom, other_room: Guardroom) -> None:
    sign_once(other_room.guard, other_room.request())
    with other_room.guard.db.read() as conn:
        (entry,) = log.entries(conn)
    room.guard.db.run(lambda conn: log.append(conn, entry.record))
    assert findings(room) == []


def test_two_honest_logs_of_the_same_keys_do_not_go_together(
    room: Guardroom, other_room: Guardroom
) -> None:
    """Two guards that did not know of each other: every record is right, the pair is not."""
    room.sign(room.request("wd_1"))
    sign_once(other_room.guard, other_room.request("wd_2", rate=DEARER))
    with other_room.guard.db.read() as conn:
        (entry,) = log.entries(conn)
    room.guard.db.run(lambda conn: log.append(conn, entry.record))
    assert [(f.invariant, f.position) for f in findings(room)] == [("I7", 2)]


def test_a_spend_that_was_signed_after_its_cancellation_is_found(
    room: Guardroom, other_room: Guardroom
) -> None:
    request = other_room.request()
    sign_once(other_room.guard, request)
    with other_room.guard.db.read() as conn:
        (entry,) = log.entries(conn)
    room.sign(room.cancellation(request.intent))
    room.guard.db.run(lambda conn: log.append(conn, entry.record))
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
    with room.guard.db.read() as conn:
        assert list(log.entries(conn)) == []
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
    with room.guard.db.read() as conn:
        entries = list(log.entries(conn))
    later = roster_of(officer("ada"), officer("cai"))
    authority, _ = read_evidence(entries[0].record.evidence)
    with pytest.raises(Refused):
        check_authority(
            authority,
            entries[0].record.spend,
            roster=later,
            now_ns=room.clock.now_ns(),
            address_of_key=room.guard.address_of,
        )
    assert findings(room) == []
