"""The only road to a signature: intents go in, and only what they explain completely is signed.

The guard believes nothing it is told and reads nothing of the platform's. It decodes the
transaction itself, verifies officers' signatures or a mandate against the pinned roster, asks its
own store and its own node, signs, and lets a signature go when its record is on the disk. What it
keeps for ever:

- A claim (a sender's nonce, a coin, a ticket) belongs to one spend. Further digests there only for
  the same effects at a higher rate, or for the declared cancellation of that spend, after which the
  spend gets no more.
- All signatures of one withdrawal exclude each other (custody.keys.exclusion).
- Limits hold over every 24 hours, for every authority, counted from its own log.
- The same digest asked again gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import TypeVar

from chains.base import Chain, Decoded, SpendIntent, SpendKind
from core.clock import Clock
from core.errors import Corrupt, Reason, Refused
from custody.keys.authority import (
    Approvals,
    check_authority,
    customers_of,
    each_of,
    evidence_of,
    word_of,
)
from custody.keys.exclusion import (
    check_owner,
    elsewhere,
    equivocation,
    find,
    prove_dead,
    prove_freed,
)
from custody.keys.intent import encode
from custody.keys.limits import Sums, besides, check_parts
from custody.keys.mandate import Usage, fits
from custody.keys.roster import Roster
from custody.keys.ruling import Law
from custody.keys.signers.base import KeyRef, Signer, check_made
from custody.keys.signing_record import Entry, Part, Record
from custody.keys.stop_book import StopBook
from custody.keys.store import Shelf, Store
from custody.keys.transaction import (
    SignRequest,
    check_delegate,
    check_explained,
    check_key,
    check_kind,
    check_source,
    digests_of,
    keys_of,
    read_transaction,
)
from custody.keys.wallets import check_state, owners_of
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
    """What one guard stands on: its store, its own node, its keys, its roster, its policies.

    None of it is asked for.
    """

    shelf: Shelf
    chain: Chain
    signer: Signer
    roster: Roster
    clock: Clock
    law: Law
    bounds: ClockBounds | None = None
    """None: those of the network."""
    is_halted: Callable[[], bool] = _never
    """Whether whoever runs this signer has stopped it."""
    stops: StopBook = field(default_factory=StopBook)
    """What officers stopped; guards of one signer share it."""

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

    Refused, inside the list: frozen, paused, main_network, wrong_network, intent_mismatch,
    invalid_address, forbidden_destination, foreign_input, foreign_change, unproven_amount,
    extra_effect, fee_above_cap, unknown_key, equivocation, stale_signer, signer_clock,
    signer_limit, policy_blocked, every reason of custody.keys.authority and of
    ChainWriter.decode. Unavailable: the node, the keys or the disk; asking again is always safe.
    Corrupt: store, signer or keys contradict each other.
    """
    try:
        store = guard.shelf.store()
        judged = [_caught(partial(_judge, guard, store, one)) for one in requests]
        answers = _release(guard, store, judged)
    except Refused as refused:  # by the store's anchor: for all of them alike
        return [refused] * len(requests)
    if answers is None:  # the keys refuse one of them: the others are asked for alone
        return [answer for one in requests for answer in sign_batch(guard, [one])]
    return [_unless_stopped(guard, *each) for each in zip(requests, answers, strict=True)]


def _release(
    guard: Guard, store: Store, judged: Sequence[_Judged | bytes | Refused]
) -> list[bytes | Refused] | None:
    """Sign what may be, make it durable in one write, and only then return it.

    The keys draw one request after the other and may sign it while the next is judged; whatever
    they draw has its place in the store, so that the next one is judged behind it. None: the keys
    refuse one of several, and nothing was signed.
    """
    taken: list[int | bytes | Refused] = []
    counts: list[int] = []

    def jobs() -> Iterator[tuple[KeyRef, bytes]]:
        for each in judged:
            if not isinstance(each, _Judged):
                taken.append(each)
                continue
            found = _caught(partial(_reserve, guard, store, each))
            if isinstance(found, Refused):
                taken.append(found)
                continue
            position, wanted = found
            taken.append(position)
            if wanted:
                counts.append(len(wanted))
                yield from wanted

    with store.writing():
        try:
            made = _signatures(guard.signer, jobs())
        except Refused as refused:
            store.give_back()
            return None if len(judged) > 1 else [refused]
        if len(made) != sum(counts):
            raise Corrupt(f"{sum(counts)} signatures were asked for, {len(made)} came")
        rest = iter(made)
        store.fulfil([b"".join(islice(rest, count)) for count in counts])
        return [store.entry(one).signature if isinstance(one, int) else one for one in taken]


