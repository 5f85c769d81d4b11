"""Customers and API keys: what ops does. Also who one is, and what time it is here."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In
from app.api.shapes import Asked, Cursor, Limit, Page, Shown, after, next_of, number_in_path
from app.api.units import instant
from core.errors import Reason
from core.ids import CustomerNo
from custody import access, audit_log, catalogue
from custody.access import ApiKey, Role
from custody.catalogue import Customer

router = APIRouter(route_class=GuardedRoute)

RoleName = Literal["customer", "officer", "ops", "auditor"]


class TimeView(Shown):
    """This process's clock."""

    time: str


class MeView(Shown):
    """Whose key this is."""

    key_id: str
    role: RoleName
    subject: str
    customer_no: int | None


class NewCustomer(Asked):
    """A customer under the operator's own id for him; the same id again is the same customer."""

    external_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@:+-]{1,128}$")]


class CustomerView(Shown):
    """One customer."""

    customer_no: int
    external_id: str
    frozen: bool


class NewKey(Asked):
    """A key for a person, or for a customer by number."""

    role: RoleName
    subject: Annotated[str, Field(max_length=64)]


class KeyView(Shown):
    """One key; its secret is not kept."""

    key_id: str
    role: RoleName
    subject: str
    created_at: str
    revoked_at: str | None


class IssuedKeyView(KeyView):
    """A new key with its token, shown this once."""

    token: str


@router.get("/v1/time")
def read_time(shop: In) -> TimeView:
    """Return the time by which orders' issued_at is judged."""
    return TimeView(time=instant(shop.context.platform.clock.now_ns()))


@router.get("/v1/me")
def read_me(caller: Caller) -> MeView:
    """Return who asks."""
    return MeView(
        key_id=caller.key_id,
        role=caller.role.value,
        subject=caller.subject,
        customer_no=caller.customer_no,
    )


@router.post("/v1/customers", status_code=201)
def open_customer(asked: NewCustomer, caller: Caller, shop: In) -> CustomerView:
    """Open a customer, or return the one already open under this external id."""
    platform = shop.context.platform

    def apply(conn: sa.Connection) -> Customer:
        known = catalogue.customer_by_external_id(conn, asked.external_id)
        if known is not None:
            return known
        now_ns = platform.clock.now_ns()
        opened = catalogue.add_customer(conn, asked.external_id, now_ns=now_ns)
        audit_log.record(
            conn, actor=caller.subject, action="customer.open",
            subject=f"customer:{opened.customer_no}", detail={}, at_ns=now_ns,
        )  # fmt: skip
        return opened

    return _customer(shop.write(apply))


@router.get("/v1/customers")
def list_customers(shop: In, limit: Limit = 50, cursor: Cursor = None) -> Page[CustomerView]:
    """Return customers by number."""
    with shop.context.platform.db.read() as conn:
        found = catalogue.customers_after(conn, after(cursor), limit=limit)
    return Page[CustomerView](
        data=[_customer(row) for row in found],
        next_cursor=next_of([row.customer_no for row in found], limit),
    )


@router.get("/v1/customers/{customer_no}")
def read_customer(customer_no: str, shop: In) -> CustomerView:
    """Return one customer."""
    number = number_in_path(customer_no, Reason.UNKNOWN_CUSTOMER)
    with shop.context.platform.db.read() as conn:
        return _customer(catalogue.customer(conn, CustomerNo(number)))


@router.post("/v1/api-keys", status_code=201)
def issue_key(asked: NewKey, caller: Caller, shop: In) -> IssuedKeyView:
    """Make a key. Its token is in this answer and nowhere else."""
    platform = shop.context.platform
    issued = shop.write(
        lambda conn: access.issue(
            conn, Role(asked.role), asked.subject, by=caller.subject,
            clock=platform.clock, entropy=platform.entropy,
        )
    )  # fmt: skip
    shown = _key(issued.key).model_dump()
    return IssuedKeyView(**shown, token=issued.token.reveal().decode("ascii"))


@router.get("/v1/api-keys")
def list_keys(
    shop: In,
    role: Annotated[RoleName | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[KeyView]:
    """Return keys in the order they were made, revoked ones too."""
    with shop.context.platform.db.read() as conn:
        found = access.find(
            conn, role=None if role is None else Role(role), after=after(cursor), limit=limit
        )
    return Page[KeyView](
        data=[_key(row) for row in found], next_cursor=next_of([k.key_no for k in found], limit)
    )


@router.delete("/v1/api-keys/{key_id}")
def revoke_key(key_id: str, caller: Caller, shop: In) -> KeyView:
    """End a key at once and for ever."""
    platform = shop.context.platform
    return _key(
        shop.write(
            lambda conn: access.revoke(
                conn, key_id, by=caller.subject, now_ns=platform.clock.now_ns()
            )
        )
    )


def _customer(row: Customer) -> CustomerView:
    return CustomerView(customer_no=row.customer_no, external_id=row.external_id, frozen=row.frozen)


def _key(key: ApiKey) -> KeyView:
    return KeyView(
        key_id=key.key_id,
        role=key.role.value,
        subject=key.subject,
        created_at=instant(key.created_at_ns),
        revoked_at=None if key.revoked_at_ns is None else instant(key.revoked_at_ns),
    )
