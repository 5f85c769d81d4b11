"""Velocity agrees with a twin that adds up every reservation each time, whatever the clock does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Reason, Refused
from custody import velocity
from custody.db import Database
from custody.policy.decision import Charge

NOW = 1_700_000_000_000_000_000
KEYS = ("initiator/ann", "customer/7", "global")
OWNERS = ("a", "b", "c", "d", "e")


class Undo(Exception):
    """Raised to leave no trace of an example."""


@dataclass
class Row:
    amounts: dict[str, int]
    released_ns: int | None = None
    freed: bool = False


@dataclass
class Twin:
    """The same verbs without a table, a total or an index."""

    rows: dict[str, Row] = field(default_factory=dict)

    def used(self, charge: Charge, now_ns: int, but: str = "") -> int:
        return sum(
            row.amounts.get(charge.key, 0)
            for owner, row in self.rows.items()
            if owner != but
            and not row.freed
            and (row.released_ns is None or now_ns < row.released_ns + charge.window_ns)
        )

    def over(self, charges: Sequence[Charge], owner: str, now_ns: int) -> tuple[Charge, ...]:
        return tuple(
            charge
            for charge in charges
            if self.used(charge, now_ns, owner) + charge.amount > charge.cap
        )

    def reserve(self, charges: Sequence[Charge], owner: str, now_ns: int) -> tuple[Charge, ...]:
        amounts = {charge.key: charge.amount for charge in charges}
        row = self.rows.get(owner)
        if row is not None:
            if row.freed or row.amounts != amounts:
                raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT)
            return ()
        over = self.over(charges, owner, now_ns)
        if not over and amounts:
            self.rows[owner] = Row(amounts)
        return over

    def reprice(self, charges: Sequence[Charge], owner: str, now_ns: int) -> tuple[Charge, ...]:
        row = self.rows.get(owner, Row({}))
        if row.freed or row.released_ns is not None:
            raise Refused(Reason.ILLEGAL_TRANSITION)
        over = self.over(charges, owner, now_ns)
        if not over and charges:
            row.amounts |= {charge.key: charge.amount for charge in charges}
            self.rows[owner] = row
        return over

    def release(self, owner: str, now_ns: int) -> None:
        row = self.rows.get(owner)
        if row is not None and row.released_ns is None and not row.freed:
            row.released_ns = now_ns

    def free(self, owner: str) -> None:
        if owner in self.rows:
            self.rows[owner].freed = True


@dataclass(frozen=True)
class Step:
    verb: str
    owner: str
    charges: tuple[Charge, ...]
    wait_ns: int


charges = st.builds(
    Charge,
    bucket=st.just("bucket"),
    key=st.sampled_from(KEYS),
    amount=st.integers(0, 6),
    cap=st.integers(0, 12),
    window_ns=st.sampled_from((10, 25)),
)
steps = st.builds(
    Step,
    verb=st.sampled_from(("reserve", "reserve", "reserve", "reprice", "release", "free", "used")),
    owner=st.sampled_from(OWNERS),
    charges=st.lists(charges, max_size=3, unique_by=lambda one: one.key).map(tuple),
    wait_ns=st.one_of(st.integers(0, 12), st.integers(-30, 40)),
)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


def told(conn: sa.Connection, step: Step, now_ns: int) -> object:
    """What the real one answers."""
    if step.verb == "reserve":
        return velocity.reserve(conn, step.charges, owner=step.owner, now_ns=now_ns)
    if step.verb == "reprice":
        return velocity.reprice(conn, step.charges, owner=step.owner, now_ns=now_ns)
    if step.verb in ("release", "free"):
        verb = velocity.release if step.verb == "release" else velocity.free
        verb(conn, step.owner, now_ns)
        return None
    return velocity.used(conn, step.charges, now_ns, but=step.owner)


def expected(twin: Twin, step: Step, now_ns: int) -> object:
    """What the twin answers."""
    if step.verb == "reserve":
        return twin.reserve(step.charges, step.owner, now_ns)
    if step.verb == "reprice":
        return twin.reprice(step.charges, step.owner, now_ns)
    if step.verb == "release":
        twin.release(step.owner, now_ns)
        return None
    if step.verb == "free":
        twin.free(step.owner)
        return None
    return {one.key: twin.used(one, now_ns, step.owner) for one in step.charges}


def same_in_both(conn: sa.Connection, script: Sequence[Step]) -> int:
    """Run a script in both and return how many steps were refused or exceeded."""
    twin, now_ns, turned_away = Twin(), NOW, 0
    for step in script:
        now_ns += step.wait_ns
        try:
            wanted = expected(twin, step, now_ns)
        except Refused as refused:
            wanted = refused.reason
        try:
            given_back = told(conn, step, now_ns)
        except Refused as refused:
            given_back = refused.reason
        assert given_back == wanted, (step, now_ns)
        turned_away += bool(given_back) and step.verb in ("reserve", "reprice")
        for key in KEYS:
            for window_ns in (10, 25):
                probe = Charge("bucket", key, 0, 0, window_ns)
                assert velocity.used(conn, [probe], now_ns) == {key: twin.used(probe, now_ns)}
    return turned_away


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, max_size=25))
def test_every_answer_is_that_of_the_twin(db: Database, script: list[Step]) -> None:
    with contextlib.suppress(Undo), db.transaction() as conn:
        same_in_both(conn, script)
        raise Undo


def test_the_comparison_notices_a_window_of_one_nanosecond_too_much(db: Database) -> None:
    charge = Charge("bucket", KEYS[0], 5, 5, 10)
    script = [
        Step("reserve", "a", (charge,), 0),
        Step("release", "a", (), 0),
        Step("reserve", "b", (charge,), 10),
    ]
    with db.transaction() as conn:
        assert same_in_both(conn, script) == 0
    early = [replace(step, owner=step.owner * 2) for step in script]
    early[2] = replace(early[2], wait_ns=9)
    with db.transaction() as conn:
        velocity.free(conn, "b", NOW)
        velocity.free(conn, "a", NOW)
        assert same_in_both(conn, early) == 1
