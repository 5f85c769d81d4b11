"""After a reorganisation below finality: what officers decide, and how it is carried out.

A chain that lost final blocks is frozen. The plan names the block of the surviving branch from
which we follow again and every decided deposit that is no longer there. Signed by a quorum, the
deposits are taken back through the engine (what was spent becomes a receivable) and the chain is
thawed; deposits that the new branch holds too are simply seen again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import BlockRef, ChainReader
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId, DepositId, derived_id
from custody import audit_log, chain_state, decided_deposits, deposits, treasury
from custody.db import Database
from custody.deposit_rows import Deposit
from custody.keys.roster import Roster
from custody.keys.statement import (
    Statement,
    StatementKind,
    StatementSignature,
    verify_statement,
)
from custody.wallets import addresses, coins


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where to resume, and what became of every decided deposit above that block.

    vanished: not on the surviving branch, or there with another amount; kept: in which block of it.
    """

    chain: ChainId
    resume_at: BlockRef
    vanished: tuple[DepositId, ...]
    kept: tuple[tuple[DepositId, BlockRef], ...] = ()


Surviving = Mapping[DepositId, tuple[BlockRef, int]]
"""In which block of the surviving branch payments are, and what they delivered there."""


def plan_resolution(
    chain: ChainId, resume_at: BlockRef, decided: Sequence[Deposit], surviving: Surviving
) -> Resolution:
    """Decide which deposits above a block have vanished. Pure."""
    vanished: list[DepositId] = []
    kept: list[tuple[DepositId, BlockRef]] = []
    for deposit in decided:
        block, amount = surviving.get(deposit.deposit_id, (None, 0))
        if deposit.block.height <= resume_at.height:
            continue
        if block is None or amount != deposit.amount:
            vanished.append(deposit.deposit_id)
        else:
            kept.append((deposit.deposit_id, block))
    return Resolution(chain, resume_at, tuple(vanished), tuple(kept))


def gather(db: Database, chain: ChainReader) -> Resolution:
    """Read the surviving branch from the common ancestor to its head and plan from it.

    Refused: illegal_transition (the chain is not frozen). Unavailable: no common ancestor among the
    blocks we keep, or a node's answer is incomplete.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        state = chain_state.state(conn, chain_id)
        if not state.frozen:
            raise Refused(Reason.ILLEGAL_TRANSITION, f"{chain_id} is not frozen")
        kept = chain_state.followed(conn, chain_id, limit=chain.traits.reorg_limit + 1)
        watched = addresses.watched(conn, chain_id)
    # Not above our final block: a deposit decided below it may be elsewhere than we thought.
    below = [block for block in kept if state.final is None or block.height <= state.final.height]
    fork = _common_ancestor(chain, below or kept[-1:])
    surviving: dict[DepositId, tuple[BlockRef, int]] = {}
    for height in range(fork.height + 1, chain.head().height + 1):
        block = chain.block_at(height)
        if block is None:
            break
        for payment in chain.payments_in(block, watched):
            deposit_id = deposits.deposit_id_of(chain_id, payment)
            surviving[deposit_id] = (block.ref, payment.amount)
    with db.read() as conn:  # a frozen chain decides nothing, so this is still what it was
        decided = decided_deposits.decided_above(conn, chain_id, fork.height)
    return plan_resolution(chain_id, fork, decided, surviving)


def statement_of(resolution: Resolution, *, expires_ns: int) -> Statement:
    """Return what officers sign: the resolution to the last deposit."""
    at = resolution.resume_at
    lines = (
        f"resume at {at.height} {at.hash}",
        *(f"reverse {deposit_id}" for deposit_id in resolution.vanished),
        *(f"keep {deposit_id} in {block.height} {block.hash}"
          for deposit_id, block in resolution.kept),
    )  # fmt: skip
    name = derived_id("stmt", resolution.chain, *lines)
    return Statement(
        name, StatementKind.RESOLVE_REORGANISATION, resolution.chain, lines, expires_ns
    )


def resolve(
    conn: sa.Connection,
    resolution: Resolution,
    statement: Statement,
    signatures: Sequence[StatementSignature],
    *,
    roster: Roster,
    now_ns: int,
) -> None:
    """Carry out a signed resolution: reversals through the engine, then the thaw.

    Refused: intent_mismatch (the officers signed another one, or one that is not about today's
    deposits and followed blocks), illegal_transition (not frozen), and as verify_statement.
    """
    if statement != statement_of(resolution, expires_ns=statement.expires_ns):
        raise Refused(Reason.INTENT_MISMATCH, "the statement is about another resolution")
    persons = verify_statement(roster, statement, signatures, now_ns=now_ns)
    if not chain_state.state(conn, resolution.chain).frozen:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{resolution.chain} is not frozen")
    _refuse_outdated(conn, resolution)
    for deposit_id in resolution.vanished:
        deposits.take_back(
            conn, deposit_id, recognised=treasury.is_recognised(conn, deposit_id), now_ns=now_ns
        )
    for deposit_id, block in resolution.kept:
        decided_deposits.move(conn, deposit_id, block)
    audit_log.record(
        conn, actor=",".join(persons), action="reorganisation.resolve",
        subject=resolution.chain, detail={"statement": statement.statement_id}, at_ns=now_ns,
    )  # fmt: skip
    deposits.orphan_above(conn, resolution.chain, resolution.resume_at.height)
    coins.rewind(conn, resolution.chain, to_height=resolution.resume_at.height)
    chain_state.thaw(
        conn, resolution.chain, resume_at=resolution.resume_at, by=",".join(persons),
        now_ns=now_ns,
    )  # fmt: skip


def _refuse_outdated(conn: sa.Connection, resolution: Resolution) -> None:
    """Refuse a statement of an earlier freeze: it would resume in the middle of nowhere."""
    at = resolution.resume_at
    if chain_state.hash_at(conn, resolution.chain, at.height) != at.hash:
        raise Refused(Reason.INTENT_MISMATCH, f"{at} is no block that we follow")
    named = {*resolution.vanished, *(deposit_id for deposit_id, _ in resolution.kept)}
    decided = decided_deposits.decided_above(conn, resolution.chain, at.height)
    if named != {deposit.deposit_id for deposit in decided}:
        raise Refused(Reason.INTENT_MISMATCH, "the decided deposits above it are others")


def _common_ancestor(chain: ChainReader, kept: Sequence[BlockRef]) -> BlockRef:
    for candidate in kept:
        block = chain.block_at(candidate.height)
        if block is not None and block.ref == candidate:
            return candidate
    if not kept:
        raise Corrupt("a frozen chain has no followed blocks")
    raise Unavailable("no kept block is on the surviving branch", retry_after_ms=60_000)
