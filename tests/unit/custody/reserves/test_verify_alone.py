"""The verifier alone on a stranger's machine, and reports that follow each other."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from custody.reserves import verify
from custody.reserves.report import Link, proof_file
from custody.reserves.verify import Refuted, check_other, check_report
from tests.unit.custody.reserves import cases

DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def case() -> cases.Case:
    return cases.case()


def test_v07_an_address_in_two_exchanges_reports_is_found(case: cases.Case) -> None:
    other = cases.case(header=cases.header(entity="Rival"))
    with pytest.raises(Refuted, match="an address is in both reports"):
        check_other(check_report(case.sealed.data), check_report(other.sealed.data))


def follower(case: cases.Case, **header: Any) -> cases.Case:
    at_ns = header.pop("at_ns", cases.DATE_NS + DAY_NS)
    return cases.case(header=cases.header(header.pop("link", case.sealed.link), at_ns=at_ns))


def test_a_report_follows_the_one_before(case: cases.Case) -> None:
    second = check_report(follower(case).sealed.data)
    assert "follows report 1" in check_other(second, check_report(case.sealed.data))


@pytest.mark.parametrize(
    ("link", "at_ns", "words"),
    [
        (Link(1, "5" * 64), cases.DATE_NS + DAY_NS, "the report before is another"),
        (None, cases.DATE_NS, "not dated before"),
    ],
)
def test_a_report_that_does_not_follow_is_refuted(
    case: cases.Case, link: Link | None, at_ns: int, words: str
) -> None:
    second = follower(case, link=link or case.sealed.link, at_ns=at_ns)
    with pytest.raises(Refuted, match=words):
        check_other(check_report(second.sealed.data), check_report(case.sealed.data))


def test_a_number_left_out_and_a_cut_that_goes_back_are_refuted(case: cases.Case) -> None:
    third = follower(case, link=Link(2, case.sealed.link.hash))
    with pytest.raises(Refuted, match="a report is missing between"):
        check_other(check_report(third.sealed.data), check_report(case.sealed.data))
    books = cases.books()
    treasury = replace(books.cut.treasury, position=11)
    back = cases.case(
        books=replace(books, cut=replace(books.cut, treasury=treasury)),
        header=cases.header(case.sealed.link, at_ns=cases.DATE_NS + DAY_NS),
    )
    with pytest.raises(Refuted, match="the cut went backwards"):
        check_other(check_report(back.sealed.data), check_report(case.sealed.data))


@pytest.fixture
def folder(case: cases.Case, tmp_path: Path) -> Path:
    """A folder of a stranger: the verifier alone, beside what was published."""
    shutil.copy(verify.__file__, tmp_path / "verify.py")
    (tmp_path / "report.json").write_bytes(case.sealed.data)
    (tmp_path / "proof.json").write_bytes(proof_file(case.sealed, case.draft.tree, 2))
    (tmp_path / "second.json").write_bytes(follower(case).sealed.data)
    changed = case.sealed.data.replace(b'"on_chain":"1237"', b'"on_chain":"1238"')
    assert changed != case.sealed.data
    (tmp_path / "changed.json").write_bytes(changed)
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["report.json"], 0, "VERIFIED"),
        (["report.json", "proof.json"], 0, "customer 2, included: 3000000000000000000 700"),
        (["second.json", "report.json"], 0, "follows report 1"),
        (["report.json", "--not-before", "2026-11-18"], 0, "No such report can prove"),
        (["report.json", "--not-before", "2026-11-19"], 8, "too old"),
        (["changed.json"], 8, "REFUTED: the report's hash is another"),
        (["second.json", "proof.json"], 8, "the proof belongs to another report"),
        (["report.json", "second.json"], 8, "REFUTED"),
        (["proof.json"], 8, "REFUTED"),
        (["deep.json"], 8, "REFUTED: not JSON in ASCII: RecursionError"),
        ([], 2, "usage"),
        (["missing.json"], 2, "No such file"),
        (["report.json", "--unknown"], 2, "usage"),
    ],
)
def test_it_runs_alone_offline_on_the_standard_library(
    folder: Path, arguments: list[str], code: int, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_it_imports_the_standard_library_only() -> None:
    tree = ast.parse(Path(verify.__file__).read_text("utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names <= sys.stdlib_module_names


def test_a_shortage_is_said_in_plain_words() -> None:
    short = cases.with_totals({(cases.K.HOT, 2): 0, (cases.K.LOSS, 2): 7})
    held = [
        replace(h, balances=tuple(b for b in h.balances if b != (2, 7))) for h in cases.holdings()
    ]
    report = check_report(cases.case(books=short, holdings=held).sealed.data)
    assert "TOK" in verify.describe(report)
    assert verify.describe(report).count(": SHORT") == 1
