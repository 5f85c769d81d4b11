"""What the policy decided about a withdrawal, with everything it was given: for staff."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In
from app.api.shapes import Shown
from app.api.units import instant
from app.api.withdrawals import visible
from core.clock import SECOND_NS
from core.ids import WithdrawalId
from custody.policy.record import decode_record
from custody.withdrawals import decisions
from custody.withdrawals.decisions import Stored

router = APIRouter(route_class=GuardedRoute)


class TraceView(Shown):
    """One thing that was looked at."""

    stage: str
    rule: str
    condition: str
    observed: str
    verdict: str


class DecisionView(Shown):
    """One decision: at the request, or one of the answers at the release."""

    number: int
    moment: str
    outcome: str
    code: str
    rule: str
    quorum: str | None
    delay_s: int | None
    policy_hash: str
    decision_hash: Annotated[str, Field(description="SHA-256 of the record, hex; in the intent")]
    at: str
    trace: list[TraceView]
    record: Annotated[
        dict[str, Any], Field(description="Everything that was given, to decide it again")
    ]


class DecisionsView(Shown):
    """Every decision about one withdrawal, oldest first."""

    data: list[DecisionView]


@router.get("/v1/withdrawals/{withdrawal_id}/decisions")
def list_decisions(withdrawal_id: str, caller: Caller, shop: In) -> DecisionsView:
    """Return what was decided about a withdrawal, and why."""
    with shop.context.platform.db.read() as conn:
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
        found = decisions.of(conn, row.withdrawal_id)
    return DecisionsView(data=[decision_view(stored) for stored in found])


def decision_view(stored: Stored) -> DecisionView:
    """Return a stored decision with its trace."""
    decision = decode_record(stored.record).decision
    required = decision.requirement
    return DecisionView(
        number=stored.decision_no,
        moment=stored.moment.value,
        outcome=stored.outcome,
        code=stored.code,
        rule=stored.rule,
        quorum=None if required is None else required.quorum.text,
        delay_s=None if required is None else required.delay_ns // SECOND_NS,
        policy_hash=stored.policy_hash.hex(),
        decision_hash=stored.hash.hex(),
        at=instant(stored.at_ns),
        trace=[
            TraceView(
                stage=line.stage.value,
                rule=line.rule,
                condition=line.condition,
                observed=line.observed,
                verdict=line.verdict,
            )
            for line in decision.trace
        ],
        record=json.loads(stored.record),
    )