def _signatures(signer: Signer, jobs: Iterator[tuple[KeyRef, bytes]]) -> list[bytes]:
    """Return a signature for each job; keys that have nothing to sign are not asked at all.

    Every signer verifies what it made. Errors as Signer.sign_many.
    """
    first = next(jobs, None)
    return [] if first is None else signer.sign_many(chain((first,), jobs))


def _caught(work: Callable[[], T]) -> T | Refused:
    try:
        return work()
    except Refused as refused:
        return refused


def _judge(guard: Guard, store: Store, request: SignRequest) -> _Judged | bytes:
    """Do what needs no lock: read, verify, ask the node. Bytes: it was signed before."""
    intent = request.intent
    _check_place(guard, intent)
    _refuse_stopped(guard, request)
    check_source(request)
    sender = request.unsigned.sender
    from_contract = check_key(
        intent, request.key, sender=sender, roster=guard.roster, address_of_key=guard.address_of
    )
    decoded = read_transaction(guard.chain, request, curve=guard.signer.curve)
    check_kind(
        intent, decoded, sender=sender, from_contract=from_contract, roster=guard.roster,
        address_of_key=guard.address_of,
    )  # fmt: skip
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
    known = find(store, intent.chain, sender, decoded.digest)
    if known is not None:
        _check_same(known, request, encoded)
        check_signatures(guard.signer.curve, known.signature, decoded, keys)
        return known.signature
    check_delegate(guard.chain, intent, decoded, guard.roster)
    check_clock(store, guard.clock, _bounds(guard))
    now_ns = max(guard.clock.now_ns(), store.last_ns)
    _check_authority(guard, request, now_ns)
    claims = decoded.claims(sender)
    if from_contract:  # its other owners use its nonces too: the chain says nothing of our log
        check_head_time(guard.chain, guard.chain.head(), guard.clock, _bounds(guard))
    else:
        own = claims if decoded.relayed is None else claims[:1]
        check_watermark(store, guard.chain, sender, own, clock=guard.clock, bounds=_bounds(guard))
    if decoded.relayed is not None or intent.kind is SpendKind.OWNERS:
        _check_wallet(guard, request, decoded)
    dead = prove_dead(store, guard.chain, intent, claims)
    dead |= prove_freed(store, guard.chain, intent, claims)
    return _Judged(request, decoded, encoded, claims, keys, now_ns, dead)


def _reserve(guard: Guard, store: Store, judged: _Judged) -> tuple[int, list[tuple[KeyRef, bytes]]]:
    """Judge what only who holds the store can; return the record's position and what to sign.

    Nothing to sign: it was signed, or is about to be.
    """
    request, intent = judged.request, judged.request.intent
    _refuse_stopped(guard, request)
    known = find(store, intent.chain, request.unsigned.sender, judged.decoded.digest)
    if known is not None:
        _check_same(known, request, judged.intent)
        return known.position, []
    now_ns = max(judged.now_ns, store.last_ns)
    if now_ns > judged.now_ns:  # another signature came in between: right is what holds now
        _check_authority(guard, request, now_ns)
    if guard.roster.serial < store.roster_serial:
        raise Refused(Reason.ROSTER_MISMATCH, f"roster {store.roster_serial} was in use before")
    record = _record(guard, judged, now_ns)
    check_owner(store, guard.chain, record, dead=judged.dead)
    if not {e.position for e in elsewhere(store, intent, judged.claims)} <= judged.dead:
        raise equivocation("an attempt elsewhere appeared meanwhile")
    _check_windows(guard, store, request, record.parts_of(intent), now_ns)
    keys = keys_of(request.key, request.input_keys)
    jobs = list(zip(keys, digests_of(judged.decoded), strict=True))
    return store.reserve(record), jobs


