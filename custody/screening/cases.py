"""Cases: what providers answered about a withdrawal, and what officers released.

A provider is asked by `step`, between transactions; every answer is a row that nothing changes.
Without an answer a case waits, for ever if need be: silence is never consent.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import sqlalchemy as sa

from core.clock import SECOND_NS, Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo, WithdrawalId, derived_id
from custody import audit_log, catalogue, chain_state
from custody.db import Amount, Bytes, Database, Int64, Text, append_only, table
from custody.keys.roster import Roster
from custody.keys.statement import Statement, StatementKind, StatementSignature, verify_statement
from custody.withdrawals import states

BATCH_MAX = 20
RETRY_NS = 5 * SECOND_NS
RETRY_MAX_NS = 300 * SECOND_NS
TRIES_COUNTED = 16
REFERENCE_MAX = 128
FROZEN = "screening_freeze"
_ASKED = ("requested", "held", "approved")
"""States of withdrawals that may still be stopped."""


class Outcome(enum.StrEnum):
    """What a provider says."""

    ALLOW = "allow"
    HOLD = "hold"
    """A person must look; officers may release it by a signed statement."""
    FREEZE = "freeze"
    """The customer is frozen at once and an incident opens."""


@dataclass(frozen=True, slots=True)
class Question:
    """All that a provider is told: nothing about who the customer is."""

    case_id: str
    """Derived from the withdrawal's id, so that a provider cannot join it with ours."""
    chain: ChainId
    asset_key: str
    address: str
    amount: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said, and the id under which it will find that again."""

    outcome: Outcome
    reference: str


class Provider(Protocol):
    """Who is asked over the network."""

    def ask(self, question: Question) -> Answer:
        """Return an answer within the provider's own deadline. Unavailable: there is none."""
        ...


screening_cases = table(
    "screening_cases",
    sa.Column("withdrawal_id", Text, primary_key=True),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), nullable=False),
    sa.Column("asset_key", Text, nullable=False),
    sa.Column("address", Text, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("opened_at_ns", Int64, nullable=False),
    sa.Column("tries", Int64, nullable=False),
    sa.Column("next_ask_ns", Int64, nullable=False),
    sa.Index("ix_screening_cases_next", "next_ask_ns"),
)

