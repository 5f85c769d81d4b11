"""The auditor of the log of signatures: I7, I8, I9 and I10, from the log and what lies outside it.

Rosters, chains and public keys come from the caller, never from the log, so a log that was
rewritten as a whole still has to carry officers' signatures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from chains.base import Chain, SpendKind
from core.errors import Corrupt, Refused
from core.ids import ChainId
from custody.keys import signing_record as log
from custody.keys.authority import Approvals, check_authority, each_of, read_evidence, word_of
from custody.keys.guard import check_signatures
from custody.keys.intent import intent_hash
from custody.keys.limits import SlidingWindow, Sums, besides, check_parts
from custody.keys.mandate import Usage, fits
from custody.keys.roster_files import RosterChain
from custody.keys.ruling import Law
from custody.keys.signers.base import KeyRef
from custody.keys.signing_record import Entry, Mark, Part, Record, nonce_of, positions_of
from custody.keys.transaction import check_explained, check_key, check_kind, keys_of

PublicKeyOf = Callable[[ChainId, KeyRef], bytes]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be: which invariant, which record, in words."""

    invariant: str
    position: int
    what: str


@dataclass(frozen=True, slots=True)
class Auditor:
    """What an audit believes instead of the log."""

    rosters: RosterChain
    """Every roster that ever counted."""
    chains: Mapping[ChainId, Chain]
    public_key_of: PublicKeyOf
    law: Law
    """Every policy that ever counted, and since when."""
    end: Mark | None = None
    """How far the log reaches, from an anchor or an earlier export."""


def audit(entries: Sequence[Entry], auditor: Auditor) -> list[Finding]:
    """Return everything wrong with a whole exported log, in order; nothing when it is sound."""
    found = [*_chain_of_hashes(entries, auditor.end)]
    for entry in entries:
        found += _signed_rightly(auditor, entry)
    found += _exclusive(entries)
    found += _lanes(entries, auditor.rosters)
    found += _windows(entries, auditor)
    return sorted(found, key=lambda finding: (finding.position, finding.invariant))


def _chain_of_hashes(entries: Sequence[Entry], end: Mark | None) -> Iterator[Finding]:
    mark = log.GENESIS
    for number, entry in enumerate(entries, 1):
        if entry.position != number:
            yield Finding("log", number, "a record is missing")
            return
        made, _ = log.entry_of(mark, entry.record, entry.signature)
        if made != entry:
            yield Finding("log", number, "the record does not match its hash")
        if number > 1 and entry.record.signed_at_ns < entries[number - 2].record.signed_at_ns:
            yield Finding("log", number, "the record is dated before the one before it")
        mark = entry.mark
        if end is not None and end.position == number and end != mark:
            yield Finding("log", number, "the log tells another story than its anchor")
    if end is not None and end.position > len(entries):
        yield Finding("log", len(entries) + 1, "records are missing at the end")


def _signed_rightly(auditor: Auditor, entry: Entry) -> Iterator[Finding]:
    """I8: one intent, whose authority held at that time; the bytes do what it says; our keys."""
    record = entry.record
    try:
        chain = auditor.chains[record.chain]
        authority, roster_hash = read_evidence(record.evidence)
        roster = auditor.rosters.by_hash(roster_hash)

        def public_key(key: KeyRef) -> bytes:
            return auditor.public_key_of(record.chain, key)

        def address_of(key: KeyRef) -> str:
            return chain.address_of(public_key(key))

        key = KeyRef(record.account, record.key_index)
        check_authority(
            authority,
            record.spend,
            key=key,
            roster=roster,
            law=auditor.law,
            now_ns=record.signed_at_ns,
            address_of_key=address_of,
        )
        decoded = chain.decode(record.payload, sender=record.sender)
        input_keys, change_keys = _keys(record.input_keys), _keys(record.change_keys)
        check_explained(
            record.spend,
            decoded,
            key=key,
            input_keys=input_keys,
            change_keys=change_keys,
            address_of_key=address_of,
        )
        sender = record.sender
        from_contract = check_key(
            record.spend, key, sender=sender, roster=roster, address_of_key=address_of
        )
        check_kind(
            record.spend, decoded, sender=sender, from_contract=from_contract, roster=roster,
            address_of_key=address_of,
        )  # fmt: skip
        if public_key(key) != record.public_key:
            yield Finding("I8", entry.position, "the sender is not the recorded key")
        told = (record.nonce, record.claims, record.digest, record.fee_max)
        claims = decoded.claims(record.sender)
        if told != (decoded.nonce, claims, decoded.digest, decoded.fee_max):
            yield Finding("I8", entry.position, "the payload is not what the record says")
        check_signatures(
            chain.traits.curve,
            entry.signature,
            decoded,
            [public_key(one) for one in keys_of(key, input_keys)],
        )
        yield from _columns_fit(entry)
    except KeyError:
        yield Finding("I8", entry.position, f"no chain {record.chain}")
    except (Refused, Corrupt) as error:
        yield Finding("I8", entry.position, str(error))


def _columns_fit(entry: Entry) -> Iterator[Finding]:
    record, spend = entry.record, entry.record.spend
    if word_of(read_evidence(record.evidence)[0]) != record.authority:
        yield Finding("I8", entry.position, "called a mandate and is none, or the reverse")
    told = (record.chain, record.spend_id, record.kind, record.cause_id)
    read = (spend.chain, spend.spend_id, spend.kind.value, spend.cause_id)
    if record.intent_hash != intent_hash(spend):
        yield Finding("I8", entry.position, "the intent does not match its hash")
    if told != read or (record.asset_key, record.amount) != (spend.asset_key, spend.amount):
        yield Finding("I8", entry.position, "the record is not about its intent")
    if record.fee_max > spend.fee_max:
        yield Finding("I9", entry.position, "the fee is above the intent's cap")


