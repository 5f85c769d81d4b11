"""The only road to a signature: intents go in, and only what they explain completely is signed.

`sign_once` believes nothing it is told. It decodes the transaction itself, verifies officers'
signatures or a mandate against the pinned roster, asks its own signature log and the chain, and
writes down what it is about to sign before it signs. What it keeps for ever:

- (chain, sender, nonce) belongs to one spend. Further digests there only for the same effects at a
  higher rate, or for the declared cancellation of that spend, after which the spend gets no more.
- All signatures of one withdrawal exclude each other: another nonce only after the old one is
  proven dead, that is, used at finality by a cancellation of ours while no attempt was included.
- The same digest asked again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa

from chains.base import (
    NATIVE,
    BlockRef,
    Chain,
    Decoded,
    Effect,
    SpendIntent,
    SpendKind,
    UnsignedTx,
)
from core.clock import Clock
from core.errors import Corrupt, Reason, Refused
from core.ids import ChainId
from custody.db import Contended, Database
from custody.keys import signature_log as log
from custody.keys.authority import (
    Approvals,
    Authority,
    Standing,
    check_authority,
    evidence_of,
)
from custody.keys.intent import encode, intent_hash
from custody.keys.mandate import WINDOW_NS, fits
from custody.keys.roster import Roster
from custody.keys.signature_log import Entry, Record
from custody.keys.signers.base import KeyRef, Signer, check_digest, check_signature

SOURCES: dict[SpendKind, frozenset[str]] = {
    SpendKind.WITHDRAWAL: frozenset({"hot", "cold"}),
    SpendKind.SWEEP: frozenset({"deposits", "hot"}),
    SpendKind.TOP_UP: frozenset({"gas", "hot", "cold"}),
    SpendKind.CANCELLATION: frozenset({"deposits", "hot", "gas", "cold"}),
}
"""Which own accounts may pay for which kind of spend."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What one guard stands on: its log, its chain, its keys, its roster.

    None of it is asked for.
    """

    db: Database
    chain: Chain
    signer: Signer
    roster: Roster
    clock: Clock
    is_frozen: Callable[[ChainId], bool]

    def address_of(self, key: KeyRef) -> str:
        """Return the address of an own key, from the signer and no table."""
        return self.chain.address_of(self.signer.public_key(key))


@dataclass(frozen=True, slots=True)
class SignRequest:
    """One transaction to sign, and by what right. Plain values: it can cross to another process."""

    intent: SpendIntent
    authority: Authority
    unsigned: UnsignedTx
    key: KeyRef


def sign_once(guard: Guard, request: SignRequest) -> bytes:
    """Return the 65-byte signature r ‖ s ‖ recovery id over request.unsigned.digest.

    Refused: frozen, main_network, intent_mismatch, undecodable, invalid_address,
    forbidden_destination, fee_above_cap, unknown_key, equivocation, stale_signer, policy_blocked
    and every reason of custody.keys.authority. Unavailable when the node or the database is; asking
    again is always safe. Corrupt when the log, the signer or the keys contradict each other.
    """
    intent = request.intent
    _check_place(guard, intent)
    public_key = _check_key(guard, request)
    decoded = _check_transaction(guard, request)
    with guard.db.read() as conn:
        known = log.find(conn, intent.chain, intent.source, decoded.digest)
    if known is not None and known.signature is not None:
        _check_same(known.record, request)
        check_signature(known.signature, decoded.digest, public_key)
        return known.signature
    now_ns = guard.clock.now_ns()
    check_authority(
        request.authority,
        intent,
        roster=guard.roster,
        now_ns=now_ns,
        address_of_key=guard.address_of,
    )
    _check_watermark(guard, intent)
    dead = _prove_dead(guard, request)
    record = _record(guard, request, decoded, public_key, now_ns)
    position = guard.db.run(lambda conn: _persist(conn, guard, request, record, dead))
    # From here on the nonce is taken, whatever happens to this process.
    signature = guard.signer.sign(request.key, decoded.digest)
    check_signature(signature, decoded.digest, public_key)
    _keep(guard, position, signature)
    return signature


def last_unsigned(
    conn: sa.Connection, chain: ChainId, sender: str, nonce: int, *, kind: SpendKind
) -> UnsignedTx | None:
    """Return the newest transaction of a kind that was ever recorded for a nonce, None before any.

    Whoever lost an answer asks sign_once for exactly this again, or for a replacement above its
    rate; one built afresh at a lower rate is refused.
    """
    for entry in reversed(log.at_nonce(conn, chain, sender, nonce)):
        if entry.record.kind == kind:
            return _unsigned(entry.record)
    return None


def _check_place(guard: Guard, intent: SpendIntent) -> None:
    traits = guard.chain.traits
    if (intent.chain, intent.network) != (traits.chain, traits.network):
        raise Refused(Reason.INTENT_MISMATCH, "the intent is for another chain or network")
    if not guard.signer.network_allowed(traits):
        raise Refused(Reason.MAIN_NETWORK, "this signer has no business on that network")
    if guard.is_frozen(intent.chain):
        raise Refused(Reason.FROZEN, intent.chain)


def _check_key(guard: Guard, request: SignRequest) -> bytes:
    if request.key.account not in SOURCES[request.intent.kind]:
        raise Refused(
            Reason.INTENT_MISMATCH, f"{request.key.account} pays for no {request.intent.kind}"
        )
    public_key = guard.signer.public_key(request.key)
    if not guard.chain.address_of(public_key) == request.intent.source == request.unsigned.sender:
        raise Refused(Reason.INTENT_MISMATCH, "the key, the source and the sender differ")
    return public_key


def _check_transaction(guard: Guard, request: SignRequest) -> Decoded:
    intent, unsigned = request.intent, request.unsigned
    if guard.chain.parse_address(intent.destination) != intent.destination:
        raise Refused(Reason.INVALID_ADDRESS, "the destination is not in its canonical form")
    decoded = guard.chain.decode(unsigned.payload, sender=unsigned.sender)
    check_digest(decoded.digest)
    for what, told, read in (
        ("chain", unsigned.chain, intent.chain),
        ("network", decoded.network, intent.network),
        ("nonce", unsigned.nonce, decoded.nonce),
        ("digest", unsigned.digest, decoded.digest),
        ("fee_max", unsigned.fee_max, decoded.fee_max),
    ):
        if type(told) is not type(read) or told != read:
            raise Refused(Reason.INTENT_MISMATCH, f"{what} of the transaction")
    check_effects(intent, decoded)
    return decoded


def check_effects(intent: SpendIntent, decoded: Decoded) -> None:
    """Return when the intent explains everything a transaction does, and its fee.

    Refused: intent_mismatch, fee_above_cap, zero_amount, same_account.
    """
    if decoded.network != intent.network or decoded.effects not in _explained_effects(intent):
        raise Refused(Reason.INTENT_MISMATCH, "the transaction does not do what the intent says")
    if decoded.fee_max > intent.fee_max:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{decoded.fee_max} is above {intent.fee_max}")


def _explained_effects(intent: SpendIntent) -> tuple[tuple[Effect, ...], ...]:
    if intent.kind is SpendKind.CANCELLATION:
        if (intent.destination, intent.amount, intent.asset_key) != (intent.source, 0, NATIVE):
            raise Refused(Reason.INTENT_MISMATCH, "a cancellation sends nothing to itself")
        return ((), (Effect(NATIVE, intent.source, 0),))
    if intent.amount <= 0:
        raise Refused(Reason.ZERO_AMOUNT, intent.spend_id)
    if intent.destination == intent.source:
        raise Refused(Reason.SAME_ACCOUNT, "a spend to its own sender")
    return ((Effect(intent.asset_key, intent.destination, intent.amount),),)


def _check_same(record: Record, request: SignRequest) -> None:
    if record.intent != encode(request.intent) or record.payload != request.unsigned.payload:
        raise Refused(Reason.EQUIVOCATION, "this digest was signed for another intent")


def _check_watermark(guard: Guard, intent: SpendIntent) -> None:
    used = guard.chain.used_nonces(intent.source, guard.chain.head())
    with guard.db.read() as conn:
        known = log.nonces_below(conn, intent.chain, intent.source, used)
    if known < used:
        raise Refused(
            Reason.STALE_SIGNER, f"the chain has seen {used} nonces, the log knows {known} of them"
        )


def _prove_dead(guard: Guard, request: SignRequest) -> frozenset[int]:
    """Return the positions of this spend's attempts at other nonces, all proven unable to land."""
    if request.intent.kind is SpendKind.CANCELLATION:
        return frozenset()
    with guard.db.read() as conn:
        elsewhere = _elsewhere(log.attempts_of(conn, request.intent), request)
        lanes = {
            entry.record.lane: log.at_nonce(
                conn, entry.record.chain, entry.record.sender, entry.record.nonce
            )
            for entry in elsewhere
        }
    if not elsewhere:
        return frozenset()
    final = guard.chain.final_head()
    if final is None or any(chain != request.intent.chain for chain, _, _ in lanes):
        raise _equivocation("an earlier attempt elsewhere is not proven dead")
    for (_, sender, nonce), entries in lanes.items():
        if guard.chain.used_nonces(sender, final) <= nonce:
            raise _equivocation(f"nonce {nonce} of {sender} is not used at finality")
        _check_cancelled(guard, entries, final)
    return frozenset(entry.position for entry in elsewhere)


