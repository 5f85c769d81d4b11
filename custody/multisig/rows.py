"""Proposals (what a wallet of several owners is to do at one of its nonces) and their signatures.

    OPEN -> RELAYED -> DONE
    OPEN | RELAYED -> ENDED -> DEAD

A nonce that was once shown to owners belongs to its proposal for ever: whoever kept their
signatures could use them as long as it is free. So what is rejected, cancelled or expired, and what
failed outside of the wallet, is ENDED, and a second proposal at the same nonce, which pays nothing,
uses it up (a burn). Only when that is final the first one is DEAD, and what waited for it ends.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import SpendIntent, SpendKind, UnsignedTx
from core.errors import Corrupt, Reason, Refused
from core.ids import AssetNo, ChainId
from custody.db import Bytes, Int64, Text, append_only, next_number, table
from custody.keys import intent as intents

PAGE_MAX = 100


class ProposalState(enum.StrEnum):
    """Where a proposal stands."""

    OPEN = "open"
    """Owners may sign it."""
    RELAYED = "relayed"
    """A spend carries it to the chain."""
    DONE = "done"
    """Its nonce is used, finally, by itself."""
    ENDED = "ended"
    """Nobody may sign it; its nonce is still free."""
    DEAD = "dead"
    """Its nonce is used, finally, by its burn."""


_S = ProposalState
NEXT: dict[ProposalState, frozenset[ProposalState]] = {
    _S.OPEN: frozenset({_S.RELAYED, _S.ENDED}),
    _S.RELAYED: frozenset({_S.DONE, _S.ENDED}),
    _S.ENDED: frozenset({_S.DEAD}),
    _S.DONE: frozenset(),
    _S.DEAD: frozenset(),
}

wallet_proposals = table(
    "wallet_proposals",
    sa.Column("proposal_id", Text, primary_key=True),
    sa.Column("proposal_no", Int64, nullable=False, unique=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("cause_id", Text, nullable=False),
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), nullable=False),
    sa.Column("wallet", Text, nullable=False),
    sa.Column("address", Text, nullable=False),
    sa.Column("nonce", Int64, nullable=False),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("intent", Bytes, nullable=False),
    sa.Column("payload", Bytes, nullable=False),
    sa.Column("digest", Bytes, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("made_at_ns", Int64, nullable=False),
    sa.UniqueConstraint("cause_id", "kind"),
    sa.Index("ix_wallet_proposals_nonce", "chain", "address", "nonce"),
    sa.Index("ix_wallet_proposals_state", "chain", "state", "proposal_no"),
)

cosignatures = table(
    "cosignatures",
    sa.Column("cosignature_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("proposal_id", Text, sa.ForeignKey("wallet_proposals.proposal_id"), nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("person", Text, nullable=False),
    sa.Column("signature", Bytes, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.UniqueConstraint("proposal_id", "owner"),
)
append_only(cosignatures)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One row. `payload` is what owners sign; it is never built twice."""

    proposal_id: str
    proposal_no: int
    kind: SpendKind
    cause_id: str
    """The withdrawal, the change of owners, or (of a burn) the spend whose nonce is used up."""
    chain: ChainId
    wallet: str
    address: str
    nonce: int
    asset_no: AssetNo
    intent: SpendIntent
    payload: bytes
    digest: bytes
    state: ProposalState
    reason: str | None
    made_at_ns: int

    @property
    def unsigned(self) -> UnsignedTx:
        """Return what owners sign."""
        return UnsignedTx(self.chain, self.address, self.nonce, self.payload, self.digest, 0)


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One owner's signature over a proposal."""

    proposal_id: str
    owner: str
    person: str
    signature: bytes
    at_ns: int


def insert(conn: sa.Connection, row: Proposal) -> Proposal:
    """Store a new proposal under the next number; the cause has one of its kind already: that."""
    known = find_by_cause(conn, row.cause_id, row.kind)
    if known is not None:
        return known
    values = {c.name: getattr(row, c.name) for c in wallet_proposals.c}
    conn.execute(
        wallet_proposals.insert().values(
            {
                **values,
                "proposal_no": next_number(conn, "wallet_proposal"),
                "kind": row.kind.value,
                "state": row.state.value,
                "intent": intents.encode(row.intent),
            }
        )
    )
    return get(conn, row.proposal_id)