screening_answers = table(
    "screening_answers",
    sa.Column(
        "withdrawal_id", Text, sa.ForeignKey("screening_cases.withdrawal_id"), primary_key=True
    ),
    sa.Column("provider", Text, primary_key=True),
    sa.Column("outcome", Text, nullable=False),
    sa.Column("reference", Text, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
)
append_only(screening_answers)

screening_releases = table(
    "screening_releases",
    sa.Column("statement_id", Text, primary_key=True),
    sa.Column(
        "withdrawal_id", Text, sa.ForeignKey("screening_cases.withdrawal_id"), nullable=False
    ),
    sa.Column("persons", Text, nullable=False),
    sa.Column("answers", Bytes, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Index("ix_screening_releases_withdrawal", "withdrawal_id"),
)
append_only(screening_releases)


@dataclass(frozen=True, slots=True)
class Case:
    """One withdrawal that is screened."""

    withdrawal_id: WithdrawalId
    customer_no: CustomerNo
    chain: ChainId
    asset_key: str
    address: str
    amount: int
    opened_at_ns: int
    tries: int = 0
    next_ask_ns: int = 0


def open_case(conn: sa.Connection, case: Case) -> None:
    """Open a case beside its request; quiet when it is open."""
    if find(conn, case.withdrawal_id) is None:
        values = {c.name: getattr(case, c.name) for c in screening_cases.c}
        conn.execute(screening_cases.insert().values(**values))


def find(conn: sa.Connection, withdrawal_id: WithdrawalId) -> Case | None:
    """Return a withdrawal's case, None when it has none."""
    row = conn.execute(
        sa.select(screening_cases).where(screening_cases.c.withdrawal_id == withdrawal_id)
    ).one_or_none()
    return None if row is None else _case(row)


def listed(conn: sa.Connection, *, after: int, limit: int) -> list[tuple[int, Case]]:
    """Return cases with their withdrawals' request numbers, in that order."""
    number = states.withdrawals.c.request_no
    query = (
        sa.select(number, screening_cases)
        .join_from(
            states.withdrawals,
            screening_cases,
            states.withdrawals.c.withdrawal_id == screening_cases.c.withdrawal_id,
        )
        .where(number > after)
        .order_by(number)
        .limit(limit)
    )
    return [(row.request_no, _case(row)) for row in conn.execute(query)]


def answers(conn: sa.Connection, withdrawal_id: WithdrawalId) -> dict[str, Answer]:
    """Return what each provider said, by its name."""
    query = (
        sa.select(screening_answers)
        .where(screening_answers.c.withdrawal_id == withdrawal_id)
        .order_by(screening_answers.c.provider)
    )
    return {
        row.provider: Answer(Outcome(row.outcome), row.reference) for row in conn.execute(query)
    }


def is_released(conn: sa.Connection, withdrawal_id: WithdrawalId) -> bool:
    """Return whether officers released the case."""
    query = sa.select(screening_releases.c.statement_id).where(
        screening_releases.c.withdrawal_id == withdrawal_id
    )
    return conn.execute(query).first() is not None


def released(conn: sa.Connection, withdrawal_id: WithdrawalId) -> frozenset[str]:
    """Return every answer that officers had before them when they released the case, as `line`s."""
    query = sa.select(screening_releases.c.answers).where(
        screening_releases.c.withdrawal_id == withdrawal_id
    )
    seen = (bytes(one).decode().split("\n")[1:] for one in conn.execute(query).scalars())
    return frozenset(each for lines in seen for each in lines)


def line(provider: str, answer: Answer) -> str:
    """Return an answer as officers sign it."""
    return f"{provider} {answer.outcome} {answer.reference}"


def step(
    db: Database,
    providers: Mapping[str, Provider],
    *,
    clock: Clock,
    note: Callable[[str, str], object],
) -> int:
    """Ask the providers that have not answered about live withdrawals; return how many answered.

    At most BATCH_MAX cases. A provider that is away is asked again, each time later.
    """
    with db.read() as conn:
        waiting = _due(conn, clock.now_ns())
        said = {case.withdrawal_id: answers(conn, case.withdrawal_id) for case in waiting}
    done = 0
    for case in waiting:
        missing = sorted(providers.keys() - said[case.withdrawal_id].keys())
        for name in missing:
            try:
                answer = providers[name].ask(_question(case))
            except Unavailable as error:
                note(case.withdrawal_id, f"{name}: {error.what}")
                continue
            now_ns = clock.now_ns()
            db.run(
                partial(
                    put_answer, withdrawal_id=case.withdrawal_id, provider=name, answer=answer,
                    now_ns=now_ns,
                )
            )  # fmt: skip
            done += 1
        # One that has all its answers is looked at again too: a provider may be added.
        db.run(partial(_later, case=case, now_ns=clock.now_ns(), is_answered=not missing))
    return done


def put_answer(
    conn: sa.Connection, withdrawal_id: WithdrawalId, provider: str, answer: Answer, *, now_ns: int
) -> None:
    """Record an answer once; FREEZE freezes the customer in the same transaction.

    Refused: not_found, duplicate_other_content (a provider answers once).
    """
    case = find(conn, withdrawal_id)
    if case is None:
        raise Refused(Reason.NOT_FOUND, f"{withdrawal_id} is not screened")
    before = answers(conn, withdrawal_id).get(provider)
    if before is not None:
        if before.outcome is not answer.outcome:
            raise Refused(Reason.DUPLICATE_OTHER_CONTENT, provider)
        return
    conn.execute(
        screening_answers.insert().values(
            withdrawal_id=withdrawal_id,
            provider=provider,
            outcome=answer.outcome.value,
            reference=answer.reference[:REFERENCE_MAX],
            at_ns=now_ns,
        )
    )
    audit_log.record(
        conn, actor="platform", action=f"screening.{answer.outcome.value}", subject=withdrawal_id,
        detail={"provider": provider}, at_ns=now_ns,
    )  # fmt: skip
    if answer.outcome is Outcome.FREEZE:
        freeze(conn, case.customer_no, case.chain, withdrawal_id, by=provider, now_ns=now_ns)


def freeze(
    conn: sa.Connection,
    customer_no: CustomerNo,
    chain: ChainId,
    withdrawal_id: str,
    *,
    by: str,
    now_ns: int,
) -> None:
    """Freeze a customer over one of his withdrawals and open an incident."""
    catalogue.freeze_customer(conn, customer_no, f"screening of {withdrawal_id}")
    chain_state.open_incident(
        conn, chain, kind=FROZEN, detail=f"{withdrawal_id} by {by}", now_ns=now_ns, each=True
    )
    audit_log.record(
        conn, actor="platform", action="customer.freeze", subject=f"customer:{customer_no}",
        detail={"screening_of": withdrawal_id, "by": by}, at_ns=now_ns,
    )  # fmt: skip


def statement_of(conn: sa.Connection, withdrawal_id: WithdrawalId, *, expires_ns: int) -> Statement:
    """Return what officers sign to release a hold: the case and every answer.

    Refused: not_found, illegal_transition (nobody holds it, or it was frozen).
    """
    case = find(conn, withdrawal_id)
    if case is None:
        raise Refused(Reason.NOT_FOUND, f"{withdrawal_id} is not screened")
    said = answers(conn, withdrawal_id)
    outcomes = {answer.outcome for answer in said.values()}
    if Outcome.FREEZE in outcomes or Outcome.HOLD not in outcomes:
        raise Refused(Reason.ILLEGAL_TRANSITION, "only a hold is released, and no freeze")
    lines = [f"{case.chain} {case.asset_key} {case.amount} to {case.address}"]
    lines += [line(name, answer) for name, answer in said.items()]
    name = derived_id("stmt", withdrawal_id, *lines)
    return Statement(name, StatementKind.RELEASE_SCREENING, withdrawal_id, tuple(lines), expires_ns)


def release(
    conn: sa.Connection,
    statement: Statement,
    signatures: Sequence[StatementSignature],
    *,
    roster: Roster,
    now_ns: int,
) -> None:
    """Release a hold as a quorum signed; the same statement again is quiet.

    Refused: intent_mismatch (an answer came since), and as statement_of and verify_statement.
    """
    withdrawal_id = WithdrawalId(statement.subject)
    if statement != statement_of(conn, withdrawal_id, expires_ns=statement.expires_ns):
        raise Refused(Reason.INTENT_MISMATCH, "the case is another one than was signed")
    persons = verify_statement(roster, statement, signatures, now_ns=now_ns)
    same = screening_releases.c.statement_id == statement.statement_id
    if conn.execute(sa.select(screening_releases.c.at_ns).where(same)).first() is not None:
        return
    conn.execute(
        screening_releases.insert().values(
            withdrawal_id=withdrawal_id,
            statement_id=statement.statement_id,
            persons=",".join(persons),
            answers="\n".join(statement.lines).encode(),
            at_ns=now_ns,
        )
    )
    audit_log.record(
        conn, actor=",".join(persons), action="screening.release", subject=withdrawal_id,
        detail={"statement": statement.statement_id}, at_ns=now_ns,
    )  # fmt: skip


def _question(case: Case) -> Question:
    case_id = derived_id("case", case.withdrawal_id)
    return Question(case_id, case.chain, case.asset_key, case.address, case.amount)


def _due(conn: sa.Connection, now_ns: int) -> list[Case]:
    query = (
        sa.select(screening_cases)
        .join(
            states.withdrawals,
            states.withdrawals.c.withdrawal_id == screening_cases.c.withdrawal_id,
        )
        .where(
            screening_cases.c.next_ask_ns <= now_ns,
            states.withdrawals.c.state.in_(_ASKED),
        )
        .order_by(screening_cases.c.next_ask_ns, screening_cases.c.withdrawal_id)
        .limit(BATCH_MAX)
    )
    return [_case(row) for row in conn.execute(query)]


def _later(conn: sa.Connection, case: Case, now_ns: int, *, is_answered: bool) -> None:
    grown_ns = RETRY_NS << min(case.tries, TRIES_COUNTED)
    wait_ns = RETRY_MAX_NS if is_answered else min(RETRY_MAX_NS, grown_ns)
    conn.execute(
        screening_cases.update()
        .where(screening_cases.c.withdrawal_id == case.withdrawal_id)
        .values(tries=case.tries + 1, next_ask_ns=now_ns + wait_ns)
    )


def _case(row: sa.Row[tuple[object, ...]]) -> Case:
    return Case(**{c.name: getattr(row, c.name) for c in screening_cases.c})
