"""Policies: the version in force, drafts of the next one, and officers' signed verdicts on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Body
from pydantic import Field

from app.api.approval_views import ToSignView, to_sign_of
from app.api.approvals import NewVerdict, approval_of
from app.api.guard import Caller, GuardedRoute, In
from app.api.shapes import Asked, Limit, Shown
from app.api.units import instant
from core.errors import Reason, Refused
from custody import policies, publishing
from custody import policy_proposals as proposals
from custody.keys.publication import publication_signable
from custody.keys.roster import Verdict
from custody.policy.document import DOCUMENT_BYTES_MAX, parse_policy
from custody.policy_proposals import Proposal

router = APIRouter(route_class=GuardedRoute)


class Document(Asked):
    """A policy document, as docs/policy.md describes it."""

    document: Annotated[str, Field(max_length=DOCUMENT_BYTES_MAX)]


class SaidView(Shown):
    """One officer's verdict."""

    person: str
    verdict: str
    at: str


class VersionView(Shown):
    """One version of the policy: in force, replaced by a later one, or on its way."""

    hash: str
    serial: int
    state: Annotated[
        str, Field(description="active, or proposed, approved, due, rejected, overtaken, refused")
    ]
    in_force: bool
    authors: Annotated[list[str], Field(description="Whose approvals do not count")]
    said: list[SaidView]
    quorum: Annotated[str, Field(description="Who must approve it; of the version before")]
    delay_s: int
    due: Annotated[str | None, Field(description="From when on it is in force")]
    reason: str | None


class VersionDetail(VersionView):
    """One version with its document, and what an officer signs of it."""

    document: str
    to_sign: list[ToSignView]


class VersionsView(Shown):
    """Versions, the newest first."""

    data: list[VersionView]


@router.get("/v1/policies")
def list_policies(shop: In, limit: Limit = 50) -> VersionsView:
    """Return what is in force and what is on its way, the newest first."""
    platform = shop.context.platform
    with platform.db.read() as conn:
        now = policies.in_force(conn, platform.clock.now_ns())
        rows = proposals.all_of(conn, limit=limit)
        shown = [_proposed(conn, row, now.hash) for row in rows]
        if now.hash not in {row.hash for row in rows}:
            shown.append(_first(now.hash, now.serial))
    return VersionsView(data=shown)


@router.get("/v1/policies/{policy_hash}")
def read_policy(policy_hash: str, caller: Caller, shop: In) -> VersionDetail:
    """Return one version with its document."""
    hash_, platform = _hash(policy_hash), shop.context.platform
    with platform.db.read() as conn:
        now = policies.in_force(conn, platform.clock.now_ns())
        row = proposals.find(conn, hash_)
        if row is None:
            body = policies.body_of(conn, hash_)
            found = _first(hash_, parse_policy(body).serial, is_in_force=hash_ == now.hash)
            return VersionDetail(**found.model_dump(), document=body.decode("ascii"), to_sign=[])
        shown = _proposed(conn, row, now.hash)
    now_ns, officers = platform.clock.now_ns(), platform.roster.officers
    own = [one for one in officers if one.person == caller.subject and one.is_active(now_ns)]
    to_sign = [
        to_sign_of(publication_signable(row.policy, row.authors, verdict), own, verdict)
        for verdict in Verdict
    ]
    return VersionDetail(**shown.model_dump(), document=row.body.decode("ascii"), to_sign=to_sign)


@router.post("/v1/policy-drafts", status_code=201)
def draft_policy(asked: Document, caller: Caller, shop: In) -> VersionView:
    """Keep a draft of the next version; who sends one does not approve that version."""
    platform = shop.context.platform
    policy = shop.write(
        lambda conn: publishing.draft(
            conn, _bytes(asked.document), author=caller.subject, now_ns=platform.clock.now_ns()
        )
    )
    shown = _first(policy.hash, policy.serial, is_in_force=False)
    return shown.model_copy(update={"state": "draft", "authors": [caller.subject]})


@router.post("/v1/policies/{policy_hash}/propose", status_code=201)
def propose_policy(policy_hash: str, caller: Caller, shop: In) -> VersionView:
    """Ask officers to publish a draft: the quorum of the version in force, then its delay."""
    platform, hash_ = shop.context.platform, _hash(policy_hash)

    def apply(conn: sa.Connection) -> VersionView:
        now_ns = platform.clock.now_ns()
        row = publishing.propose(
            conn, hash_, by=caller.subject, roster=platform.roster, now_ns=now_ns
        )
        return _proposed(conn, row, policies.in_force(conn, now_ns).hash)

    return shop.write(apply)


@router.post("/v1/policies/{policy_hash}/approvals", status_code=201)
def approve_policy(
    policy_hash: str, asked: Annotated[NewVerdict, Body()], caller: Caller, shop: In
) -> VersionView:
    """Record one's own verdict, by any credential; one rejection ends it, also while it is due."""
    platform, hash_ = shop.context.platform, _hash(policy_hash)

    def apply(conn: sa.Connection) -> VersionView:
        now_ns = platform.clock.now_ns()
        given = approval_of(asked, platform.roster, now_ns)
        if platform.roster.officer(given.public_key, now_ns).person != caller.subject:
            raise Refused(Reason.FORBIDDEN, "an officer hands in his own verdict")
        row = publishing.approve(conn, hash_, given, roster=platform.roster, now_ns=now_ns)
        return _proposed(conn, row, policies.in_force(conn, now_ns).hash)

    return shop.write(apply)


def _proposed(conn: sa.Connection, row: Proposal, in_force: bytes) -> VersionView:
    before = policies.get(conn, row.policy.previous)
    return VersionView(
        hash=row.hash.hex(),
        serial=row.serial,
        state=row.state.value,
        in_force=row.hash == in_force,
        authors=list(row.authors),
        said=_said(proposals.verdicts(conn, row.hash)),
        quorum=before.publish.quorum.text,
        delay_s=before.publish.delay_ns // 10**9,
        due=None if row.due_ns is None else instant(row.due_ns),
        reason=row.reason,
    )


def _said(said: Sequence[proposals.Said]) -> list[SaidView]:
    return [
        SaidView(person=one.person, verdict=one.approval.verdict.value, at=instant(one.at_ns))
        for one in said
    ]


def _first(policy_hash: bytes, serial: int, *, is_in_force: bool = True) -> VersionView:
    """Return a version that was never proposed here: it came with the roster."""
    return VersionView(
        hash=policy_hash.hex(), serial=serial, state="active", in_force=is_in_force, authors=[],
        said=[], quorum="", delay_s=0, due=None, reason=None,
    )  # fmt: skip


def _bytes(text: str) -> bytes:
    """Return a document's bytes; what is not ASCII stays, so that its line is named."""
    return text.encode("utf-8", "replace")


def _hash(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32 or found.hex() != text:
        raise Refused(Reason.NOT_FOUND, "a policy's hash has 64 hex digits")
    return found
