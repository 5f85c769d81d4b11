"""Withdrawals: ask, look up, cancel. Money leaves only after officers have signed."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from app.api import problems
from app.api.engine_room import tries
from app.api.guard import Caller, GuardedRoute, In, OwnNo, Shop
from app.api.idempotent import IdempotencyKey, replay
from app.api.shapes import AmountText, Asked, Cursor, Limit, Page, after, next_of
from app.api.withdrawal_views import WithdrawalDetail, WithdrawalView, network_of, view, waiting_of
from chains.base import Standing
from core.errors import Reason, Refused
from core.ids import CustomerNo, WithdrawalId
from core.money import parse_amount
from custody import idempotency, velocity
from custody.access import Principal, Role
from custody.idempotency import Answer
from custody.policy.decision import Outcome
from custody.policy.record import Moment
from custody.spending import batch_items
from custody.spending import rows as spending_rows
from custody.withdrawals import decisions, destinations, states, workflow
from custody.withdrawals.states import Withdrawal, WithdrawalState
from custody.withdrawals.workflow import WithdrawalRequest

router = APIRouter(route_class=GuardedRoute)

VERB = "POST /v1/withdrawals"
ClientId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


class NewWithdrawal(Asked):
    """What arrives where; the flat fee comes on top. The client's id defaults to the header's."""

    asset: Annotated[str, Field(max_length=256, description="<chain>/<key>, see /v1/assets")]
    destination: Annotated[str, Field(max_length=256)]
    amount: AmountText
    client_withdrawal_id: ClientId | None = None


@router.post(
    "/v1/withdrawals",
    status_code=201,
    response_model=WithdrawalView,
    responses={202: {"model": WithdrawalView, "description": "Requested, not yet held"}},
)
async def request_withdrawal(
    asked: NewWithdrawal,
    caller: Caller,
    owner: OwnNo,
    shop: In,
    request: Request,
    key: IdempotencyKey = None,
) -> Response:
    """Ask for a withdrawal and wait until its money is held (201), at most two seconds (202)."""
    wanted = idempotency.check_key(key)
    client_id = asked.client_withdrawal_id or wanted
    request.state.lookup = f"/v1/withdrawals?client_withdrawal_id={client_id}"
    async with shop.turn():
        is_new, answer, row = await run_in_threadpool(
            _begin, shop, caller, owner, asked, client_id, wanted
        )
    if answer is None:
        row = await _outcome(shop, row)
        code = await run_in_threadpool(_code, shop, row)
        reply = _answer(request, shop, row, code)
        async with shop.turn():
            answer = await run_in_threadpool(_finish, shop, caller, wanted, reply)
    return replay(answer, is_replayed=not is_new)


@router.get("/v1/withdrawals")
def list_withdrawals(
    caller: Caller,
    shop: In,
    state: Annotated[WithdrawalState | None, Query()] = None,
    client_withdrawal_id: Annotated[str | None, Query(max_length=128)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[WithdrawalView]:
    """Return withdrawals in the order they were asked for: one's own, or for staff all."""
    with shop.context.platform.db.read() as conn:
        if client_withdrawal_id is not None:
            if caller.customer_no is None:
                raise Refused(Reason.FORBIDDEN, "a customer's own id is for that customer")
            found = states.by_client_id(conn, caller.customer_no, client_withdrawal_id)
            rows = [] if found is None else [found]
        else:
            rows = states.in_states(
                conn,
                frozenset() if state is None else frozenset({state}),
                customer_no=caller.customer_no,
                after=after(cursor),
                limit=limit,
            )
    more = None if client_withdrawal_id else next_of([row.request_no for row in rows], limit)
    return Page[WithdrawalView](data=[view(shop, row) for row in rows], next_cursor=more)


@router.get("/v1/withdrawals/{withdrawal_id}")
def read_withdrawal(withdrawal_id: str, caller: Caller, shop: In) -> WithdrawalDetail:
    """Return one withdrawal with everything that happened to it."""
    for_staff = caller.role is not Role.CUSTOMER
    with shop.context.platform.db.read() as conn:
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
        waiting = waiting_of(conn, shop, row, for_staff=for_staff)
        timeline = states.timeline(conn, row.withdrawal_id)
        spend = batch_items.spend_of(conn, row.withdrawal_id)
        sent = [] if spend is None else spending_rows.attempts(conn, spend.spend_id)
        network = network_of(conn, row)
    tx_ids = [attempt.tx_id for attempt in sent if not attempt.cancels]
    return WithdrawalDetail.of(
        view(shop, row), timeline, tx_ids, waiting=waiting, network=network, for_staff=for_staff
    )


@router.post("/v1/withdrawals/{withdrawal_id}/cancel")
def cancel_withdrawal(withdrawal_id: str, caller: Caller, owner: OwnNo, shop: In) -> WithdrawalView:
    """Cancel before anything is planned; a second time changes nothing."""
    platform = shop.context.platform

    def apply(conn: sa.Connection) -> Withdrawal:
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
        assert row.customer_no == owner
        return workflow.cancel(
            conn, row.withdrawal_id, by=caller.subject, now_ns=platform.clock.now_ns()
        )

    return view(shop, shop.write(apply))


