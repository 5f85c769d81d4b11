"""Address books, what holds a customer's withdrawals, and what other customers paid to him."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In, OwnNo, Shop
from app.api.idempotent import IdempotencyKey
from app.api.shapes import Asked, Cursor, Limit, Page, Shown, after, next_of, number_in_path
from app.api.units import asset_id, instant
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo
from core.money import format_amount
from custody import catalogue, idempotency
from custody.access import Principal
from custody.withdrawals import addressbook, book_rows, destinations, inside, security
from custody.withdrawals.addressbook import Confirmation, Created
from custody.withdrawals.book_rows import Entry, EntryState, NewEntry
from custody.withdrawals.inside import InsideTransfer
from custody.withdrawals.security import SecurityChange

router = APIRouter(route_class=GuardedRoute)

CustomerChoice = Annotated[int | None, Query(ge=1, description="Whose book; for staff")]


class NewAddressEntry(Asked):
    """An address to enter. customer_no: whose book, when staff makes the entry."""

    chain: Annotated[str, Field(max_length=64)]
    address: Annotated[str, Field(max_length=256)]
    label: Annotated[str, Field(pattern=r"^[ -~]{1,64}$")]
    tag: Annotated[str, Field(pattern=r"^[!-~]{1,128}$")] | None = None
    client_entry_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")] | None = None
    customer_no: int | None = None


class Code(Asked):
    """The one-time code that the customer was sent."""

    code: Annotated[str, Field(max_length=64)]


class BookRule(Asked):
    """Whether withdrawals may go to confirmed entries only."""

    required: bool


class BookRuleView(Shown):
    """The rule as it stands. Withdrawals are held until held_until after security changes."""

    required: bool
    held_until: str | None


class EntryView(Shown):
    """One entry; usable from usable_at on, for large payments from large_usable_at on."""

    entry_id: str
    client_entry_id: str
    customer_no: int
    chain: str
    address: str
    tag: str | None
    label: str
    state: EntryState
    last_editor: str
    created_at: str
    confirmed_at: str | None
    usable_at: str | None
    large_usable_at: str | None
    removed_at: str | None
    code_expires_at: str | None
    tries_left: int


class Change(Asked):
    """What the operator's own systems changed: password, second_factor."""

    kind: Literal["password", "second_factor"]


class ReceivedView(Shown):
    """A payment of another customer, settled without a chain transaction."""

    withdrawal_id: str
    asset: str
    symbol: str
    amount: str
    address: str
    settled_at: str


@router.post("/v1/address-book", status_code=201)
def add_entry(
    asked: NewAddressEntry, caller: Caller, shop: In, key: IdempotencyKey = None
) -> EntryView:
    """Enter an address; its code goes to the customer. The same request again is the same entry."""
    platform = shop.context.platform
    client_id = asked.client_entry_id or idempotency.check_key(key)
    home = platform.home(ChainId(asked.chain))
    address = home.chain.parse_address(asked.address)
    owner = _owner(caller, asked.customer_no)

    def apply(conn: sa.Connection) -> Created:
        now_ns = platform.clock.now_ns()
        _, against = destinations.judge(conn, ChainId(asked.chain), owner, address)
        for finding in against:
            raise Refused(Reason(finding.code), finding.detail)
        entry = NewEntry(
            client_entry_id=client_id,
            customer_no=owner,
            chain=ChainId(asked.chain),
            address=address,
            label=asked.label,
            editor=caller.subject,
            tag=asked.tag,
        )
        return addressbook.create(
            conn, entry, terms=platform.book, entropy=platform.entropy, now_ns=now_ns
        )

    return _send(shop, shop.write(apply))