def get(conn: sa.Connection, proposal_id: str) -> Proposal:
    """Return a proposal. Refused: not_found."""
    row = conn.execute(
        sa.select(wallet_proposals).where(wallet_proposals.c.proposal_id == proposal_id)
    ).one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, proposal_id)
    return _proposal(row)


def find_by_cause(conn: sa.Connection, cause_id: str, kind: SpendKind) -> Proposal | None:
    """Return the proposal of a cause, None when none was made."""
    row = conn.execute(
        sa.select(wallet_proposals).where(
            wallet_proposals.c.cause_id == cause_id, wallet_proposals.c.kind == kind.value
        )
    ).one_or_none()
    return None if row is None else _proposal(row)


def in_state(
    conn: sa.Connection, chain: ChainId, state: ProposalState, *, limit: int = PAGE_MAX
) -> list[Proposal]:
    """Return a chain's proposals in a state, oldest first."""
    query = (
        sa.select(wallet_proposals)
        .where(wallet_proposals.c.chain == chain, wallet_proposals.c.state == state.value)
        .order_by(wallet_proposals.c.proposal_no)
        .limit(limit)
    )
    return [_proposal(row) for row in conn.execute(query)]


def at_nonce(conn: sa.Connection, chain: ChainId, address: str, nonce: int) -> list[Proposal]:
    """Return what was ever proposed at a nonce of a wallet, oldest first."""
    query = (
        sa.select(wallet_proposals)
        .where(
            wallet_proposals.c.chain == chain,
            wallet_proposals.c.address == address,
            wallet_proposals.c.nonce == nonce,
        )
        .order_by(wallet_proposals.c.proposal_no)
    )
    return [_proposal(row) for row in conn.execute(query)]


def used_by_us(conn: sa.Connection, chain: ChainId, address: str, *, first: int, end: int) -> int:
    """Return how many nonces in first..end-1 of a wallet have a proposal that was sent."""
    sent = [one.value for one in (_S.RELAYED, _S.DONE)]
    query = sa.select(sa.func.count(sa.distinct(wallet_proposals.c.nonce))).where(
        wallet_proposals.c.chain == chain,
        wallet_proposals.c.address == address,
        wallet_proposals.c.state.in_(sent),
        wallet_proposals.c.nonce >= first,
        wallet_proposals.c.nonce < end,
    )
    return conn.execute(query).scalar_one()


def advance(
    conn: sa.Connection, row: Proposal, target: ProposalState, *, reason: str | None = None
) -> Proposal:
    """Move a proposal along the declared graph by compare-and-set. Refused: illegal_transition."""
    if target not in NEXT[row.state]:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.proposal_id}: {row.state} -> {target}")
    changed = conn.execute(
        wallet_proposals.update()
        .where(
            wallet_proposals.c.proposal_id == row.proposal_id,
            wallet_proposals.c.state == row.state.value,
        )
        .values(state=target.value, reason=reason or row.reason)
    )
    if changed.rowcount != 1:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.proposal_id} is no longer {row.state}")
    return get(conn, row.proposal_id)


def signatures(conn: sa.Connection, proposal_id: str) -> list[Cosignature]:
    """Return a proposal's signatures in the order they came."""
    query = (
        sa.select(cosignatures)
        .where(cosignatures.c.proposal_id == proposal_id)
        .order_by(cosignatures.c.cosignature_no)
    )
    return [
        Cosignature(row.proposal_id, row.owner, row.person, row.signature, row.at_ns)
        for row in conn.execute(query)
    ]


def add_signature(conn: sa.Connection, row: Cosignature) -> None:
    """Store one signature, for ever."""
    values = {
        "proposal_id": row.proposal_id,
        "owner": row.owner,
        "person": row.person,
        "signature": row.signature,
        "at_ns": row.at_ns,
    }
    number = next_number(conn, "cosignature")
    conn.execute(cosignatures.insert().values({**values, "cosignature_no": number}))


def _proposal(row: sa.Row[tuple[object, ...]]) -> Proposal:
    intent = intents.decode(row.intent)
    if not isinstance(intent, SpendIntent):
        raise Corrupt(f"{row.proposal_id} holds no spend intent")
    values = {c.name: getattr(row, c.name) for c in wallet_proposals.c}
    values |= {
        "kind": SpendKind(row.kind),
        "state": ProposalState(row.state),
        "intent": intent,
    }
    return Proposal(**values)
