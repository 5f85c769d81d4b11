"""Officers' statements from draft to deed: what the command line shows, signs and carries out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from app.bootstrap import Platform
from core.errors import Reason, Refused
from core.ids import ChainId, DepositId, WithdrawalId
from custody import deposit_rows, resolution, treasury
from custody.keys.statement import Statement, StatementKind, StatementSignature
from custody.screening import cases


def draft_resolution(platform: Platform, chain: ChainId, *, expires_ns: int) -> Statement:
    """Read the surviving branch of a frozen chain and return what officers may sign.

    Refused: unknown_chain, illegal_transition (not frozen). Unavailable: a node does not answer.
    """
    plan = resolution.gather(platform.db, platform.home(chain).chain)
    return resolution.statement_of(plan, expires_ns=expires_ns)


def draft_recognition(platform: Platform, deposit_id: DepositId, *, expires_ns: int) -> Statement:
    """Return what officers may sign to say that an arrival is the operator's own money.

    Refused: not_found.
    """
    with platform.db.read() as conn:
        return treasury.statement_of(deposit_rows.get(conn, deposit_id), expires_ns=expires_ns)


def draft_screening(
    platform: Platform, withdrawal_id: WithdrawalId, *, expires_ns: int
) -> Statement:
    """Return what officers may sign to release a withdrawal that a provider holds.

    Refused: not_found, illegal_transition.
    """
    with platform.db.read() as conn:
        return cases.statement_of(conn, withdrawal_id, expires_ns=expires_ns)


def carry_out(
    platform: Platform, statement: Statement, signatures: Sequence[StatementSignature]
) -> None:
    """Do what a quorum signed, if it is still exactly what would be drafted now.

    Refused: intent_mismatch (the world has moved on), quorum_not_met, approval_expired, …
    """
    now_ns = platform.clock.now_ns()
    if statement.kind is StatementKind.RESOLVE_REORGANISATION:
        chain = ChainId(statement.subject)
        plan = resolution.gather(platform.db, platform.home(chain).chain)
        platform.db.run(
            partial(
                resolution.resolve, resolution=plan, statement=statement, signatures=signatures,
                roster=platform.roster, now_ns=now_ns,
            )
        )  # fmt: skip
        return
    if statement.kind is StatementKind.RELEASE_SCREENING:
        platform.db.run(
            partial(
                cases.release, statement=statement, signatures=signatures, roster=platform.roster,
                now_ns=now_ns,
            )
        )  # fmt: skip
        return
    if statement.kind is not StatementKind.RECOGNISE_FUNDING:
        raise Refused(Reason.UNKNOWN_VERSION, statement.kind)
    with platform.db.read() as conn:
        row = deposit_rows.get(conn, DepositId(statement.subject))
    platform.db.run(
        partial(
            treasury.recognise, funding=row, statement=statement, signatures=signatures,
            roster=platform.roster, now_ns=now_ns,
        )
    )  # fmt: skip