def _check_cancelled(guard: Guard, entries: list[Entry], final: BlockRef) -> None:
    is_cancelled = False
    for entry in entries:
        block = guard.chain.tx_status(_tx_id(guard, entry)).block
        if entry.record.kind != SpendKind.CANCELLATION:
            if block is not None:
                raise _equivocation(f"attempt {entry.position} is on chain")
        elif block is not None and block.height <= final.height:
            is_cancelled = True
    if not is_cancelled:
        # Only we can use the nonce. If none of ours is there, the node or the log is not whole.
        raise _equivocation("no cancellation of ours is final at the old nonce")


def _tx_id(guard: Guard, entry: Entry) -> str:
    record = entry.record
    signature = entry.signature
    if signature is None:  # never released, but what it would be is needed to look for it
        signature = guard.signer.sign(KeyRef(record.account, record.key_index), record.digest)
    return guard.chain.assemble(_unsigned(record), signature).tx_id


def _unsigned(record: Record) -> UnsignedTx:
    return UnsignedTx(
        record.chain, record.sender, record.nonce, record.payload, record.digest, record.fee_max
    )


def _record(
    guard: Guard, request: SignRequest, decoded: Decoded, public_key: bytes, now_ns: int
) -> Record:
    intent = request.intent
    by_approvals = isinstance(request.authority, Approvals)
    return Record(
        chain=intent.chain,
        sender=intent.source,
        nonce=decoded.nonce,
        digest=decoded.digest,
        payload=request.unsigned.payload,
        fee_max=decoded.fee_max,
        intent=encode(intent),
        intent_hash=intent_hash(intent),
        spend_id=intent.spend_id,
        kind=intent.kind.value,
        cause_id=intent.cause_id,
        asset_key=intent.asset_key,
        amount=intent.amount,
        account=request.key.account,
        key_index=request.key.index,
        public_key=public_key,
        authority=log.BY_APPROVALS if by_approvals else log.BY_MANDATE,
        evidence=evidence_of(request.authority, guard.roster),
        proven_dead="",
        signed_at_ns=now_ns,
    )


