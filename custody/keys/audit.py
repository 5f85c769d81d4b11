"""The auditor of the signature log: I7, I8, I9 and I10, from the log and what lies outside it.

Rosters, chains and public keys come from the caller, never from the database, so a log that was
rewritten as a whole still has to carry officers' signatures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import ChainWriter, SpendKind
from core.errors import Corrupt, Refused
from core.ids import ChainId
from custody.keys import signature_log as log
from custody.keys.authority import Standing, check_authority, read_evidence
from custody.keys.guard import check_effects
from custody.keys.intent import intent_hash
from custody.keys.mandate import WINDOW_NS, fits
from custody.keys.roster_files import RosterChain
from custody.keys.signature_log import Entry
from custody.keys.signers.base import KeyRef, check_signature

PublicKeyOf = Callable[[ChainId, KeyRef], bytes]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be: which invariant, which record, in words."""

    invariant: str
    position: int
    what: str


@dataclass(frozen=True, slots=True)
class Auditor:
    """What an audit believes instead of the database."""

    rosters: RosterChain
    """Every roster that ever counted."""
    chains: Mapping[ChainId, ChainWriter]
    public_key_of: PublicKeyOf


def audit(conn: sa.Connection, auditor: Auditor) -> list[Finding]:
    """Return everything wrong with the log of signatures, in order;

    an empty list when it is sound.
    """
    entries = list(log.entries(conn))
    found = [*_chain_of_hashes(conn, entries)]
    for entry in entries:
        found += _signed_rightly(auditor, entry)
    found += _exclusive(entries)
    found += _lanes(entries)
    found += _windows(auditor, entries)
    return sorted(found, key=lambda finding: (finding.position, finding.invariant))


def _chain_of_hashes(conn: sa.Connection, entries: Sequence[Entry]) -> Iterator[Finding]:
    previous = log.GENESIS_HASH
    for number, entry in enumerate(entries, 1):
        if entry.position != number:
            yield Finding("log", number, "a record is missing")
            return
        if log.hash_of(number, previous, entry.record) != entry.hash:
            yield Finding("log", number, "the record does not match its hash")
        previous = entry.hash
    if log.last_position(conn) != len(entries):
        yield Finding("log", len(entries) + 1, "records are missing at the end")


def _signed_rightly(auditor: Auditor, entry: Entry) -> Iterator[Finding]:
    """I8: one intent, whose authority held at that time; the bytes do what it says; our key."""
    record = entry.record
    try:
        chain = auditor.chains[record.chain]
        authority, roster_hash = read_evidence(record.evidence)
        roster = auditor.rosters.by_hash(roster_hash)
        check_authority(
            authority,
            record.spend,
            roster=roster,
            now_ns=record.signed_at_ns,
            address_of_key=lambda key: chain.address_of(auditor.public_key_of(record.chain, key)),
        )
        decoded = chain.decode(record.payload, sender=record.sender)
        check_effects(record.spend, decoded)
        key = auditor.public_key_of(record.chain, KeyRef(record.account, record.key_index))
        if chain.address_of(key) != record.sender or key != record.public_key:
            yield Finding("I8", entry.position, "the sender is not the recorded key")
        told = (record.nonce, record.digest, record.fee_max)
        if told != (decoded.nonce, decoded.digest, decoded.fee_max):
            yield Finding("I8", entry.position, "the payload is not what the record says")
        if entry.signature is not None:
            check_signature(entry.signature, record.digest, key)
        yield from _columns_fit(entry)
    except KeyError:
        yield Finding("I8", entry.position, f"no chain {record.chain}")
    except (Refused, Corrupt) as error:
        yield Finding("I8", entry.position, str(error))


def _columns_fit(entry: Entry) -> Iterator[Finding]:
    record, spend = entry.record, entry.record.spend
    told = (record.chain, record.sender, record.spend_id, record.kind, record.cause_id)
    read = (spend.chain, spend.source, spend.spend_id, spend.kind.value, spend.cause_id)
    if record.intent_hash != intent_hash(spend):
        yield Finding("I8", entry.position, "the intent does not match its hash")
    if told != read or (record.asset_key, record.amount) != (spend.asset_key, spend.amount):
        yield Finding("I8", entry.position, "the record is not about its intent")
    if record.fee_max > spend.fee_max:
        yield Finding("I9", entry.position, "the fee is above the intent's cap")


def _exclusive(entries: Sequence[Entry]) -> Iterator[Finding]:
    """I7: all signatures of one withdrawal exclude each other, and a nonce has one owner."""
    owners: dict[tuple[str, str, int], str] = {}
    attempts: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    cancelled: set[tuple[str, str, int]] = set()
    for entry in entries:
        record = entry.record
        if owners.setdefault(record.lane, record.owner) != record.owner:
            yield Finding("I7", entry.position, f"nonce {record.nonce} has two owners")
        if record.kind == SpendKind.CANCELLATION:
            cancelled.add(record.lane)
            continue
        if record.lane in cancelled:
            yield Finding("I7", entry.position, "signed after its own cancellation")
        dead = {int(text) for text in record.proven_dead.split(",") if text}
        claims = {("spend", record.spend_id)}
        if record.kind == SpendKind.WITHDRAWAL:
            claims.add(("withdrawal", record.cause_id))
        rivals = {e.position: e for claim in claims for e in attempts[claim]}
        for claim in claims:
            attempts[claim].append(entry)
        for rival in rivals.values():
            if rival.record.lane == record.lane:
                continue
            if rival.position not in dead or rival.record.lane not in cancelled:
                yield Finding("I7", entry.position, f"does not exclude record {rival.position}")


def _lanes(entries: Sequence[Entry]) -> Iterator[Finding]:
    """I9: the nonces of a sender have no gaps."""
    lanes: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for entry in entries:
        record = entry.record
        lanes[record.chain, record.sender].setdefault(record.nonce, entry.position)
    for (_, sender), nonces in lanes.items():
        for nonce, position in nonces.items():
            if nonce > 0 and nonce - 1 not in nonces:
                yield Finding("I9", position, f"nonce {nonce - 1} of {sender} was never signed for")


def _windows(auditor: Auditor, entries: Sequence[Entry]) -> Iterator[Finding]:
    """I10: every sum of 24 hours was within the mandate at the moment of signing."""
    earlier: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        record = entry.record
        if record.authority != log.BY_MANDATE:
            continue
        peers = earlier[record.chain, record.kind]
        used = log.summed(
            (
                (other.spend_id, other.asset_key, other.amount, other.fee_max)
                for other in (peer.record for peer in peers)
                if other.signed_at_ns > record.signed_at_ns - WINDOW_NS
                and other.spend_id != record.spend_id
            ),
            record.asset_key,
        )
        peers.append(entry)
        try:
            authority, roster_hash = read_evidence(record.evidence)
            if isinstance(authority, Standing):
                mandate = auditor.rosters.by_hash(roster_hash).mandate(authority.mandate_id)
                fits(mandate, record.spend, used)
            else:
                yield Finding("I8", entry.position, "called a mandate and is none")
        except (Refused, Corrupt) as error:
            yield Finding("I10", entry.position, str(error))
