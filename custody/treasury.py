"""Entries about the platform's own money that officers make by a signed statement."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from core.errors import Reason, Refused
from core.ids import DepositId, derived_id, transfer_id
from custody import audit_log, catalogue, deposit_rows
from custody.deposit_rows import Deposit, DepositState
from custody.deposits import OWN_WALLET
from custody.keys.roster import Roster
from custody.keys.statement import (
    Statement,
    StatementKind,
    StatementSignature,
    verify_statement,
)
from custody.ledger import templates
from custody.ledger.transfers import find_transfers, post


def statement_of(funding: Deposit, *, expires_ns: int) -> Statement:
    """Return what officers sign to say that an arrival in an own wallet is the operator's money."""
    lines = (f"{funding.account} {funding.chain} {funding.asset_key} {funding.amount}",)
    name = derived_id("stmt", funding.deposit_id, *lines)
    return Statement(name, StatementKind.RECOGNISE_FUNDING, funding.deposit_id, lines, expires_ns)


def is_recognised(conn: sa.Connection, deposit_id: DepositId) -> bool:
    """Return whether officers have moved an arrival from suspense to equity."""
    row = deposit_rows.get(conn, deposit_id)
    statement = statement_of(row, expires_ns=0)
    wanted = transfer_id("equity", statement.statement_id)
    return bool(find_transfers(conn, [wanted]))


def recognise(
    conn: sa.Connection,
    funding: Deposit,
    statement: Statement,
    signatures: Sequence[StatementSignature],
    *,
    roster: Roster,
    now_ns: int,
) -> None:
    """Move operators' funding from suspense to equity; the same statement again is quiet.

    Refused: intent_mismatch, illegal_transition (no funding of an own wallet), unknown_asset, and
    as verify_statement.
    """
    row = deposit_rows.get(conn, funding.deposit_id)
    if statement != statement_of(row, expires_ns=statement.expires_ns):
        raise Refused(Reason.INTENT_MISMATCH, "the statement is about another arrival")
    persons = verify_statement(roster, statement, signatures, now_ns=now_ns)
    if row.state is not DepositState.UNATTRIBUTED or row.reason != OWN_WALLET:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.deposit_id} is {row.state} {row.reason}")
    asset = catalogue.asset_by_key(conn, row.chain, row.asset_key)
    if asset is None:
        raise Refused(Reason.UNKNOWN_ASSET, row.asset_key)
    posted = templates.suspense_to_equity(
        wallet=row.account,
        asset_no=asset.asset_no,
        amount=row.amount,
        entry_id=statement.statement_id,
    )
    result = post(conn, posted, at_ns=now_ns)
    if result.posted:
        audit_log.record(
            conn, actor=",".join(persons), action="funding.recognise", subject=row.deposit_id,
            detail={"statement": statement.statement_id}, at_ns=now_ns,
        )  # fmt: skip
