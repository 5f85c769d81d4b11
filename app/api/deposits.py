"""Deposit addresses, deposits and balances of the customer who asks."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In, OwnNo, Shop
from app.api.idempotent import IdempotencyKey, replay
from app.api.shapes import Asked, Cursor, Limit, Page, Shown, after, next_of
from app.api.units import asset_id
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId, DepositId
from core.money import format_amount
from custody import access, chain_state, deposit_rows, idempotency
from custody.deposit_rows import Deposit, DepositState
from custody.idempotency import Answer
from custody.wallets import addresses
from custody.wallets.addresses import Address

router = APIRouter(route_class=GuardedRoute)

ADDRESSES_MAX = 1_000
"""Per customer and chain: every address of ours is watched for ever."""
ChainName = Annotated[str, Field(max_length=64)]


class NewAddress(Asked):
    """A chain on which to receive."""

    chain: ChainName


class AddressView(Shown):
    """An address of this customer, derived anew by two libraries before it was shown."""

    chain: str
    address: str


class DepositView(Shown):
    """A payment that arrived. It is the customer's money once its state is credited."""

    deposit_id: str
    customer_no: int | None
    chain: str
    asset: str | None
    symbol: str | None
    amount: str | None
    amount_minor: str
    address: str
    tx_id: str
    position: str
    state: str
    reason: str | None
    height: int
    confirmations: int
    required_confirmations: Annotated[
        int | None, Field(description="Blocks that the chain's final block now stands behind")
    ]


class BalanceView(Shown):
    """One asset: free, locked by open orders, held for withdrawals."""

    asset: str
    symbol: str
    available: str
    locked: str
    withdrawing: str
    total: str


class BalancesView(Shown):
    """Balances at an engine sequence; the books have followed up to books_sequence."""

    sequence: int
    books_sequence: int
    data: list[BalanceView]


@router.post("/v1/deposit-addresses", status_code=201, response_model=AddressView)
def issue_address(
    asked: NewAddress, caller: Caller, owner: OwnNo, shop: In, key: IdempotencyKey = None
) -> Response:
    """Issue the next address. With an Idempotency-Key the same one is answered again."""
    platform = shop.context.platform
    chain_id = ChainId(asked.chain)
    home = platform.home(chain_id)
    wanted = None if key is None else idempotency.check_key(key)
    content = idempotency.request_hash("POST /v1/deposit-addresses", asked.model_dump())

    def apply(conn: sa.Connection) -> tuple[Answer, bool]:
        now_ns = platform.clock.now_ns()
        if wanted is not None:
            is_new, known = idempotency.begin(
                conn, caller.scope, wanted, request_hash=content, now_ns=now_ns
            )
            if known is not None:
                return known, not is_new
        if len(addresses.of_customer(conn, chain_id, owner)) >= ADDRESSES_MAX:
            raise Refused(Reason.POLICY_BLOCKED, f"at most {ADDRESSES_MAX} addresses on a chain")
        row = addresses.allocate(
            conn,
            chain_id,
            owner,
            public_key_of=home.public_key_of,
            address_of=home.chain.address_of,
            now_ns=now_ns,
        )
        answer = Answer(201, _address(shop, row).model_dump_json())
        if wanted is not None:
            idempotency.finish(conn, caller.scope, wanted, answer)
        return answer, False

    answer, is_replayed = shop.write(apply)
    return replay(answer, is_replayed=is_replayed)


@router.get("/v1/deposit-addresses")
def list_addresses(
    owner: OwnNo,
    shop: In,
    chain: Annotated[str, Query(max_length=64)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AddressView]:
    """Return one's addresses on a chain, oldest first; all of them stay good for ever."""
    chain_id = ChainId(chain)
    shop.context.platform.home(chain_id)
    with shop.context.platform.db.read() as conn:
        rows = addresses.of_customer(conn, chain_id, owner)
    start = after(cursor)
    page = rows[start : start + limit]
    more = str(start + limit) if start + limit < len(rows) else None
    return Page[AddressView](data=[_address(shop, row) for row in page], next_cursor=more)


@router.get("/v1/deposits")
def list_deposits(
    caller: Caller,
    shop: In,
    state: Annotated[DepositState | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DepositView]:
    """Return deposits in the order they arrived: one's own, or for ops and auditors all."""
    with shop.context.platform.db.read() as conn:
        rows = deposit_rows.list_deposits(
            conn,
            customer_no=caller.customer_no,
            states=() if state is None else (state,),
            after=after(cursor),
            limit=limit,
        )
        shown = [_deposit(conn, shop, row) for row in rows]
    return Page[DepositView](
        data=shown, next_cursor=next_of([row.arrival_no for row in rows], limit)
    )


@router.get("/v1/deposits/{deposit_id}")
def read_deposit(deposit_id: str, caller: Caller, shop: In) -> DepositView:
    """Return one deposit."""
    with shop.context.platform.db.read() as conn:
        row = deposit_rows.find(conn, DepositId(deposit_id))
        is_mine = caller.role is not access.Role.CUSTOMER or (
            row is not None and row.customer_no == caller.customer_no
        )
        if row is None or not is_mine:
            raise Refused(Reason.NOT_FOUND, "there is no such deposit")
        return _deposit(conn, shop, row)


@router.get("/v1/balances")
def read_balances(owner: OwnNo, shop: In) -> BalancesView:
    """Return what the engine holds for the customer who asks."""
    sequencer = shop.context.sequencer
    if sequencer.failure is not None:
        raise Unavailable("the engine stopped")
    with sequencer.reading() as engine:
        found, sequence = engine.balances(owner), engine.sequence
    data = []
    for asset_no, balance in sorted(found.items()):
        asset = shop.listing.asset_of(asset_no)
        shown = [format_amount(each, asset.spec.scale) for each in (*balance, sum(balance))]
        available, locked, withdrawing, total = shown
        data.append(
            BalanceView(
                asset=asset_id(asset),
                symbol=asset.spec.symbol,
                available=available,
                locked=locked,
                withdrawing=withdrawing,
                total=total,
            )
        )
    return BalancesView(
        sequence=sequence, books_sequence=sequencer.log.projected_sequence, data=data
    )


def _address(shop: Shop, row: Address) -> AddressView:
    """Show an address only when it derives again from its key (K05)."""
    home = shop.context.platform.home(row.chain)
    derived = home.chain.address_of(home.public_key_of(row.account, row.key_index))
    if derived != row.address:
        raise Corrupt(f"{row.chain} {row.account}/{row.key_index} is stored as another address")
    return AddressView(chain=row.chain, address=derived)


def _deposit(conn: sa.Connection, shop: Shop, row: Deposit) -> DepositView:
    asset = None if row.asset_no is None else shop.listing.asset_of(row.asset_no)
    tip = chain_state.cursor(conn, row.chain)
    final = chain_state.state(conn, row.chain).final
    on_branch = tip is not None and row.state is not DepositState.ORPHANED
    return DepositView(
        deposit_id=row.deposit_id,
        customer_no=row.customer_no,
        chain=row.chain,
        asset=None if asset is None else asset_id(asset),
        symbol=None if asset is None else asset.spec.symbol,
        amount=None if asset is None else format_amount(row.amount, asset.spec.scale),
        amount_minor=str(row.amount),
        address=row.address,
        tx_id=row.tx_id,
        position=row.position,
        state=row.state.value,
        reason=row.reason,
        height=row.block.height,
        confirmations=max(0, tip.height - row.block.height + 1) if tip and on_branch else 0,
        required_confirmations=(
            None if tip is None or final is None else max(1, tip.height - final.height + 1)
        ),
    )