def _exclusive(entries: Sequence[Entry]) -> Iterator[Finding]:
    """I7: all signatures of one withdrawal exclude each other, and a claim has one owner."""
    holders: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    attempts: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    cancelled: set[tuple[str, str]] = set()
    for entry in entries:
        record = entry.record
        claims = _claims(record)
        dead = set(positions_of(record.proven_dead))
        present = [(claim, one) for claim in sorted(claims) for one in holders[claim]]
        for claim, one in present:
            is_free = one.position in dead and _was_overtaken(one, claim, holders)
            if one.record.owner != record.owner and not is_free:
                yield Finding("I7", entry.position, f"{claim[1]} has two owners")
        for claim in claims:
            holders[claim].append(entry)
        if record.kind == SpendKind.CANCELLATION:
            cancelled |= claims
            continue
        if any(
            one.record.kind == SpendKind.CANCELLATION and one.record.owner == record.owner
            for _, one in present
        ):
            yield Finding("I7", entry.position, "signed after its own cancellation")
        causes = {("spend", record.spend_id)} | {("withdrawal", one) for one in record.causes}
        rivals = {e.position: e for cause in causes for e in attempts[cause]}
        for cause in causes:
            attempts[cause].append(entry)
        for rival in rivals.values():
            if _claims(rival.record) & claims:
                continue
            if rival.position not in dead or not _claims(rival.record) & cancelled:
                yield Finding("I7", entry.position, f"does not exclude record {rival.position}")


def _was_overtaken(
    one: Entry, claim: tuple[str, str], holders: Mapping[tuple[str, str], Sequence[Entry]]
) -> bool:
    """Return whether its spend has a version without this coin that excludes it."""
    others = {e.position: e for other in _claims(one.record) for e in holders.get(other, ())}
    return any(
        e.record.owner == one.record.owner and claim not in _claims(e.record)
        for e in others.values()
    )


def _lanes(entries: Sequence[Entry], rosters: RosterChain) -> Iterator[Finding]:
    """I9: the nonces of a sender have no gaps, but where a contract wallet has other owners too."""
    lanes: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for entry in entries:
        record = entry.record
        for claim in record.claims:
            nonce = nonce_of(claim, record.sender)
            shared = rosters.ever_held(record.chain, record.sender)
            if nonce is not None and not shared:
                lanes[record.chain, record.sender].setdefault(nonce, entry.position)
    for (_, sender), nonces in lanes.items():
        for nonce, position in nonces.items():
            if nonce > 0 and nonce - 1 not in nonces:
                yield Finding("I9", position, f"nonce {nonce - 1} of {sender} was never signed for")


def _windows(entries: Sequence[Entry], auditor: Auditor) -> Iterator[Finding]:
    """I10: every sum of 24 hours was within limits and mandate at the moment of signing."""
    windows: dict[tuple[str, ...], SlidingWindow] = defaultdict(SlidingWindow)
    latest = 0
    for entry in entries:
        record = entry.record
        now_ns = latest = max(latest, record.signed_at_ns)
        try:
            _check_windows(auditor, record, now_ns, windows)
            for part in record.parts:
                for name in _names(part):
                    window, spend = windows[name], part.spend
                    window.add(now_ns, part.group, spend.amount, spend.fee_max)
        except (Refused, Corrupt, ValueError) as error:
            yield Finding("I10", entry.position, str(error))


def _names(part: Part) -> list[tuple[str, ...]]:
    spend = part.spend
    names: list[tuple[str, ...]] = [("limit", spend.chain, spend.asset_key)]
    if part.by_mandate:
        names.append(("mandate", spend.chain, spend.kind.value, spend.asset_key))
        names.append(("fees", spend.chain, spend.kind.value))
    return names


def _check_windows(
    auditor: Auditor,
    record: Record,
    now_ns: int,
    windows: Mapping[tuple[str, ...], SlidingWindow],
) -> None:
    try:
        authority, roster_hash = read_evidence(record.evidence)
        roster = auditor.rosters.by_hash(roster_hash)
        rights = each_of(authority, record.spend)
    except (Refused, Corrupt):
        return  # I8 says so
    spent, standing = [], []
    for part, (right, spend) in zip(record.parts, rights, strict=True):
        both = [
            (windows[name].others(now_ns, part.group), windows[name].of(now_ns, part.group))
            for name in _names(part)
        ]
        spent.append(both[0])
        if not isinstance(right, Approvals) and part.by_mandate:
            (_, (amounts, own), (fees, own_fees)) = both
            used = Sums(amounts.amount, fees.fees), Sums(own.amount, own_fees.fees)
            standing.append((right, spend, used))
    check_parts(roster.limits, [part.spend for part in record.parts], spent)
    asked = [Sums(spend.amount, spend.fee_max) for _, spend, _ in standing]
    others = besides(asked, [used for _, _, used in standing])
    for (right, spend, _), sums in zip(standing, others, strict=True):
        fits(roster.mandate(right.mandate_id), spend, Usage(*sums))


def _claims(record: Record) -> set[tuple[str, str]]:
    return {(record.chain, claim) for claim in record.claims}


def _keys(pairs: Sequence[tuple[str, int]]) -> tuple[KeyRef, ...]:
    return tuple(KeyRef(account, index) for account, index in pairs)
