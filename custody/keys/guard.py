"""The only road to a signature: intents go in, and only what they explain completely is signed.

The guard believes nothing it is told and reads nothing of the platform's. It decodes the
transaction itself, verifies officers' signatures or a mandate against the pinned roster, asks its
own store and its own node, signs, and lets a signature go when its record is on the disk. What it
keeps for ever:

- A claim (a sender's nonce, or a coin) belongs to one spend. Further digests there only for the
  same effects at a higher rate, or for the declared cancellation of that spend, after which the
  spend gets no more.
- All signatures of one withdrawal exclude each other (custody.keys.exclusion).
- Limits hold over every 24 hours, for every authority, counted from its own log.
- The same digest asked again gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from chains.base import Chain, Decoded, SpendIntent
from core.clock import Clock
from core.errors import Reason, Refused
from custody.keys.authority import Approvals, Standing, check_authority, evidence_of
from custody.keys.exclusion import check_owner, elsewhere, equivocation, find, prove_dead
from custody.keys.intent import encode
from custody.keys.limits import Sums, check_limits
from custody.keys.mandate import Usage, fits
from custody.keys.roster import Roster
from custody.keys.signers.base import KeyRef, Signer, check_made
from custody.keys.signing_record import BY_APPROVALS, BY_MANDATE, Entry, Record
from custody.keys.store import Shelf, Store
from custody.keys.transaction import (
    SignRequest,
    check_explained,
    check_key,
    check_kind,
    check_source,
    digests_of,
    keys_of,
    read_transaction,
)
from custody.keys.watermark import (
    ClockBounds,
    bounds_of,
    check_clock,
    check_head_time,
    check_watermark,
)

T = TypeVar("T")


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Guard:
    """What one guard stands on: its store, its own node, its keys, its roster.

    None of it is asked for.
    """

    shelf: Shelf
    chain: Chain
    signer: Signer
    roster: Roster
    clock: Clock
    bounds: ClockBounds | None = None
    """None: those of the network."""
    is_halted: Callable[[], bool] = _never
    """Whether whoever runs this signer has stopped it."""

    def address_of(self, key: KeyRef) -> str:
        """Return the address of an own key, from the signer and no table."""
        return self.chain.address_of(self.signer.public_key(key))


@dataclass(frozen=True, slots=True)
class _Judged:
    """A request that may be signed as far as can be said without holding the store."""

    request: SignRequest
    decoded: Decoded
    intent: bytes
    claims: tuple[str, ...]
    public_keys: tuple[bytes, ...]
    now_ns: int
    dead: frozenset[int]

    @property
    def names(self) -> set[str | bytes]:
        """Return what two requests of one batch must not share to be signed together."""
        intent = self.request.intent
        return {self.decoded.digest, intent.spend_id, intent.cause_id, *self.claims}

    @property
    def jobs(self) -> list[tuple[KeyRef, bytes]]:
        """Return which key signs what, in the order of the inputs."""
        keys = keys_of(self.request.key, self.request.input_keys)
        return list(zip(keys, digests_of(self.decoded), strict=True))


@dataclass(frozen=True, slots=True)
class _Ready:
    """A signature that was made ahead of its turn, and the record that it was made for."""

    record: Record
    signature: bytes


class _Ahead:
    """What the requests before one in a batch would take of every window."""

    def __init__(self) -> None:
        self.amounts: Counter[str] = Counter()
        self.fees = 0

    def add(self, record: Record) -> None:
        """Count one: fees of every asset together, which is never too little."""
        self.amounts[record.asset_key] += record.amount
        self.fees += record.fee_max


def sign_once(guard: Guard, request: SignRequest) -> bytes:
    """Return the signature over request.unsigned; sign_batch of one."""
    (answer,) = sign_batch(guard, [request])
    if isinstance(answer, Refused):
        raise answer
    return answer


def sign_batch(guard: Guard, requests: Sequence[SignRequest]) -> list[bytes | Refused]:
    """Return for each request its signature, or why there is none.

    A signature is 65 bytes r ‖ s ‖ recovery id over the digest (the 64 bytes of RFC 8032 on
    Ed25519); where inputs are signed one by one, those of all inputs in their order. All are
    durable, in one write, before any is returned.

    Refused, inside the list: frozen, main_network, wrong_network, intent_mismatch, invalid_address,
    forbidden_destination, foreign_input, foreign_change, unproven_amount, extra_effect,
    fee_above_cap, unknown_key, equivocation, stale_signer, signer_clock, signer_limit,
    policy_blocked, every reason of custody.keys.authority and of ChainWriter.decode. Unavailable:
    the node, the keys or the disk; asking again is always safe. Corrupt: store, signer or keys
    contradict each other.
    """
    store = guard.shelf.store()
    answers: list[bytes | Refused] = []
    judged = [_caught(partial(_judge, guard, store, one)) for one in requests]
    with store.writing():
        ready = _sign_ahead(guard, store, judged)
        for number, each in enumerate(judged):
            if not isinstance(each, _Judged):
                answers.append(each)
            else:
                answers.append(_caught(partial(_sign, guard, store, each, ready.get(number))))
    return answers


def _caught(work: Callable[[], T]) -> T | Refused:
    try:
        return work()
    except Refused as refused:
        return refused


def _judge(guard: Guard, store: Store, request: SignRequest) -> _Judged | bytes:
    """Do what needs no lock: read, verify, ask the node. Bytes: it was signed before."""
    intent = request.intent
    _check_place(guard, intent)
    check_source(request)
    from_contract = check_key(
        intent, request.key, roster=guard.roster, address_of_key=guard.address_of
    )
    decoded = read_transaction(guard.chain, request, curve=guard.signer.curve)
    check_kind(intent, decoded, from_contract=from_contract, roster=guard.roster)
    check_explained(
        intent,
        decoded,
        key=request.key,
        input_keys=request.input_keys,
        change_keys=request.change_keys,
        address_of_key=guard.address_of,
    )
    keys = tuple(map(guard.signer.public_key, keys_of(request.key, request.input_keys)))
    encoded = encode(intent)
    known = find(store, intent.chain, intent.source, decoded.digest)
    if known is not None:
        return _again(guard, known, request, encoded, decoded, keys)
    check_clock(store, guard.clock, _bounds(guard))
    now_ns = max(guard.clock.now_ns(), store.last_ns)
    _check_authority(guard, request, now_ns)
    claims = decoded.claims(intent.source)
    if from_contract:  # its other owners use its nonces too: the chain says nothing of our log
        check_head_time(guard.chain, guard.chain.head(), guard.clock, _bounds(guard))
    else:
        check_watermark(
            store, guard.chain, intent.source, claims, clock=guard.clock, bounds=_bounds(guard)
        )
    dead = prove_dead(store, guard.chain, intent, claims)
    return _Judged(request, decoded, encoded, claims, keys, now_ns, dead)


def _sign_ahead(
    guard: Guard, store: Store, judged: Sequence[_Judged | bytes | Refused]
) -> dict[int, _Ready]:
    """Have the keys sign what the store lets be signed, while the rest is still being judged.

    A token or a server takes less time for many signatures than for one after the other. Nothing
    that is made here is staged or leaves: each request is judged again in its turn, behind those
    before it. Left to its turn is what shares a claim, a digest, a spend or a cause with one before
    it, or would not fit the limits if all before it were signed.
    """
    found: dict[int, Record] = {}
    if len(judged) < 2:
        return {}

    def jobs() -> Iterator[tuple[KeyRef, bytes]]:
        taken: set[str | bytes] = set()
        ahead = _Ahead()
        for number, each in enumerate(judged):
            if not isinstance(each, _Judged) or taken & each.names:
                continue
            record = _caught(partial(_admit, guard, store, each, ahead))
            if isinstance(record, Record):
                found[number] = record
                taken |= each.names
                ahead.add(record)
                yield from each.jobs

    made = _caught(lambda: guard.signer.sign_many(jobs()))
    if isinstance(made, Refused):
        return {}  # in their turns it shows whose refusal that is
    parts, ready = iter(made), dict[int, _Ready]()
    for number, record in found.items():
        count = max(1, len(record.input_keys))
        ready[number] = _Ready(record, b"".join(islice(parts, count)))
    return ready


def _sign(guard: Guard, store: Store, judged: _Judged, ready: _Ready | None) -> bytes:
    """Judge what only who holds the store can, sign, and stage the record."""
    record = _admit(guard, store, judged, _Ahead(), ready)
    if isinstance(record, bytes):
        return record
    if ready is not None:
        signature = ready.signature
    else:
        # Every signer verifies what it made (Signer.sign), and what does not is not sent anywhere.
        signature = b"".join(guard.signer.sign_many(judged.jobs))
    store.stage(record, signature)
    return signature


def _admit(
    guard: Guard, store: Store, judged: _Judged, ahead: _Ahead, ready: _Ready | None = None
) -> Record | bytes:
    """Return the record of a request that may be signed now, or what was signed before."""
    request, intent = judged.request, judged.request.intent
    known = find(store, intent.chain, intent.source, judged.decoded.digest)
    if known is not None:
        return _again(guard, known, request, judged.intent, judged.decoded, judged.public_keys)
    now_ns = max(judged.now_ns, store.last_ns)
    if now_ns > judged.now_ns:  # another signature came in between: right is what holds now
        _check_authority(guard, request, now_ns)
    if guard.roster.serial < store.roster_serial:
        raise Refused(Reason.ROSTER_MISMATCH, f"roster {store.roster_serial} was in use before")
    if ready is not None and ready.record.signed_at_ns == now_ns:
        record = ready.record
    else:
        record = _record(guard, judged, now_ns)
    check_owner(store, guard.chain, record)
    if not {e.position for e in elsewhere(store, intent, judged.claims)} <= judged.dead:
        raise equivocation("an attempt elsewhere appeared meanwhile")
    amount = ahead.amounts[intent.asset_key]
    if isinstance(request.authority, Standing):
        used = store.index.usage(intent, record.group, now_ns)
        used = Usage(used.amount + amount, used.fees + ahead.fees)
        fits(guard.roster.mandate(request.authority.mandate_id), intent, used)
    others, own = store.index.spent(intent, record.group, now_ns)
    others = Sums(others.amount + amount, others.fees + ahead.fees)
    check_limits(guard.roster.limits, intent, fee_max=record.fee_max, others=others, own=own)
    return record


def check_signatures(
    curve: str, signature: bytes, decoded: Decoded, public_keys: Sequence[bytes]
) -> None:
    """Check every signature of a transaction. Corrupt: one is not its key's."""
    digests = digests_of(decoded)
    size = len(signature) // len(digests)
    for number, (digest, key) in enumerate(zip(digests, public_keys, strict=True)):
        check_made(curve, signature[number * size : (number + 1) * size], digest, key)


