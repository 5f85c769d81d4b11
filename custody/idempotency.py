"""Idempotency keys of requests that change the books: the first answer again, for ever.

A row is made in the same transaction as the effect it stands for, and gets its answer when that is
known. A process that dies in between leaves a row without an answer: the same request again finds
the effect by its own id, and the first answer written is the one that everybody gets (I13).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from custody.db import Bytes, Int64, Text, table

_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

idempotency_keys = table(
    "idempotency_keys",
    sa.Column("principal", Text, primary_key=True),
    sa.Column("key", Text, primary_key=True),
    sa.Column("request_hash", Bytes, nullable=False),
    sa.Column("status", Int64),
    sa.Column("body", Text),
    sa.Column("created_at_ns", Int64, nullable=False),
    sa.CheckConstraint("length(request_hash) = 32", name="request_hash"),
    sa.CheckConstraint("(status IS NULL) = (body IS NULL)", name="whole_answers"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: the HTTP status and the body's text."""

    status: int
    body: str


def check_key(key: str | None) -> str:
    """Return a usable key. Refused: idempotency_key_missing, malformed."""
    if key is None:
        raise Refused(Reason.IDEMPOTENCY_KEY_MISSING, "send an Idempotency-Key header")
    if _KEY.fullmatch(key) is None:
        raise Refused(Reason.MALFORMED, "an Idempotency-Key has 1 to 128 of A-Z a-z 0-9 . _ : -")
    return key


def request_hash(verb: str, content: object) -> bytes:
    """Return what makes two requests the same: the verb and the content, however it was spelled."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"strongroom/request/v1\0{verb}\0{text}".encode()).digest()


def begin(
    conn: sa.Connection, principal: str, key: str, *, request_hash: bytes, now_ns: int
) -> tuple[bool, Answer | None]:
    """Return whether the key is new, and the answer it already has.

    (False, None): the same request began before and was not answered; its effect is there.
    Refused: idempotency_key_reused (another request had this key).
    """
    row = _row(conn, principal, key)
    if row is None:
        conn.execute(
            idempotency_keys.insert().values(
                principal=principal, key=key, request_hash=request_hash, created_at_ns=now_ns
            )
        )
        return True, None
    if row.request_hash != request_hash:
        raise Refused(Reason.IDEMPOTENCY_KEY_REUSED, "this key was used for another request")
    return False, None if row.status is None else Answer(row.status, row.body)


def finish(conn: sa.Connection, principal: str, key: str, answer: Answer) -> Answer:
    """Keep the answer unless there is one already; return the one that stands."""
    conn.execute(
        idempotency_keys.update()
        .where(
            idempotency_keys.c.principal == principal,
            idempotency_keys.c.key == key,
            idempotency_keys.c.status.is_(None),
        )
        .values(status=answer.status, body=answer.body)
    )
    row = _row(conn, principal, key)
    if row is None or row.status is None:
        raise Corrupt(f"the idempotency key {key} was finished before it began")
    return Answer(row.status, row.body)


def is_known(conn: sa.Connection, principal: str, key: str) -> bool:
    """Return whether a request came under this key before."""
    return _row(conn, principal, key) is not None


def _row(conn: sa.Connection, principal: str, key: str) -> sa.Row[tuple[object, ...]] | None:
    return conn.execute(
        sa.select(idempotency_keys).where(
            idempotency_keys.c.principal == principal, idempotency_keys.c.key == key
        )
    ).one_or_none()