def _check_windows(
    guard: Guard, store: Store, request: SignRequest, parts: Sequence[Part], now_ns: int
) -> None:
    """Count every withdrawal for itself: the limits of its asset, the windows of its mandate."""
    pairs = zip(parts, each_of(request.authority, request.intent), strict=True)
    standing = [
        (right, spend, store.index.usage(spend, part.group, now_ns))
        for part, (right, spend) in pairs
        if not isinstance(right, Approvals)
    ]
    asked = [Sums(spend.amount, spend.fee_max) for _, spend, _ in standing]
    others = besides(asked, [used for _, _, used in standing])
    for (right, spend, _), used in zip(standing, others, strict=True):
        fits(guard.roster.mandate(right.mandate_id), spend, Usage(*used))
    spent = [store.index.spent(part.spend, part.group, now_ns) for part in parts]
    check_parts(guard.roster.limits, [part.spend for part in parts], spent)


def check_signatures(
    curve: str, signature: bytes, decoded: Decoded, public_keys: Sequence[bytes]
) -> None:
    """Check every signature of a transaction. Corrupt: one is not its key's."""
    digests = digests_of(decoded)
    size = len(signature) // len(digests)
    for number, (digest, key) in enumerate(zip(digests, public_keys, strict=True)):
        check_made(curve, signature[number * size : (number + 1) * size], digest, key)


def _unless_stopped(guard: Guard, request: SignRequest, answer: bytes | Refused) -> bytes | Refused:
    """Keep back what was signed while a stop came; asked again later, it is still the same."""
    stopped = _caught(partial(_refuse_stopped, guard, request))
    return stopped if isinstance(stopped, Refused) else answer


def _refuse_stopped(guard: Guard, request: SignRequest) -> None:
    customers = customers_of(request.authority)
    guard.stops.refuse(request.intent, customers, now_ns=guard.clock.now_ns())


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
        law=guard.law,
        now_ns=now_ns,
        address_of_key=guard.address_of,
    )


def _check_wallet(guard: Guard, request: SignRequest, decoded: Decoded) -> None:
    """Ask the node whether a wallet of several owners is what the roster says.

    Refused: as custody.keys.wallets.check_state. Unavailable: the node does not say.
    """
    intent = request.intent
    row, wallets = guard.roster.wallet(intent.chain, intent.source), guard.chain.wallets
    if row is None or wallets is None:
        raise Refused(Reason.INTENT_MISMATCH, f"{intent.source} is no wallet of several owners")
    check_state(
        row,
        wallets.state(row.address, guard.chain.head()),
        owners_of(row, guard.address_of),
        intent=intent,
        relayed=decoded.relayed,
    )


def _check_same(known: Entry, request: SignRequest, intent: bytes) -> None:
    if known.record.intent != intent or known.record.payload != request.unsigned.payload:
        raise equivocation("this digest was signed for another intent")
    if (known.record.account, known.record.key_index) != (request.key.account, request.key.index):
        raise equivocation("this digest was signed by another owner of the wallet")


def _bounds(guard: Guard) -> ClockBounds:
    return guard.bounds or bounds_of(guard.chain.traits)


def _record(guard: Guard, judged: _Judged, now_ns: int) -> Record:
    request, decoded, intent = judged.request, judged.decoded, judged.request.intent
    return Record(
        chain=intent.chain,
        sender=request.unsigned.sender,
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
        authority=word_of(request.authority),
        evidence=evidence_of(request.authority, guard.roster),
        proven_dead=",".join(str(position) for position in sorted(judged.dead)),
        roster_serial=guard.roster.serial,
        signed_at_ns=now_ns,
    )


__all__ = ["Guard", "SignRequest", "check_signatures", "sign_batch", "sign_once"]