def _check_place(guard: Guard, intent: SpendIntent) -> None:
    if guard.is_halted():
        raise Refused(Reason.FROZEN, "this signer is halted")
    traits = guard.chain.traits
    if intent.chain != traits.chain or intent.network != traits.network:
        raise Refused(Reason.WRONG_NETWORK, "the intent is for another chain or network")
    if not guard.signer.network_allowed(traits):
        raise Refused(Reason.MAIN_NETWORK, "this signer has no business on that network")


def _check_authority(guard: Guard, request: SignRequest, now_ns: int) -> None:
    check_authority(
        request.authority,
        request.intent,
        key=request.key,
        roster=guard.roster,
        now_ns=now_ns,
        address_of_key=guard.address_of,
    )


def _again(
    guard: Guard,
    known: Entry,
    request: SignRequest,
    intent: bytes,
    decoded: Decoded,
    keys: Sequence[bytes],
) -> bytes:
    record = known.record
    if record.intent != intent or record.payload != request.unsigned.payload:
        raise equivocation("this digest was signed for another intent")
    if (record.account, record.key_index) != (request.key.account, request.key.index):
        raise equivocation("this digest was signed by another owner of the wallet")
    check_signatures(guard.signer.curve, known.signature, decoded, keys)
    return known.signature


def _bounds(guard: Guard) -> ClockBounds:
    return guard.bounds or bounds_of(guard.chain.traits)


