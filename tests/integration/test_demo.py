"""What a newcomer sees first works, and says so in a file."""

from __future__ import annotations

import json
from pathlib import Path

from app.demo.report import StepLine
from app.demo.run import run


def test_the_demo_goes_the_whole_way_and_reports_it(tmp_path: Path) -> None:
    told: list[StepLine] = []
    report = run(tmp_path / "demo", told.append)
    assert [each.findings for each in report.equations if not each.holds] == []
    page = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert page["equations"] == dict.fromkeys(
        ("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I17"), True
    )
    assert len(page["steps"]) == len(told) >= 30
    assert {line["symbol"] for line in page["assets"]} == {
        "ETH",
        "DUSD",
        "DGLD",
        "BTC",
        "SOL",
        "SUSD",
    }
    titles = [step["title"] for step in page["steps"]]
    for words in (
        "A block of devnet is replaced", "A block of devcoin is replaced", "1 dearer ones replaced",
        "withdraws 500 SUSD on devsol", "on devcoin is final", "on devsol is final",
    ):  # fmt: skip
        assert any(words in title for title in titles), words
    html = (tmp_path / "demo" / "report.html").read_text()
    assert "every equation holds" in html
    assert "<script" not in html
    assert "http://" not in html.replace(page["steps"][0]["evidence"]["node"], "").replace(
        page["steps"][0]["evidence"]["api"], ""
    )
