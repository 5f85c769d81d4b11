"""Screening of withdrawals: lists, providers, officers' releases, travel-rule data."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
import sqlalchemy as sa

from chains.base import NATIVE
from chains.fake import FakeWorld
from core.clock import DAY_NS, SECOND_NS
from core.errors import Reason, Refused, Unavailable
from core.ids import CustomerNo, WithdrawalId
from custody import audit_log, catalogue, chain_state
from custody.keys.statement import Statement, sign_statement
from custody.policy.request import Verdict
from custody.screening import cases, judging, lists, sdn, travel
from custody.screening.cases import Answer, Outcome, Question
from custody.screening.judging import ScreeningTerms, Subject
from custody.withdrawals.states import Withdrawal
from tests.support.house import House, officer_key
from tests.unit.custody.screening import test_ivms101
from tests.unit.custody.screening.samples import plain

USD = 10**6
DEPOSIT = 1_000_000


@dataclass(slots=True)
class Oracle:
    """A provider that says what it is told to, or nothing."""

    says: Outcome | None = Outcome.ALLOW
    asked: list[Question] = field(default_factory=list)

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        if self.says is None:
            raise Unavailable("timeout")
        return Answer(self.says, f"ref-{len(self.asked)}")


@pytest.fixture
def alice(house: House, world: FakeWorld) -> CustomerNo:
    customer_no = house.customer("alice")
    world.pay(house.address(customer_no), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    return customer_no


@pytest.fixture
def row(house: House, world: FakeWorld, alice: CustomerNo) -> Withdrawal:
    made = house.withdraw(alice, NATIVE, 10_000, world.outsider("shop"))
    house.run(1)
    return house.withdrawal(made.withdrawal_id)


def subject_of(row: Withdrawal, value_usd: int | None = 100 * USD) -> Subject:
    return Subject(
        withdrawal_id=row.withdrawal_id,
        customer_no=row.customer_no,
        chain=row.chain,
        asset_key=NATIVE,
        address=row.destination,
        amount=row.amount,
        value_usd=value_usd,
    )


def begin(house: House, subject: Subject, terms: ScreeningTerms) -> list[tuple[Verdict, str]]:
    found = house.platform.db.run(
        lambda conn: judging.begin(conn, subject, terms=terms, now_ns=house.clock.now_ns())
    )
    return [(finding.verdict, finding.code) for finding in found]


def found_of(house: House, subject: Subject, terms: ScreeningTerms) -> list[tuple[Verdict, str]]:
    with house.platform.db.read() as conn:
        found = judging.findings(conn, subject, terms=terms, now_ns=house.clock.now_ns())
    return [(finding.verdict, finding.code) for finding in found]


def ask(house: House, **providers: Oracle) -> int:
    return cases.step(
        house.platform.db, providers, clock=house.clock, note=lambda *_: None
    )  # fmt: skip


def put_list(house: House, *addresses: str, date: str = "11/20/2026") -> lists.ListState:
    kind = "Digital Currency Address - ETH"
    data = plain([("7", [(kind, address) for address in addresses])], date=date)
    put = partial(
        lists.put, found=sdn.parse([data]), sha256=hashlib.sha256(data).digest(), by="test",
        now_ns=house.clock.now_ns(),
    )  # fmt: skip
    return house.platform.db.run(put)


def refusal(act: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


NOTHING = ScreeningTerms()
WAIT_HOLD = (Verdict.WAIT, "screening_hold")


def test_with_nothing_configured_nothing_is_found(house: House, row: Withdrawal) -> None:
    assert begin(house, subject_of(row), NOTHING) == []
    assert begin(house, subject_of(row, None), NOTHING) == []


# ---- the list


def test_a_listed_destination_blocks_and_freezes_who_would_pay_it(
    house: House, row: Withdrawal
) -> None:
    put_list(house, "0x" + "ab" * 20)
    assert begin(house, subject_of(row), NOTHING) == [], "control: another address"
    put_list(house, row.destination, date="11/21/2026")
    assert begin(house, subject_of(row), NOTHING) == [(Verdict.BLOCK, "sanctioned")]
    with house.platform.db.read() as conn:
        assert catalogue.customer(conn, row.customer_no).frozen
        (incident,) = chain_state.open_incidents(conn)
    assert incident.kind == "screening_freeze"
    assert row.withdrawal_id in incident.detail


def test_the_newest_list_counts_and_an_older_one_never_comes_back(
    house: House, row: Withdrawal
) -> None:
    put_list(house, row.destination)
    delisted = put_list(house, "0x" + "ab" * 20, date="11/21/2026")
    assert found_of(house, subject_of(row), NOTHING) == []
    assert refusal(lambda: put_list(house, row.destination)) is Reason.ILLEGAL_TRANSITION
    with house.platform.db.read() as conn:
        assert lists.in_force(conn) == delisted


def test_a_list_that_is_missing_or_too_old_fails_closed(house: House, row: Withdrawal) -> None:
    terms = ScreeningTerms(list_required=True, list_age_max_ns=2 * DAY_NS)
    stale = [(Verdict.WAIT, "sanctions_list_stale")]
    assert found_of(house, subject_of(row), terms) == stale
    first = put_list(house, "0x" + "ab" * 20)
    house.clock.advance(2 * DAY_NS - 1)
    assert found_of(house, subject_of(row), terms) == []
    house.clock.advance(1)
    assert found_of(house, subject_of(row), terms) == stale
    assert found_of(house, subject_of(row), NOTHING) == [], "where nobody asks for one"
    again = put_list(house, "0x" + "ab" * 20)
    assert found_of(house, subject_of(row), terms) == []
    assert (again.sha256, again.list_no) == (first.sha256, first.list_no + 1)


# ---- providers

TERMS = ScreeningTerms(providers=("one", "two"))


def test_every_provider_must_allow_and_silence_is_no_consent(house: House, row: Withdrawal) -> None:
    one, two = Oracle(), Oracle(says=None)
    assert begin(house, subject_of(row), TERMS) == [WAIT_HOLD] * 2
    assert ask(house, one=one, two=two) == 1
    assert found_of(house, subject_of(row), TERMS) == [WAIT_HOLD]
    house.clock.advance(100 * DAY_NS)
    assert found_of(house, subject_of(row), TERMS) == [WAIT_HOLD], "time makes no consent"
    two.says = Outcome.ALLOW
    assert ask(house, one=one, two=two) == 1
    assert found_of(house, subject_of(row), TERMS) == []
    assert len(one.asked) == 1, "who answered is not asked again"


def test_a_silent_provider_is_asked_again_each_time_later(house: House, row: Withdrawal) -> None:
    silent = Oracle(says=None)
    begin(house, subject_of(row), TERMS)
    at = []
    for second in range(120):
        before = len(silent.asked)
        ask(house, one=silent)
        if len(silent.asked) > before:
            at.append(second)
        house.clock.advance(SECOND_NS)
    assert at == [0, 5, 15, 35, 75]


def test_a_provider_is_told_nothing_about_the_customer(house: House, row: Withdrawal) -> None:
    oracle = Oracle()
    begin(house, subject_of(row), TERMS)
    ask(house, one=oracle)
    (question,) = oracle.asked
    assert (question.address, question.amount) == (row.destination, row.amount)
    assert row.withdrawal_id not in repr(question)
    assert "alice" not in repr(question)


def test_what_has_ended_is_not_asked_about(house: House, row: Withdrawal) -> None:
    oracle = Oracle()
    begin(house, subject_of(row), TERMS)
    reject = partial(house.platform.db.run, lambda conn: _end(conn, row.withdrawal_id))
    reject()
    assert ask(house, one=oracle) == 0
    assert oracle.asked == []


def _end(conn: sa.Connection, withdrawal_id: WithdrawalId) -> None:
    conn.exec_driver_sql(
        f"UPDATE withdrawals SET state = 'cancelled' WHERE withdrawal_id = '{withdrawal_id}'"
    )


def test_a_freeze_freezes_the_customer_and_is_never_released(house: House, row: Withdrawal) -> None:
    begin(house, subject_of(row), TERMS)
    ask(house, one=Oracle(Outcome.FREEZE), two=Oracle(Outcome.HOLD))
    found = found_of(house, subject_of(row), TERMS)
    assert found == [(Verdict.BLOCK, "screening_freeze"), WAIT_HOLD]
    with house.platform.db.read() as conn:
        assert catalogue.customer(conn, row.customer_no).frozen
        assert [one.kind for one in chain_state.open_incidents(conn)] == ["screening_freeze"]
        draft = partial(cases.statement_of, conn, row.withdrawal_id, expires_ns=1 << 62)
        assert refusal(draft) is Reason.ILLEGAL_TRANSITION


def test_officers_release_a_hold_and_only_the_one_they_saw(house: House, row: Withdrawal) -> None:
    one, two, db = Oracle(Outcome.HOLD), Oracle(says=None), house.platform.db
    begin(house, subject_of(row), TERMS)
    ask(house, one=one, two=two)
    with db.read() as conn:
        seen = cases.statement_of(conn, row.withdrawal_id, expires_ns=1 << 62)

    def release(*persons: str, statement: Statement = seen) -> None:
        signed = [sign_statement(officer_key(person), statement) for person in persons]
        db.run(
            partial(
                cases.release, statement=statement, signatures=signed,
                roster=house.platform.roster, now_ns=house.clock.now_ns(),
            )
        )  # fmt: skip

    assert refusal(lambda: release("ada")) is Reason.QUORUM_NOT_MET
    two.says = Outcome.ALLOW
    house.clock.advance(DAY_NS)
    ask(house, one=one, two=two)
    assert refusal(lambda: release("ada", "ben")) is Reason.INTENT_MISMATCH, "an answer came since"
    with db.read() as conn:
        seen = cases.statement_of(conn, row.withdrawal_id, expires_ns=1 << 62)
    for _ in range(2):
        release("ada", "ben", statement=seen)
    assert found_of(house, subject_of(row), TERMS) == []


def test_a_hold_that_comes_after_a_release_needs_a_release_of_its_own(
    house: House, row: Withdrawal
) -> None:
    one, two, db = Oracle(Outcome.HOLD), Oracle(says=None), house.platform.db
    begin(house, subject_of(row), TERMS)

    def release() -> None:
        with db.read() as conn:
            seen = cases.statement_of(conn, row.withdrawal_id, expires_ns=1 << 62)
        signed = [sign_statement(officer_key(person), seen) for person in ("ada", "ben")]
        db.run(
            partial(
                cases.release, statement=seen, signatures=signed,
                roster=house.platform.roster, now_ns=house.clock.now_ns(),
            )
        )  # fmt: skip

    ask(house, one=one, two=two)
    release()
    assert found_of(house, subject_of(row), TERMS) == [WAIT_HOLD], "the other has not answered"
    two.says = Outcome.HOLD
    house.clock.advance(DAY_NS)
    ask(house, one=one, two=two)
    assert found_of(house, subject_of(row), TERMS) == [WAIT_HOLD], "nobody saw this one"
    release()
    assert found_of(house, subject_of(row), TERMS) == []


# ---- the travel rule

TRAVEL = ScreeningTerms(travel_threshold_usd=1_000 * USD)
MISSING = [(Verdict.WAIT, "travel_rule_missing")]


def attach(house: House, row: Withdrawal, **changes: object) -> travel.TravelRecord:
    message = {**test_ivms101.message(), **changes}
    message["beneficiary"]["accountNumber"] = [row.destination]
    put = partial(
        travel.attach, withdrawal_id=row.withdrawal_id, message=message, by="alice",
        now_ns=house.clock.now_ns(),
    )  # fmt: skip
    return house.platform.db.run(put)


@pytest.mark.parametrize(
    ("value_usd", "found"),
    [(1_000 * USD - 1, []), (1_000 * USD, MISSING), (None, MISSING)],
)
def test_above_the_threshold_and_without_a_price_data_is_needed(
    house: House, row: Withdrawal, value_usd: int | None, found: list[tuple[Verdict, str]]
) -> None:
    assert found_of(house, subject_of(row, value_usd), TRAVEL) == found
    inside = dataclasses.replace(subject_of(row, value_usd), inside=True)
    assert found_of(house, inside, TRAVEL) == [], "between our own customers nothing travels"
    attach(house, row)
    assert found_of(house, subject_of(row, value_usd), TRAVEL) == []


def test_data_is_kept_append_only_and_said_to_nobody(house: House, row: Withdrawal) -> None:
    first = attach(house, row)
    assert attach(house, row) == first
    company = {"originatingVASP": {"legalPerson": test_ivms101.company("Strongroom 2 AG")}}
    second = attach(house, row, originatingVASP=company)
    with house.platform.db.read() as conn:
        assert travel.of(conn, row.withdrawal_id) == [first, second]
        kept = travel.message_of(conn, row.withdrawal_id)
        said = str(audit_log.records(conn)) + repr(first)
    assert test_ivms101.SECRET in str(kept), "control: it is kept"
    assert test_ivms101.SECRET not in said
    with pytest.raises(sa.exc.DatabaseError, match="append-only"):
        house.platform.db.run(
            lambda conn: conn.exec_driver_sql("UPDATE travel_records SET message = message")
        )


def test_data_is_bounded_and_comes_before_the_payment(house: House, row: Withdrawal) -> None:
    for n in range(travel.RECORDS_MAX):
        company = {"originatingVASP": {"legalPerson": test_ivms101.company(f"No {n}")}}
        attach(house, row, originatingVASP=company)
    assert refusal(lambda: attach(house, row)) is Reason.TOO_MANY_ENTRIES
    assert refusal(lambda: attach(house, row, more=1)) is Reason.MALFORMED
    house.platform.db.run(lambda conn: _end(conn, row.withdrawal_id))
    assert refusal(lambda: attach(house, row)) is Reason.ILLEGAL_TRANSITION