def _record(guard: Guard, judged: _Judged, now_ns: int) -> Record:
    request, decoded, intent = judged.request, judged.decoded, judged.request.intent
    by_approvals = isinstance(request.authority, Approvals)
    return Record(
        chain=intent.chain,
        sender=intent.source,
        nonce=decoded.nonce,
        claims=judged.claims,
        digest=decoded.digest,
        payload=request.unsigned.payload,
        fee_max=decoded.fee_max,
        intent=judged.intent,
        intent_hash=hashlib.sha256(judged.intent).digest(),
        spend_id=intent.spend_id,
        kind=intent.kind.value,
        cause_id=intent.cause_id,
        asset_key=intent.asset_key,
        amount=intent.amount,
        account=request.key.account,
        key_index=request.key.index,
        public_key=guard.signer.public_key(request.key),
        input_keys=tuple((key.account, key.index) for key in request.input_keys),
        change_keys=tuple((key.account, key.index) for key in request.change_keys),
        authority=BY_APPROVALS if by_approvals else BY_MANDATE,
        evidence=evidence_of(request.authority, guard.roster),
        proven_dead=",".join(str(position) for position in sorted(judged.dead)),
        roster_serial=guard.roster.serial,
        signed_at_ns=now_ns,
    )


__all__ = ["Guard", "SignRequest", "check_signatures", "sign_batch", "sign_once"]
