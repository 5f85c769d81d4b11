"""Stored decisions are explained and tried from the database, and a changed row is noticed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.output import Exit
from app.policy_records import policies_of, records_of, submissions
from app.toml_text import toml_text
from core.errors import Corrupt, Reason, Refused
from custody import policies
from custody.db import Database
from custody.policy.document import parse_policy
from custody.policy.record import Record, decision_hash, encode_record, recorded, repeated
from custody.policy.request import Facts, Finding, Verdict
from custody.withdrawals.decisions import decisions
from tests.support.configs import TABLES
from tests.unit.custody.policy.papers import NOW, page, request, require

BODY = toml_text(page(rules=[require("r", max_usd="1000")])).encode()
POLICY = parse_policy(BODY)
WAITS = Facts(screening=(Finding(Verdict.WAIT, "screening_pending"),))


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """Return a database of each kind that knows one policy."""
    opened = Database.open(database_url)
    opened.create_all()
    opened.run(partial(policies.add, body=BODY, in_force_from_ns=NOW, by="ada", now_ns=NOW))
    yield opened
    opened.close()


def store(db: Database, number: int, one: Record, **changes: object) -> None:
    """Store a decision as the platform does, or changed."""
    values: dict[str, object] = {
        "decision_no": number,
        "cause_id": one.request.request_id,
        "moment": one.moment.value,
        "policy_hash": one.policy_hash,
        "outcome": one.decision.outcome.value,
        "code": one.decision.code,
        "rule": one.decision.rule,
        "record": encode_record(one),
        "hash": decision_hash(one),
        "at_ns": one.request.now_ns,
        **changes,
    }
    values |= {column.name: "" for column in decisions.c if column.name not in values}

    def apply(conn: sa.Connection) -> None:
        conn.execute(decisions.insert().values(values))

    db.run(apply)


def story() -> list[Record]:
    """Return a submission, its release that waits, and another submission."""
    first = recorded(POLICY, request(), Facts())
    release = recorded(POLICY, request(), WAITS, taken=first.decision)
    other = recorded(POLICY, dataclasses.replace(request(), request_id="wd_2"), Facts())
    return [first, release, other]


def test_stored_decisions_are_read_back_and_made_again(db: Database) -> None:
    for number, record in enumerate(story(), 1):
        store(db, number, record)
    found = records_of(db, "wd_1")
    assert found == story()[:2]
    for record in found:
        assert repeated(record, policies_of(db, record)) == record
    assert [one.request.request_id for one in submissions(db)] == ["wd_1", "wd_2"]
    assert [one.request.request_id for one in submissions(db, limit=1)] == ["wd_2"]
    assert records_of(db, "wd_3") == []


def test_a_row_that_was_changed_is_corrupt(db: Database) -> None:
    first, _, other = story()
    store(db, 1, first, record=encode_record(other))
    store(db, 2, other, record="{}")
    for cause in ("wd_1", "wd_2"):
        with pytest.raises(Corrupt):
            records_of(db, cause)


def test_a_decision_by_a_policy_that_is_not_here_is_told(db: Database) -> None:
    stranger = parse_policy(BODY + b"# another\n")
    store(db, 1, recorded(stranger, request(), Facts()))
    (record,) = records_of(db, "wd_1")
    with pytest.raises(Refused) as caught:
        policies_of(db, record)
    assert caught.value.reason is Reason.UNKNOWN_POLICY


def test_the_command_line_explains_and_tries_what_is_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'books.db'}"
    db = Database.open(url)
    db.create_all()
    db.run(partial(policies.add, body=BODY, in_force_from_ns=NOW, by="ada", now_ns=NOW))
    for number, record in enumerate(story(), 1):
        store(db, number, record)
    db.close()
    config, draft = tmp_path / "strongroom.toml", tmp_path / "draft.toml"
    config.write_text(toml_text({**TABLES, "database": {"url": url}}))
    draft.write_bytes(BODY.replace(b"2 of officers", b"3 of officers"))

    def run(*words: object) -> list[dict[str, object]]:
        line = ["--config", str(config), "-o", "json", "policy", *map(str, words)]
        result = CliRunner().invoke(app, line)
        assert result.exit_code == Exit.OK, result.output
        found = json.loads(result.stdout)
        assert isinstance(found, list)
        return found

    rows = run("explain", "wd_1")
    assert [one["verdict"] for one in rows if one["stage"] == "decision"] == [
        "require",
        "wait screening_pending",
    ]
    assert {one["observed"] for one in rows if one["stage"] == "decision"} == {
        "repeated bit for bit"
    }
    assert [one["becomes"] for one in run("simulate", draft)] == ["stricter", "stricter"]