@router.get("/v1/address-book")
def list_entries(
    caller: Caller,
    shop: In,
    customer_no: CustomerChoice = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[EntryView]:
    """Return a book in the order of its entries, removed ones too."""
    with shop.context.platform.db.read() as conn:
        owner = _owner(caller, customer_no)
        found = book_rows.entries(conn, owner, after=after(cursor), limit=limit)
    return Page[EntryView](
        data=[_view(shop, row) for row in found],
        next_cursor=next_of([row.entry_no for row in found], limit),
    )


@router.post("/v1/address-book/{entry_id}/confirm")
def confirm_entry(entry_id: str, asked: Code, owner: OwnNo, shop: In) -> EntryView:
    """Confirm an entry by its code; wrong codes are counted."""
    platform = shop.context.platform
    code = addressbook.parse_code(asked.code)

    def apply(conn: sa.Connection) -> Confirmation:
        now_ns = platform.clock.now_ns()
        return addressbook.confirm(conn, owner, entry_id, code, now_ns=now_ns)

    return _view(shop, shop.write(apply).checked())


@router.post("/v1/address-book/{entry_id}/code")
def renew_code(entry_id: str, caller: Caller, owner: OwnNo, shop: In) -> EntryView:
    """Send another code for an entry that waits for one; the one before is worth nothing."""
    platform = shop.context.platform

    def apply(conn: sa.Connection) -> Created:
        return addressbook.renew_code(
            conn, owner, entry_id, by=caller.subject, terms=platform.book,
            entropy=platform.entropy, now_ns=platform.clock.now_ns(),
        )  # fmt: skip

    return _send(shop, shop.write(apply))


@router.delete("/v1/address-book/{entry_id}")
def remove_entry(
    entry_id: str, caller: Caller, shop: In, customer_no: CustomerChoice = None
) -> EntryView:
    """Take an entry out at once; a second time changes nothing."""
    platform, owner = shop.context.platform, _owner(caller, customer_no)
    return _view(
        shop,
        shop.write(
            lambda conn: addressbook.remove(
                conn, owner, entry_id, by=caller.subject, now_ns=platform.clock.now_ns()
            )
        ),
    )


@router.get("/v1/address-book-rule")
def read_rule(owner: OwnNo, shop: In) -> BookRuleView:
    """Return whether the book is obligatory, and until when withdrawals are held."""
    return _rule(shop, owner)


@router.post("/v1/address-book-rule")
def set_rule(asked: BookRule, caller: Caller, owner: OwnNo, shop: In) -> BookRuleView:
    """Switch the obligation; switching it off holds withdrawals for a day."""
    platform = shop.context.platform

    def apply(conn: sa.Connection) -> None:
        addressbook.set_required(
            conn, owner, required=asked.required, by=caller.subject, terms=platform.book,
            now_ns=platform.clock.now_ns(),
        )  # fmt: skip

    shop.write(apply)
    return _rule(shop, owner)


@router.post("/v1/customers/{customer_no}/security-changes", status_code=201)
def record_change(customer_no: str, asked: Change, caller: Caller, shop: In) -> BookRuleView:
    """Record what the operator's own systems changed; withdrawals are held for a day."""
    platform = shop.context.platform
    number = CustomerNo(number_in_path(customer_no, Reason.UNKNOWN_CUSTOMER))

    def apply(conn: sa.Connection) -> None:
        catalogue.customer(conn, number)
        now_ns = platform.clock.now_ns()
        kind = SecurityChange(asked.kind)
        security.record_change(conn, number, kind, now_ns, by=caller.subject)

    shop.write(apply)
    return _rule(shop, number)


@router.get("/v1/received")
def list_received(
    owner: OwnNo, shop: In, limit: Limit = 50, cursor: Cursor = None
) -> Page[ReceivedView]:
    """Return what other customers paid, oldest first."""
    with shop.context.platform.db.read() as conn:
        found = inside.received(conn, owner, after=after(cursor), limit=limit)
    return Page[ReceivedView](
        data=[_received(shop, row) for row in found],
        next_cursor=next_of([row.transfer_no for row in found], limit),
    )


def _owner(caller: Principal, customer_no: int | None) -> CustomerNo:
    """Return whose book is meant: one's own, or for staff the one that is named."""
    if caller.customer_no is not None:
        if customer_no not in (None, caller.customer_no):
            raise Refused(Reason.FORBIDDEN, "a customer has one book")
        return caller.customer_no
    if customer_no is None:
        raise Refused(Reason.MISSING_FIELD, "customer_no")
    return CustomerNo(customer_no)


def _send(shop: Shop, created: Created) -> EntryView:
    """Hand the code over after the commit. Unavailable: it did not go out; ask for a new one."""
    if created.notice is not None:
        shop.context.platform.notifier.send_code(created.notice)
    return _view(shop, created.entry)


def _rule(shop: Shop, owner: CustomerNo) -> BookRuleView:
    platform = shop.context.platform
    with platform.db.read() as conn:
        required = book_rows.is_required(conn, owner, terms=platform.book)
        until_ns = security.held_until_ns(conn, owner)
    is_held = platform.clock.now_ns() < until_ns
    return BookRuleView(required=required, held_until=instant(until_ns) if is_held else None)


def _view(shop: Shop, row: Entry) -> EntryView:
    terms, pending = shop.context.platform.book, row.state is EntryState.PENDING
    confirmed = row.confirmed_at_ns

    def later(wait_ns: int) -> str | None:
        is_live = confirmed is not None and row.state is EntryState.CONFIRMED
        return instant(confirmed + wait_ns) if is_live and confirmed is not None else None

    return EntryView(
        entry_id=row.entry_id,
        client_entry_id=row.client_entry_id,
        customer_no=row.customer_no,
        chain=row.chain,
        address=row.address,
        tag=row.tag,
        label=row.label,
        state=row.state,
        last_editor=row.last_editor,
        created_at=instant(row.created_at_ns),
        confirmed_at=None if confirmed is None else instant(confirmed),
        usable_at=later(terms.cooldown_ns),
        large_usable_at=later(terms.large_cooldown_ns),
        removed_at=None if row.removed_at_ns is None else instant(row.removed_at_ns),
        code_expires_at=instant(row.code_expires_ns) if pending else None,
        tries_left=row.tries_left if pending else 0,
    )


def _received(shop: Shop, row: InsideTransfer) -> ReceivedView:
    asset = shop.listing.asset_of(row.asset_no)
    return ReceivedView(
        withdrawal_id=row.withdrawal_id,
        asset=asset_id(asset),
        symbol=asset.spec.symbol,
        amount=format_amount(row.amount, asset.spec.scale),
        address=row.address,
        settled_at=instant(row.at_ns),
    )