def _persist(
    conn: sa.Connection,
    guard: Guard,
    request: SignRequest,
    record: Record,
    dead: frozenset[int],
) -> int:
    intent = request.intent
    known = log.find(conn, record.chain, record.sender, record.digest)
    if known is not None:
        _check_same(known.record, request)
        return known.position
    _check_owner(conn, guard, record)
    if intent.kind is not SpendKind.CANCELLATION:
        elsewhere = {e.position for e in _elsewhere(log.attempts_of(conn, intent), request)}
        if not elsewhere <= dead:
            raise _equivocation("an attempt elsewhere appeared meanwhile")
    if isinstance(request.authority, Standing):
        # Records from after now count too: a clock that steps back does not empty the window.
        used = log.usage(conn, intent, after_ns=record.signed_at_ns - WINDOW_NS)
        fits(guard.roster.mandate(request.authority.mandate_id), intent, used)
    record = replace(record, proven_dead=",".join(str(position) for position in sorted(dead)))
    return log.append(conn, record)


def _check_owner(conn: sa.Connection, guard: Guard, record: Record) -> None:
    owner = log.owner_of(conn, record.chain, record.sender, record.nonce)
    if owner is not None and owner != record.owner:
        raise _equivocation(f"nonce {record.nonce} belongs to {owner}")
    present = log.at_nonce(conn, record.chain, record.sender, record.nonce)
    if owner is None and present:
        raise Corrupt(f"nonce {record.nonce} of {record.sender} was signed for without an owner")
    is_cancelling = record.kind == SpendKind.CANCELLATION
    if is_cancelling and owner is None and log.exists(conn, record.cause_id):
        raise _equivocation("a cancellation belongs at the nonce of what it cancels")
    rate = guard.chain.rate_of(record.payload).max_rate
    for entry in present:
        earlier = entry.record
        if earlier.kind == SpendKind.CANCELLATION and not is_cancelling:
            raise _equivocation("the spend was cancelled; it gets no more signatures")
        if (earlier.kind == SpendKind.CANCELLATION) != is_cancelling:
            continue
        if replace(earlier.spend, fee_max=0) != replace(record.spend, fee_max=0):
            raise _equivocation("a replacement has the same effects")
        if guard.chain.rate_of(earlier.payload).max_rate >= rate:
            raise _equivocation("a replacement pays a higher rate; see last_unsigned")


def _elsewhere(entries: list[Entry], request: SignRequest) -> list[Entry]:
    lane = (request.intent.chain, request.intent.source, request.unsigned.nonce)
    return [entry for entry in entries if entry.record.lane != lane]


def _keep(guard: Guard, position: int, signature: bytes) -> None:
    try:
        guard.db.run(lambda conn: log.keep_signature(conn, position, signature))
    except sa.exc.IntegrityError as error:
        # Another guard kept the same signature in between; look again before judging.
        with guard.db.read() as conn:
            if log.signature_at(conn, position) != signature:
                raise Contended("the signature of another guard is not visible yet") from error


def _equivocation(detail: str) -> Refused:
    return Refused(Reason.EQUIVOCATION, detail)
