"""Deposit addresses, deposits and balances of the customer who asks."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In, OwnNo, Shop
from app.api.idempotent import IdempotencyKey, replay
from app.api.shapes import Asked, Cursor, Limit, Page, Shown, after, next_of
from app.api.units import asset_id
from app.bootstrap import attest_address
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo, DepositId
from core.money import format_amount
from custody import access, chain_state, deposit_rows, idempotency, pending
from custody.deposit_rows import Deposit, DepositState
from custody.idempotency import Answer
from custody.pending import Pending
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
    """An address of this customer with all that the signer attests to.

    Whoever has the attestation key (it stands in the roster) can check the Ed25519 signature over
    the canonical message strongroom/address before paying to it, and should.
    """

    chain: str
    network: str
    address: str
    account: str
    key_index: int
    customer_no: int
    attestation: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$", description="Ed25519, in hex")]


class DepositView(Shown):
    """A payment that arrived. It is the customer's money once its state is credited.

    One that is pending is in no block: it may be replaced or forgotten, and then it is not listed
    any more.
    """

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
    height: int | None
    confirmations: int
    required_confirmations: Annotated[
        int | None,
        Field(description="Blocks until the chain's final block, more for a large amount"),
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

    def apply(conn: sa.Connection) -> tuple[Address, bool]:
        now_ns = platform.clock.now_ns()
        if wanted is not None:
            _, known = idempotency.begin(
                conn, caller.scope, wanted, request_hash=content, now_ns=now_ns
            )
            if known is not None:
                row = _row_of(conn, chain_id, known)
                return row, row.attestation is not None
        if len(addresses.of_customer(conn, chain_id, owner)) >= ADDRESSES_MAX:
            raise Refused(Reason.POLICY_BLOCKED, f"at most {ADDRESSES_MAX} addresses on a chain")
        row = addresses.reserve(
            conn,
            chain_id,
            owner,
            public_key_of=platform.keys_in(home, conn),
            address_of=home.chain.address_of,
            now_ns=now_ns,
        )
        if wanted is not None:
            # What is kept is which row it was: its answer is made anew from what is attested.
            idempotency.finish(conn, caller.scope, wanted, Answer(201, row.address))
        return row, False

    row, is_replayed = shop.write(apply)
    if row.attestation is None:
        attested = attest_address(platform, row)  # the signer is asked outside of any transaction
        shop.write(lambda conn: addresses.put_attestation(conn, attested))
        row = attested
    answer = Answer(201, _address(shop, row, owner).model_dump_json())
    return replay(answer, is_replayed=is_replayed)


@router.get("/v1/deposit-addresses")
def list_addresses(
    owner: OwnNo,
    shop: In,
    chain: Annotated[str, Query(max_length=64)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AddressView]:
    """Return one's addresses on a chain, oldest first; all of them stay good for ever.

    One that the signer has not attested to yet is not among them.
    """
    chain_id = ChainId(chain)
    shop.context.platform.home(chain_id)
    with shop.context.platform.db.read() as conn:
        found = addresses.of_customer(conn, chain_id, owner)
    rows = [row for row in found if row.attestation is not None]
    start = after(cursor)
    page = rows[start : start + limit]
    more = str(start + limit) if start + limit < len(rows) else None
    return Page[AddressView](data=[_address(shop, row, owner) for row in page], next_cursor=more)


@router.get("/v1/deposits")
def list_deposits(
    caller: Caller,
    shop: In,
    state: Annotated[DepositState | Literal["pending"] | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DepositView]:
    """Return deposits in the order they arrived: one's own, or for ops and auditors all.

    What waits for a block follows them on the last page.
    """
    rows: list[Deposit] = []
    with shop.context.platform.db.read() as conn:
        if state != "pending":
            rows = deposit_rows.list_deposits(
                conn,
                customer_no=caller.customer_no,
                states=() if state is None else (state,),
                after=after(cursor),
                limit=limit,
            )
        shown = [_deposit(conn, shop, row) for row in rows]
        if len(rows) < limit and not isinstance(state, DepositState):
            shown += [_waiting(shop, row) for row in pending.of_customer(conn, caller.customer_no)]
    return Page[DepositView](
        data=shown, next_cursor=next_of([row.arrival_no for row in rows], limit)
    )


@router.get("/v1/deposits/{deposit_id}")
def read_deposit(deposit_id: str, caller: Caller, shop: In) -> DepositView:
    """Return one deposit."""
    with shop.context.platform.db.read() as conn:
        row = deposit_rows.find(conn, DepositId(deposit_id))
        waiting = pending.find(conn, DepositId(deposit_id))
        found = waiting or row
        is_mine = caller.role is not access.Role.CUSTOMER or (
            found is not None and found.customer_no == caller.customer_no
        )
        if waiting is not None and is_mine:
            return _waiting(shop, waiting)
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


def _row_of(conn: sa.Connection, chain: ChainId, known: Answer) -> Address:
    row = addresses.find(conn, chain, known.body)
    if row is None:
        raise Refused(Reason.BAD_ATTESTATION, f"{chain}: an address that was issued is not there")
    return row


def _address(shop: Shop, row: Address, owner: CustomerNo) -> AddressView:
    """Show an address only when it is this customer's by the signer's own word (K05).

    Refused: bad_attestation.
    """
    home = shop.context.platform.home(row.chain)
    network = home.chain.traits.network
    addresses.check_shown(
        row, network=network, attestation_key=shop.context.platform.attestation_key
    )
    derived = row.address
    if not home.makes_keys:
        derived = home.chain.address_of(home.keys[row.account].public_key(row.key_index))
    if derived != row.address or row.customer_no != owner or row.attestation is None:
        raise Refused(
            Reason.BAD_ATTESTATION,
            f"{row.chain} {row.account}/{row.key_index}: not customer {owner}'s",
        )
    return AddressView(
        chain=row.chain,
        network=network,
        address=derived,
        account=row.account,
        key_index=row.key_index,
        customer_no=owner,
        attestation=row.attestation.hex(),
    )


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
            None
            if tip is None or final is None
            else max(1, tip.height - final.height + 1) + row.extra_depth
        ),
    )


def _waiting(shop: Shop, row: Pending) -> DepositView:
    asset = None if row.asset_no is None else shop.listing.asset_of(row.asset_no)
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
        state="pending",
        reason=None,
        height=None,
        confirmations=0,
        required_confirmations=None,
    )