def visible(conn: sa.Connection, withdrawal_id: WithdrawalId, caller: Principal) -> Withdrawal:
    """Return a withdrawal that the caller may see. Refused: not_found, for others' ones alike."""
    no_such = Refused(Reason.NOT_FOUND, "there is no such withdrawal")
    try:
        row = states.get(conn, withdrawal_id)
    except Refused as error:
        raise no_such from error
    if caller.role is Role.CUSTOMER and row.customer_no != caller.customer_no:
        raise no_such
    return row


def _begin(
    shop: Shop,
    caller: Principal,
    owner: CustomerNo,
    asked: NewWithdrawal,
    client_id: str,
    key: str,
) -> tuple[bool, Answer | None, Withdrawal | None]:
    """Write key and request in one transaction; return whether it is new, its answer, its row."""
    platform = shop.context.platform
    content = idempotency.request_hash(VERB, asked.model_dump())
    standing = _survey(shop, caller, owner, asked, client_id, key)

    def known(conn: sa.Connection) -> tuple[bool, Answer | None]:
        return idempotency.begin(
            conn, caller.scope, key, request_hash=content, now_ns=platform.clock.now_ns()
        )

    def apply(conn: sa.Connection) -> tuple[bool, Answer | None, Withdrawal | None]:
        velocity.take_turn(conn)  # first, or what others reserve meanwhile makes this run again
        is_new, answer = known(conn)
        if answer is not None:
            return is_new, answer, None
        asset = shop.listing.asset(asked.asset)
        home = platform.home(asset.chain)
        row = workflow.request(
            conn,
            WithdrawalRequest(
                client_withdrawal_id=client_id,
                customer_no=owner,
                initiator=caller.subject,
                asset_no=asset.asset_no,
                destination=asked.destination,
                amount=parse_amount(asked.amount, asset.spec.scale),
            ),
            chain=home.chain,
            terms=home.terms,
            now_ns=platform.clock.now_ns(),
            standing=standing,
        )
        return is_new, None, row

    return shop.write(apply)


def _survey(
    shop: Shop,
    caller: Principal,
    owner: CustomerNo,
    asked: NewWithdrawal,
    client_id: str,
    key: str,
) -> Standing | None:
    """Ask the nodes what stands at the destination, before any transaction; None: known already.

    Unavailable: nobody answers, and then nothing is asked for. What was asked for before is
    answered without a node.
    """
    asset = shop.listing.asset(asked.asset)
    home = shop.context.platform.home(asset.chain)
    parse_amount(asked.amount, asset.spec.scale)
    with shop.context.platform.db.read() as conn:
        if idempotency.is_known(conn, caller.scope, key):
            return None
        if states.by_client_id(conn, owner, client_id) is not None:
            return None
    return destinations.survey(
        home.chain, asked.destination, asset_key=asset.spec.key,
        roster=shop.context.platform.roster,
    )  # fmt: skip


async def _outcome(shop: Shop, row: Withdrawal | None) -> Withdrawal:
    """Return the withdrawal once it is held or refused, or as it stands when the wait is over."""
    assert row is not None
    async for _ in tries(shop):
        row = await run_in_threadpool(_read, shop, row.withdrawal_id)
        if row.state is not WithdrawalState.REQUESTED:
            break
    return row


def _read(shop: Shop, withdrawal_id: WithdrawalId) -> Withdrawal:
    with shop.context.platform.db.read() as conn:
        return states.get(conn, withdrawal_id)


def _code(shop: Shop, row: Withdrawal) -> str:
    """Return the policy's code when it blocked a request, else nothing."""
    if row.state is not WithdrawalState.REFUSED:
        return ""
    with shop.context.platform.db.read() as conn:
        decided = decisions.last(conn, row.withdrawal_id, Moment.REQUEST)
    blocked = decided is not None and decided.outcome == Outcome.BLOCK
    return decided.code if decided is not None and blocked else ""


def _answer(request: Request, shop: Shop, row: Withdrawal, code: str) -> Answer:
    if row.state is WithdrawalState.REFUSED:
        reason = Reason(row.reason) if row.reason else Reason.POLICY_BLOCKED
        why = f"{code}: nothing was held" if code else "nothing was held"
        document = problems.problem(request, reason.value, why, withdrawal_id=row.withdrawal_id)
        return Answer(document.status, problems.text_of(document))
    status = 202 if row.state is WithdrawalState.REQUESTED else 201
    return Answer(status, view(shop, row).model_dump_json())


def _finish(shop: Shop, caller: Principal, key: str, answer: Answer) -> Answer:
    return shop.write(lambda conn: idempotency.finish(conn, caller.scope, key, answer))
