"""`strongroom policy`: documents, records and bounds, with no platform behind them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.cli.output import Exit
from custody.policy.document import parse_policy
from custody.policy.record import Record, encode_record, recorded
from custody.policy.request import Facts
from tests.unit.custody.policy.papers import NOW, request

EXAMPLE = Path(__file__).parents[3] / "docs" / "policy.example.toml"
ASSETS = """
[[asset]]
chain = "devnet"
key = "native"
symbol = "COIN"
scale = 18
deposit_minimum = "0.001"
withdrawal_minimum = "0.002"
withdrawal_fee = "0.001"
sweep_minimum = "0.01"
"""


def cli(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def as_json(*words: object, code: Exit = Exit.OK) -> list[dict[str, object]]:
    result = cli("-o", "json", *words)
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


@pytest.fixture
def world(tmp_path: Path) -> list[object]:
    """Return the options that name a roster of the example's officers and one asset."""
    lines = ["version = 3", "threshold = 2"]
    for person in ("ada", "ben", "eve", "kim", "lou", "max", "nia", "oda"):
        made = cli("-o", "json", "officer", "keygen", tmp_path / person, "--person", person)
        key = json.loads(made.stdout)["public_key"]
        lines += ["[[officers]]", f'person = "{person}"', f'public_key = "{key}"']
    (tmp_path / "draft").write_text("\n".join(lines))
    (tmp_path / "assets.toml").write_text(ASSETS)
    folder = tmp_path / "rosters"
    assert cli("roster", "propose", tmp_path / "draft", folder).exit_code == Exit.OK
    return ["--roster", folder, "--assets", tmp_path / "assets.toml"]


def changed(path: Path, old: str, new: str) -> Path:
    body = EXAMPLE.read_text("ascii").replace(old, new)
    assert body != EXAMPLE.read_text("ascii")
    path.write_text(body)
    return path


def test_the_example_of_the_documentation_has_no_flaw(world: list[object]) -> None:
    assert as_json("policy", "check", EXAMPLE, *world, "--strict") == []


def test_flaws_are_listed_and_end_with_their_own_exit_code(
    world: list[object], tmp_path: Path
) -> None:
    draft = changed(tmp_path / "new.toml", '"2 of officers"', '"2 of officers or 1 of board"')
    flaws = as_json("policy", "check", draft, *world, code=Exit.VERIFICATION)
    assert [(one["code"], one["place"]) for one in flaws] == [("below_threshold", "rule medium")]
    blind = as_json(
        "policy", "check", EXAMPLE, *world, "--no-price", "devnet/native", code=Exit.VERIFICATION
    )
    assert {"no_price_source"} <= {one["code"] for one in blind}
    warned = changed(tmp_path / "late.toml", "stale_after_s = 900", "stale_after_s = 90000")
    assert cli("policy", "check", warned, *world).exit_code == Exit.OK
    assert cli("policy", "check", warned, *world, "--strict").exit_code == Exit.VERIFICATION


def test_a_bad_document_is_refused_with_file_line_rule_and_reason(
    world: list[object], tmp_path: Path
) -> None:
    draft = changed(tmp_path / "new.toml", 'max_usd = "50000"', "max_usd = 50_000")
    line = next(
        n
        for n, text in enumerate(draft.read_text("ascii").splitlines(), 1)
        if "max_usd = 50_000" in text
    )
    result = cli("policy", "check", draft, *world)
    assert result.exit_code == Exit.REFUSED
    assert f"{draft}:{line}: rule 'medium': max_usd: must be a text" in result.stderr
    assert cli("policy", "check", tmp_path / "none.toml", *world).exit_code == Exit.USAGE


def test_a_draft_is_compared_with_the_policy_in_force(tmp_path: Path) -> None:
    draft = changed(tmp_path / "new.toml", 'max_usd = "1000"', 'max_usd = "2000"')
    rows = as_json("policy", "diff", EXAMPLE, draft)
    assert [one["kind"] for one in rows] == ["text", "looser"]
    assert rows[1]["after"] == "allowed by rule small-known"
    assert as_json("policy", "diff", EXAMPLE, EXAMPLE) == []


def stored(path: Path, *records: Record) -> Path:
    path.write_text("".join(encode_record(one) + "\n" for one in records))
    return path


def example_record() -> Record:
    policy = parse_policy(EXAMPLE.read_bytes())
    return recorded(policy, request(now_ns=NOW), Facts())


def test_a_stored_decision_is_explained_bit_for_bit(tmp_path: Path) -> None:
    path = stored(tmp_path / "records", example_record())
    rows = as_json("policy", "explain", "wd_1", "--records", path, "--policy", EXAMPLE)
    assert rows[-1]["verdict"] == "allow"
    assert rows[-1]["observed"] == "repeated bit for bit"
    assert {"input", "deny", "rule", "velocity"} <= {str(one["stage"]) for one in rows}
    nothing = cli("policy", "explain", "wd_2", "--records", path, "--policy", EXAMPLE)
    assert nothing.exit_code == Exit.NOT_FOUND
    unknown = cli("policy", "explain", "wd_1", "--records", path)
    assert unknown.exit_code == Exit.NOT_FOUND


def test_a_forged_decision_is_told_apart(tmp_path: Path) -> None:
    record = example_record()
    forged = dataclasses.replace(record, decision=dataclasses.replace(record.decision, rule="x"))
    path = stored(tmp_path / "records", forged)
    rows = as_json(
        "policy", "explain", "--records", path, "--policy", EXAMPLE, code=Exit.VERIFICATION
    )
    assert rows[-1]["observed"] == "NOT the same when repeated"


def test_a_draft_is_tried_on_stored_decisions(tmp_path: Path) -> None:
    path = stored(tmp_path / "records", example_record())
    assert as_json("policy", "simulate", EXAMPLE, "--records", path) == []
    draft = changed(tmp_path / "new.toml", 'max_usd = "1000"', 'max_usd = "100"')
    (row,) = as_json("policy", "simulate", draft, "--records", path)
    assert (row["request"], row["becomes"]) == ("wd_1", "stricter")


def test_a_stated_bound_is_proved_or_broken_by_payments() -> None:
    bound = ("policy", "simulate", EXAMPLE, "--bound")
    assert as_json(*bound, "100000") == []
    steps = as_json(*bound, "99999", code=Exit.VERIFICATION)
    assert len(steps) == 100
    assert cli(*bound, "99999", "--price", "nonsense").exit_code == Exit.USAGE
    table = cli(*bound, "99999")
    assert "and 80 payments more" in table.stderr
    assert "counted in customer-day/customer=" in table.stderr
