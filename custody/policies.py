"""The versions of the policy that this platform knows, and which of them is in force.

A request keeps the version of its submission for ever; the newest version in force gives the hard
denies of every request. The rows are copies: a signer believes its own (custody.keys), and a row
that somebody changed leads to a hash that no signer knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from custody import audit_log
from custody.db import Bytes, Int64, Text, append_only, table
from custody.keys.publication import Publication, check_publication
from custody.keys.roster import Roster
from custody.policy.document import parse_policy
from custody.policy.rules import Policy

FIRST_SERIAL = 1
CACHED = 64
"""Versions kept parsed."""

policies = table(
    "policies",
    sa.Column("serial", Int64, primary_key=True, autoincrement=False),
    sa.Column("hash", Bytes, nullable=False, unique=True),
    sa.Column("body", Bytes, nullable=False),
    sa.Column("in_force_from_ns", Int64, nullable=False),
    sa.Column("recorded_by", Text, nullable=False),
    sa.Column("recorded_at_ns", Int64, nullable=False),
)
append_only(policies)


def add(conn: sa.Connection, body: bytes, *, in_force_from_ns: int, by: str, now_ns: int) -> Policy:
    """Store the next version; the same one again is returned.

    Refused: malformed, …, as parse_policy; exists_with_other_content (another version of the same
    serial); unknown_policy (it does not follow the last one that is here).
    """
    policy = parse_policy(body, name="policy")
    newest_one = newest(conn)
    known = conn.execute(
        sa.select(policies.c.hash).where(policies.c.serial == policy.serial)
    ).scalar_one_or_none()
    if known is not None:
        if known != policy.hash:
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"policy {policy.serial}")
        return policy
    follows = (1, b"") if newest_one is None else (newest_one.serial + 1, newest_one.hash)
    if (policy.serial, policy.previous) != follows:
        raise Refused(Reason.UNKNOWN_POLICY, f"version {policy.serial} does not follow the last")
    if newest_one is not None:
        in_force_from_ns = max(in_force_from_ns, newest_one.in_force_from_ns)
    conn.execute(
        policies.insert().values(
            serial=policy.serial,
            hash=policy.hash,
            body=body,
            in_force_from_ns=in_force_from_ns,
            recorded_by=by,
            recorded_at_ns=now_ns,
        )
    )
    audit_log.record(
        conn, actor=by, action="policy.add", subject=f"policy:{policy.serial}",
        detail={"hash": policy.hash.hex(), "from_ns": str(in_force_from_ns)}, at_ns=now_ns,
    )  # fmt: skip
    return policy


def begin(conn: sa.Connection, publication: Publication, *, roster: Roster, now_ns: int) -> Policy:
    """Put the first version in force at once, or find it here already.

    Corrupt: this database began with another one. Refused: as check_publication.
    """
    first = conn.execute(
        sa.select(policies.c.hash).where(policies.c.serial == 1)
    ).scalar_one_or_none()
    if first is not None:
        if first != publication.hash:
            raise Corrupt("this database began with another first policy than the files say")
        return get(conn, first)
    check_publication(publication, None, roster=roster, now_ns=now_ns)
    return add(conn, publication.document, in_force_from_ns=0, by="roster", now_ns=now_ns)


@dataclass(frozen=True, slots=True)
class Newest:
    """The version that the next one must follow, in force or not."""

    serial: int
    hash: bytes
    in_force_from_ns: int


def newest(conn: sa.Connection) -> Newest | None:
    """Return the last version that is here, None before the first."""
    row = conn.execute(
        sa.select(policies.c.serial, policies.c.hash, policies.c.in_force_from_ns)
        .order_by(policies.c.serial.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Newest(row.serial, row.hash, row.in_force_from_ns)


def in_force(conn: sa.Connection, now_ns: int, *, since: bytes | None = None) -> Policy:
    """Return the newest version whose time has come. Refused: unknown_policy (there is none).

    since: the hash of one that was in force before; a clock that steps back brings no older one
    back. The first version has no delay: it is in force wherever the clock stands.
    """
    has_come = sa.or_(policies.c.in_force_from_ns <= now_ns, policies.c.serial == FIRST_SERIAL)
    if since is not None:
        before = sa.select(policies.c.serial).where(policies.c.hash == since).scalar_subquery()
        has_come = sa.or_(has_come, policies.c.serial <= before)
    row = conn.execute(
        sa.select(policies.c.hash, policies.c.body)
        .where(has_come)
        .order_by(policies.c.serial.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise Refused(Reason.UNKNOWN_POLICY, "no policy is in force")
    return _checked(row.hash, row.body)


def get(conn: sa.Connection, policy_hash: bytes) -> Policy:
    """Return a version by its hash, in force or not. Refused: unknown_policy."""
    body = conn.execute(
        sa.select(policies.c.body).where(policies.c.hash == policy_hash)
    ).scalar_one_or_none()
    if body is None:
        raise Refused(Reason.UNKNOWN_POLICY, policy_hash.hex())
    return _checked(policy_hash, body)


def body_of(conn: sa.Connection, policy_hash: bytes) -> bytes:
    """Return the document of a version. Refused: not_found."""
    body = conn.execute(
        sa.select(policies.c.body).where(policies.c.hash == policy_hash)
    ).scalar_one_or_none()
    if body is None:
        raise Refused(Reason.NOT_FOUND, policy_hash.hex())
    return bytes(body)


def _checked(policy_hash: bytes, body: bytes) -> Policy:
    policy = _parsed(body)
    if policy.hash != policy_hash:
        raise Corrupt(f"policy {policy.serial} is not the one that was stored")
    return policy


@lru_cache(maxsize=CACHED)
def _parsed(body: bytes) -> Policy:
    return parse_policy(body, name="policy in force")
