"""What may be signed beside what was signed before: claims, replacements, cancellations.

A claim is what two transactions cannot both use: `sender/nonce`, a coin or a ticket. It belongs to
one spend for ever, but a coin that a replacement was to use as well is free again once another
version of that spend is final without it, so that the replacement can never land (`prove_freed`).
All attempts of one withdrawal exclude each
other pairwise: two share a claim, or the older one is proven dead, that is, a cancellation of ours
is final at one of its claims and no attempt there was included.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from chains.base import BlockRef, Chain, SpendIntent, SpendKind, UnsignedTx
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.signing_record import Entry, Record, causes_of, nonce_of, owner_of
from custody.keys.store import Store

STEPS = 16
"""A replacement pays at least so much more, as a part of the rate before. Nodes of account chains
ask for a tenth; steps of one unit would let whoever asks fill the log of a single spend for ever.
"""


def find(store: Store, chain: ChainId, sender: str, digest: bytes) -> Entry | None:
    """Return the entry of a digest, None when it was never signed."""
    with store.lock:
        store.check_usable()
        position = store.index.digest(chain, sender, digest)
        return None if position is None else store.entry(position)


def at_claims(store: Store, chain: ChainId, claims: Sequence[str]) -> list[Entry]:
    """Return every entry that holds one of these claims, oldest first."""
    with store.lock:
        store.check_usable()
        found = {at for claim in claims for at in store.index.claim(chain, claim)}
        return [store.entry(position) for position in sorted(found)]


def attempts_of(store: Store, spend: SpendIntent) -> list[Entry]:
    """Return every entry that could carry out what a spend is for, oldest first.

    For what officers approved that is every transaction ever signed for it, under whatever spend
    id, alone or in a batch; else every one of the spend. Cancellations carry nothing out.
    """
    with store.lock:
        store.check_usable()
        found = set(store.index.spend(spend.spend_id))
        for cause in causes_of(spend):
            found.update(store.index.withdrawal(cause))
        entries = [store.entry(position) for position in sorted(found)]
    return [entry for entry in entries if entry.record.kind != SpendKind.CANCELLATION]


def last_unsigned(
    store: Store, chain: ChainId, sender: str, nonce: int, *, kind: SpendKind
) -> UnsignedTx | None:
    """Return the newest transaction of a kind that was ever signed for a nonce, None before any.

    Whoever lost an answer asks the guard for exactly this again, or for a replacement above its
    rate; one built afresh at a lower rate is refused.
    """
    for entry in reversed(at_claims(store, chain, [f"{sender}/{nonce}"])):
        if entry.record.kind == kind:
            return unsigned_of(entry.record)
    return None


def elsewhere(store: Store, spend: SpendIntent, claims: Sequence[str]) -> list[Entry]:
    """Return the attempts of what a spend is for that share no claim with a new one."""
    if spend.kind is SpendKind.CANCELLATION:
        return []
    wanted = {(spend.chain, claim) for claim in claims}
    return [
        entry
        for entry in attempts_of(store, spend)
        if wanted.isdisjoint((entry.record.chain, claim) for claim in entry.record.claims)
    ]


def prove_dead(
    store: Store, chain: Chain, spend: SpendIntent, claims: Sequence[str]
) -> frozenset[int]:
    """Return the positions of this spend's attempts elsewhere, all proven unable to land.

    Refused: equivocation, where one is not. Unavailable: the node does not say.
    """
    others = elsewhere(store, spend, claims)
    if not others:
        return frozenset()
    final = chain.final_head()
    if final is None or any(entry.record.chain != spend.chain for entry in others):
        raise equivocation("an earlier attempt elsewhere is not proven dead")
    for entry in others:
        _check_cancelled(store, chain, entry, final)
    return frozenset(entry.position for entry in others)


def prove_freed(
    store: Store, chain: Chain, spend: SpendIntent, claims: Sequence[str]
) -> frozenset[int]:
    """Return the positions of other spends' entries at these coins that can never land any more.

    Another version of the same spend is final, shares a coin with them and uses none of these.
    Unavailable: the node does not say.
    """
    owner = owner_of(spend)
    others = [e for e in at_claims(store, spend.chain, claims) if e.record.owner != owner]
    final = chain.final_head() if others and chain.traits.spends_coins else None
    if final is None:
        return frozenset()
    return frozenset(
        entry.position
        for entry in others
        if any(
            version.record.owner == entry.record.owner
            and set(claims).isdisjoint(version.record.claims)
            and _is_final(chain, version, final)
            for version in at_claims(store, spend.chain, entry.record.claims)
        )
    )


def _is_final(chain: Chain, entry: Entry, final: BlockRef) -> bool:
    block = _block_of(chain, entry)
    return block is not None and block.height <= final.height


def _check_cancelled(store: Store, chain: Chain, attempt: Entry, final: BlockRef) -> None:
    record = attempt.record
    for nonce in (nonce_of(claim, record.sender) for claim in record.claims):
        if nonce is not None and chain.used_nonces(record.sender, final) <= nonce:
            raise equivocation(f"nonce {nonce} of {record.sender} is not used at finality")
    is_cancelled = False
    for entry in at_claims(store, record.chain, record.claims):
        block = _block_of(chain, entry)
        if entry.record.kind != SpendKind.CANCELLATION:
            if block is not None:
                raise equivocation(f"attempt {entry.position} is on chain")
        elif block is not None and block.height <= final.height:
            is_cancelled = True
    if not is_cancelled:
        # Only we can use the claim. If none of ours is there, the node or the log is not whole.
        raise equivocation("no cancellation of ours is final at the old nonce")


def _block_of(chain: Chain, entry: Entry) -> BlockRef | None:
    try:
        signed = chain.assemble(unsigned_of(entry.record), entry.signature)
    except Refused as refused:
        # Others may put it on chain in a transaction of theirs: a contract wallet's owners do.
        raise equivocation(f"attempt {entry.position} cannot be looked for") from refused
    return chain.tx_status(signed.tx_id).block


def check_owner(store: Store, chain: Chain, record: Record, *, dead: Collection[int] = ()) -> None:
    """Return when a record's claims are its spend's, or nobody's. Refused: equivocation.

    dead: positions that were proven unable to land (prove_freed).
    """
    at = at_claims(store, record.chain, record.claims)
    present = [entry for entry in at if entry.position not in dead]
    for entry in present:
        if entry.record.owner != record.owner:
            shared = set(entry.record.claims) & set(record.claims)
            raise equivocation(f"{min(shared)} belongs to {entry.record.owner}")
    is_cancelling = record.kind == SpendKind.CANCELLATION
    own = f"{record.sender}/{record.nonce}"
    if is_cancelling and not present and store.index.spend(record.cause_id):
        raise equivocation("a cancellation belongs at the nonce of what it cancels")
    rate = chain.rate_of(record.payload).max_rate if present else 0
    spend = replace(record.spend, fee_max=0) if present else None
    for entry in present:
        earlier = entry.record
        if earlier.kind == SpendKind.CANCELLATION and not is_cancelling:
            raise equivocation("the spend was cancelled; it gets no more signatures")
        if (earlier.kind == SpendKind.CANCELLATION) != is_cancelling:
            continue
        if is_cancelling and own in record.claims and own not in earlier.claims:
            continue  # at another nonce of ours for the same one of a wallet: each counts
        if replace(earlier.spend, fee_max=0) != spend:
            raise equivocation("a replacement has the same effects")
        before = chain.rate_of(earlier.payload).max_rate
        if rate < before + max(1, before // STEPS):
            raise equivocation("a replacement pays a higher rate; see last_unsigned")


def unsigned_of(record: Record) -> UnsignedTx:
    """Return the transaction that was asked for."""
    return UnsignedTx(
        record.chain, record.sender, record.nonce, record.payload, record.digest, record.fee_max
    )


def equivocation(detail: str) -> Refused:
    """Return the refusal of what would not exclude an earlier signature."""
    return Refused(Reason.EQUIVOCATION, detail)
