"""The worker's part of publishing: hand what officers approved to the signer, and activate it."""

from __future__ import annotations

from functools import partial

from core.clock import Clock
from core.errors import Reason, Refused
from custody import policy_proposals as rows
from custody import publishing
from custody.db import Database
from custody.keys.publication import Publication
from custody.keys.service import KeyService
from custody.policy_proposals import Proposal, ProposalState

_LATER = frozenset({Reason.TOO_EARLY, Reason.SIGNER_CLOCK})
"""What the signer says of a version that it will take when it is asked again."""


def step(db: Database, signer: KeyService, *, clock: Clock) -> int:
    """Move every approved, rejected or due version one step on; return how many moved.

    Unavailable: the signer is away; asking again is safe.
    """
    moved, now_ns = 0, clock.now_ns()
    with db.read() as conn:
        waiting = rows.in_states(conn, {ProposalState.DUE})
    if any(row.due_ns is not None and row.due_ns <= now_ns for row in waiting):
        moved += db.run(partial(publishing.activate, now_ns=now_ns))
    with db.read() as conn:
        asked = rows.in_states(conn, {ProposalState.APPROVED}) + publishing.to_stop(conn)
        handed = [(row, publishing.publication_of(conn, row)) for row in asked]
    return moved + sum(_hand_over(db, signer, row, said, now_ns) for row, said in handed)


def _hand_over(
    db: Database, signer: KeyService, row: Proposal, publication: Publication, now_ns: int
) -> bool:
    """Tell the signer of one version and note its answer; return whether that moved it."""
    try:
        standing = signer.learn_policy(publication)
    except Refused as refused:
        if refused.reason in _LATER:
            return False
        if row.state is ProposalState.REJECTED:
            db.run(partial(publishing.stopped, policy_hash=row.hash))
        else:
            db.run(partial(publishing.refused, policy_hash=row.hash, reason=str(refused)))
        return True
    due_ns = standing.in_force_from_ns
    if row.state is ProposalState.REJECTED:
        db.run(partial(publishing.too_late, policy_hash=row.hash, from_ns=due_ns, now_ns=now_ns))
        return True
    db.run(partial(publishing.learned, policy_hash=row.hash, signer_due_ns=due_ns))
    return True
