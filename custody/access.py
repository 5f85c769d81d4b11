"""API keys: who may ask the platform something over the network.

A key is shown once as `<key id>.<secret>`; the row keeps only a hash. The secret has 256 random
bits, so one SHA-256 protects it and no slow hash is needed. A key opens a role, never money by
itself: withdrawals still need the officers' own signatures.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import re
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import Clock
from core.entropy import Entropy
from core.errors import Reason, Refused
from core.ids import CustomerNo, new_id
from custody import audit_log, catalogue
from custody.db import Bytes, Int64, Text, next_number, table
from custody.keys.secret import Secret
from custody.withdrawals import security
from custody.withdrawals.security import SecurityChange

SECRET_BYTES = 32
_TOKEN = re.compile(r"(key_[0-9a-z]{26})\.([A-Za-z0-9_-]{43})", re.ASCII)
_PERSON = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_NOBODY = bytes(32)


class Role(enum.StrEnum):
    """What a key's holder is. A key has one role; a person with two roles has two keys."""

    CUSTOMER = "customer"
    OFFICER = "officer"
    OPS = "ops"
    AUDITOR = "auditor"


api_keys = table(
    "api_keys",
    sa.Column("key_id", Text, primary_key=True),
    sa.Column("key_no", Int64, nullable=False, unique=True),
    sa.Column("secret_hash", Bytes, nullable=False),
    sa.Column("role", Text, nullable=False),
    sa.Column("subject", Text, nullable=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no")),
    sa.Column("created_at_ns", Int64, nullable=False),
    sa.Column("revoked_at_ns", Int64),
    sa.CheckConstraint("length(secret_hash) = 32", name="secret_hash"),
    sa.CheckConstraint(
        "(role = 'customer') = (customer_no IS NOT NULL)", name="customers_keys_have_customers"
    ),
)


_BY_ID = (
    sa.select(api_keys, catalogue.customers.c.frozen)
    .outerjoin(catalogue.customers, catalogue.customers.c.customer_no == api_keys.c.customer_no)
    .where(api_keys.c.key_id == sa.bindparam("key_id", type_=Text()))
)
"""Asked with every request, so it is made once."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. `subject` is the person, or `customer:<number>`."""

    key_id: str
    key_no: int
    role: Role
    subject: str
    customer_no: CustomerNo | None
    created_at_ns: int
    revoked_at_ns: int | None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its token, which nobody can read again."""

    key: ApiKey
    token: Secret


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `customer_frozen` is how the customer stood when the key was checked."""

    key_id: str
    role: Role
    subject: str
    customer_no: CustomerNo | None
    customer_frozen: bool = False

    @property
    def scope(self) -> str:
        """Return whose idempotency keys these are: they outlive a change of API key."""
        return self.subject if self.customer_no is not None else f"{self.role}:{self.subject}"


def issue(
    conn: sa.Connection,
    role: Role,
    subject: str,
    *,
    by: str,
    clock: Clock,
    entropy: Entropy,
) -> IssuedKey:
    """Make a key. `subject` is a person, or for a customer's key the customer's number.

    A customer's further key is a security change: it holds his withdrawals for a day.

    Refused: malformed, unknown_customer.
    """
    customer_no = None
    if role is Role.CUSTOMER:
        if not subject.isascii() or not subject.isdecimal() or len(subject) > 10:
            raise Refused(Reason.MALFORMED, "a customer's key names the customer's number")
        customer_no = catalogue.customer(conn, CustomerNo(int(subject))).customer_no
        subject = f"customer:{customer_no}"
        if find(conn, role=role, subject=subject, limit=1):
            kind = SecurityChange.API_KEY
            security.record_change(conn, customer_no, kind, clock.now_ns(), by=by)
    elif _PERSON.fullmatch(subject) is None:
        raise Refused(Reason.MALFORMED, "a person is named by lower-case letters and digits")
    secret = base64.urlsafe_b64encode(entropy.token_bytes(SECRET_BYTES)).rstrip(b"=")
    key = ApiKey(
        key_id=new_id("key", clock=clock, entropy=entropy),
        key_no=next_number(conn, "key_no"),
        role=role,
        subject=subject,
        customer_no=customer_no,
        created_at_ns=clock.now_ns(),
        revoked_at_ns=None,
    )
    conn.execute(
        api_keys.insert().values(
            key_id=key.key_id,
            key_no=key.key_no,
            secret_hash=_hash(key.key_id, secret),
            role=role.value,
            subject=subject,
            customer_no=customer_no,
            created_at_ns=key.created_at_ns,
        )
    )
    audit_log.record(
        conn, actor=by, action="key.issue", subject=key.key_id,
        detail={"role": role.value, "subject": subject}, at_ns=key.created_at_ns,
    )  # fmt: skip
    return IssuedKey(key, Secret(key.key_id.encode() + b"." + secret))


def revoke(conn: sa.Connection, key_id: str, *, by: str, now_ns: int) -> ApiKey:
    """End a key at once and for ever; a second time changes nothing. Refused: unknown_key."""
    key = get(conn, key_id)
    if key.revoked_at_ns is not None:
        return key
    conn.execute(
        api_keys.update()
        .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at_ns.is_(None))
        .values(revoked_at_ns=now_ns)
    )
    audit_log.record(conn, actor=by, action="key.revoke", subject=key_id, detail={}, at_ns=now_ns)
    return get(conn, key_id)


def get(conn: sa.Connection, key_id: str) -> ApiKey:
    """Return a key, revoked ones too. Refused: unknown_key."""
    row = conn.execute(sa.select(api_keys).where(api_keys.c.key_id == key_id)).one_or_none()
    if row is None:
        raise Refused(Reason.UNKNOWN_KEY, "there is no such key")
    return _key(row)


def find(
    conn: sa.Connection,
    *,
    role: Role | None = None,
    subject: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[ApiKey]:
    """Return keys in the order they were made, revoked ones too."""
    query = sa.select(api_keys).where(api_keys.c.key_no > after)
    if role is not None:
        query = query.where(api_keys.c.role == role.value)
    if subject is not None:
        query = query.where(api_keys.c.subject == subject)
    return [_key(row) for row in conn.execute(query.order_by(api_keys.c.key_no).limit(limit))]


def authenticate(conn: sa.Connection, token: str) -> Principal:
    """Return whose token this is. Refused: unauthenticated, for every cause alike.

    An unknown key costs the same look-up and the same comparison as a wrong secret.
    """
    match = _TOKEN.fullmatch(token)
    key_id, secret = match.groups() if match is not None else ("key_", "")
    row = conn.execute(_BY_ID, {"key_id": key_id}).one_or_none()
    stored = _NOBODY if row is None else row.secret_hash
    fits = hmac.compare_digest(stored, _hash(key_id, secret.encode()))
    if not fits or row is None or row.revoked_at_ns is not None:
        raise Refused(Reason.UNAUTHENTICATED, "no valid API key")
    return Principal(
        key_id=row.key_id,
        role=Role(row.role),
        subject=row.subject,
        customer_no=row.customer_no,
        customer_frozen=bool(row.frozen),
    )


def _hash(key_id: str, secret: bytes) -> bytes:
    return hashlib.sha256(b"strongroom/api-key/v1\0" + key_id.encode() + b"\0" + secret).digest()


def _key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        key_no=row.key_no,
        role=Role(row.role),
        subject=row.subject,
        customer_no=row.customer_no,
        created_at_ns=row.created_at_ns,
        revoked_at_ns=row.revoked_at_ns,
    )
