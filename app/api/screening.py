"""Screening for those who answer for it, and travel-rule data of withdrawals."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter

from app.api.guard import Caller, GuardedRoute, In, Shop
from app.api.shapes import Asked, Cursor, Limit, Page, Shown, after, next_of
from app.api.units import instant
from app.api.withdrawals import visible
from core.ids import WithdrawalId
from custody.access import Role
from custody.screening import cases, lists, travel
from custody.screening.cases import Outcome
from custody.screening.travel import TravelRecord

router = APIRouter(route_class=GuardedRoute)


class ScreeningView(Shown):
    """The list in force; all of it null before the first one."""

    sha256: str | None
    published: str | None
    parties: int
    addresses: int
    checked_at: str | None


class AnswerView(Shown):
    """What one provider said."""

    provider: str
    outcome: Outcome
    reference: str


class CaseView(Shown):
    """One withdrawal that is screened."""

    withdrawal_id: str
    customer_no: int
    chain: str
    address: str
    opened_at: str
    tries: int
    released: bool
    answers: list[AnswerView]


class TravelData(Asked):
    """The IVMS101 message; its members are checked by name, and no value is ever repeated."""

    ivms101: dict[str, Any]


class TravelRecordView(Shown):
    """One attached message, without what it says."""

    record_no: int
    sha256: str
    by: str
    at: str


class TravelView(Shown):
    """What is attached, oldest first; `ivms101` is the newest message, for operators only."""

    withdrawal_id: str
    records: list[TravelRecordView]
    ivms101: dict[str, Any] | None = None


@router.get("/v1/screening")
def read_screening(shop: In) -> ScreeningView:
    """Return the list in force."""
    with shop.context.platform.db.read() as conn:
        newest = lists.in_force(conn)
    if newest is None:
        return ScreeningView(
            sha256=None, published=None, parties=0, addresses=0, checked_at=None
        )  # fmt: skip
    return ScreeningView(
        sha256=newest.sha256.hex(),
        published=newest.published,
        parties=newest.parties,
        addresses=newest.addresses,
        checked_at=instant(newest.checked_at_ns),
    )


@router.get("/v1/screening/cases")
def list_cases(shop: In, limit: Limit = 50, cursor: Cursor = None) -> Page[CaseView]:
    """Return cases in the order of their withdrawals."""
    with shop.context.platform.db.read() as conn:
        found = cases.listed(conn, after=after(cursor), limit=limit)
        data = [_case(conn, case) for _, case in found]
    return Page[CaseView](data=data, next_cursor=next_of([number for number, _ in found], limit))


@router.post("/v1/withdrawals/{withdrawal_id}/travel-rule", status_code=201)
def attach_data(withdrawal_id: str, asked: TravelData, caller: Caller, shop: In) -> TravelView:
    """Attach travel-rule data; the same message again is the same record."""
    platform = shop.context.platform

    def apply(conn: sa.Connection) -> None:
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
        travel.attach(
            conn, row.withdrawal_id, asked.ivms101, by=caller.subject,
            now_ns=platform.clock.now_ns(),
        )  # fmt: skip

    shop.write(apply)
    return _attached(shop, WithdrawalId(withdrawal_id), with_message=False)


@router.get("/v1/withdrawals/{withdrawal_id}/travel-rule")
def read_data(withdrawal_id: str, caller: Caller, shop: In) -> TravelView:
    """Return what is attached; what it says is for operators."""
    with shop.context.platform.db.read() as conn:
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
    return _attached(shop, row.withdrawal_id, with_message=caller.role is Role.OPS)


def _attached(shop: Shop, withdrawal_id: WithdrawalId, *, with_message: bool) -> TravelView:
    with shop.context.platform.db.read() as conn:
        records = travel.of(conn, withdrawal_id)
        is_shown = with_message and records
        message = travel.message_of(conn, withdrawal_id) if is_shown else None
    return TravelView(
        withdrawal_id=withdrawal_id,
        records=[_record(record) for record in records],
        ivms101=message,
    )


def _record(record: TravelRecord) -> TravelRecordView:
    return TravelRecordView(
        record_no=record.record_no,
        sha256=record.sha256.hex(),
        by=record.by,
        at=instant(record.at_ns),
    )


def _case(conn: sa.Connection, case: cases.Case) -> CaseView:
    said = cases.answers(conn, case.withdrawal_id)
    return CaseView(
        withdrawal_id=case.withdrawal_id,
        customer_no=case.customer_no,
        chain=case.chain,
        address=case.address,
        opened_at=instant(case.opened_at_ns),
        tries=case.tries,
        released=cases.is_released(conn, case.withdrawal_id),
        answers=[
            AnswerView(provider=name, outcome=answer.outcome, reference=answer.reference)
            for name, answer in said.items()
        ],
    )
