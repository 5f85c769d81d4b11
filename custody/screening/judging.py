"""What screening says of a withdrawal: at its request (`begin`) and at its release (`findings`).

Who is asked over the network is asked by a step between transactions; what nobody answered yet,
or answered too late, is WAIT. With nothing configured nothing is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import DAY_NS
from core.errors import Reason
from core.ids import ChainId, CustomerNo, WithdrawalId
from custody.policy.request import Finding, Verdict
from custody.screening import cases, lists, travel
from custody.screening.cases import Case, Outcome

SANCTIONED = "sanctioned"
LIST_STALE = "sanctions_list_stale"
FROZEN = cases.FROZEN


@dataclass(frozen=True, slots=True)
class ScreeningTerms:
    """How strictly withdrawals are screened; the operator's settings."""

    providers: tuple[str, ...] = ()
    """Names of those who must all say `allow`."""
    list_required: bool = False
    """Whether nothing is paid without a sanctions list that was fetched lately."""
    list_age_max_ns: int = 2 * DAY_NS
    travel_threshold_usd: int | None = None
    """Of the operator's jurisdiction, in 10^-6 USD; None: no travel rule applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is screened. value_usd: in 10^-6 USD, None without a fresh price: then it is large."""

    withdrawal_id: WithdrawalId
    customer_no: CustomerNo
    chain: ChainId
    asset_key: str
    address: str
    amount: int
    value_usd: int | None
    inside: bool = False
    """Whether it is settled with another customer of ours."""


def begin(
    conn: sa.Connection, subject: Subject, *, terms: ScreeningTerms, now_ns: int
) -> tuple[Finding, ...]:
    """Open a case in the transaction of the request and return what is known at once.

    May write: a customer who would pay a sanctioned address is frozen here.
    """
    listed = lists.hit(conn, subject.address)
    if listed is not None:
        cases.freeze(
            conn, subject.customer_no, subject.chain, subject.withdrawal_id,
            by=f"list of {listed.published}, party {listed.party}", now_ns=now_ns,
        )  # fmt: skip
    elif terms.providers and not subject.inside:
        cases.open_case(
            conn,
            Case(
                withdrawal_id=subject.withdrawal_id,
                customer_no=subject.customer_no,
                chain=subject.chain,
                asset_key=subject.asset_key,
                address=subject.address,
                amount=subject.amount,
                opened_at_ns=now_ns,
            ),
        )
    return findings(conn, subject, terms=terms, now_ns=now_ns)


def findings(
    conn: sa.Connection, subject: Subject, *, terms: ScreeningTerms, now_ns: int
) -> tuple[Finding, ...]:
    """Return what stands against a withdrawal now.

    BLOCK: sanctioned, screening_freeze. WAIT: sanctions_list_stale, screening_hold (unanswered, or
    held and not released), travel_rule_missing. Providers and travel rule are not asked about
    payments between our own customers; the list is.
    """
    found = _by_list(conn, subject.address, terms, now_ns)
    if subject.inside:
        return tuple(found)
    found += _by_providers(conn, subject.withdrawal_id, terms)
    found += travel.findings(
        conn,
        subject.withdrawal_id,
        value_usd=subject.value_usd,
        threshold_usd=terms.travel_threshold_usd,
    )
    return tuple(found)


def _by_list(
    conn: sa.Connection, address: str, terms: ScreeningTerms, now_ns: int
) -> list[Finding]:
    listed = lists.hit(conn, address)
    if listed is not None:
        detail = f"party {listed.party} of the list of {listed.published}"
        return [Finding(Verdict.BLOCK, SANCTIONED, detail)]
    newest = lists.in_force(conn)
    if terms.list_required and (
        newest is None or now_ns - newest.checked_at_ns >= terms.list_age_max_ns
    ):
        since = "never" if newest is None else f"at {newest.checked_at_ns}"
        return [Finding(Verdict.WAIT, LIST_STALE, f"last fetched {since}")]
    return []


def _by_providers(
    conn: sa.Connection, withdrawal_id: WithdrawalId, terms: ScreeningTerms
) -> list[Finding]:
    if not terms.providers:
        return []
    said = cases.answers(conn, withdrawal_id)
    released = cases.released(conn, withdrawal_id)
    found = []
    for name in terms.providers:
        answer = said.get(name)
        if answer is None:
            waiting = Finding(Verdict.WAIT, Reason.SCREENING_HOLD.value, f"{name} has not answered")
            found.append(waiting)
        elif answer.outcome is Outcome.FREEZE:
            found.append(Finding(Verdict.BLOCK, FROZEN, name))
        elif answer.outcome is Outcome.HOLD and cases.line(name, answer) not in released:
            found.append(Finding(Verdict.WAIT, Reason.SCREENING_HOLD.value, f"{name} holds it"))
    return found
