"""What a demo run shows: its steps with their evidence, a line per asset, the equations.

As JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.equations import Equation
from core.money import format_amount


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step: what was done, its evidence by name, and when it was done.

    In seconds of the run.
    """

    title: str
    evidence: dict[str, str]
    at_ms: int


@dataclass(frozen=True, slots=True)
class AssetLine:
    """One asset at the end, in minor units; `scale` turns them into decimal text."""

    symbol: str
    scale: int
    liabilities: int
    on_chain: int
    fee_income: int
    network_fees: int
    suspense: int
    equity: int

    def text(self, name: str) -> str:
        """Return one of the amounts as decimal text."""
        return format_amount(getattr(self, name), self.scale)


@dataclass(slots=True)
class DemoReport:
    """Everything a run has to show."""

    steps: list[StepLine] = field(default_factory=list)
    assets: list[AssetLine] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    seconds_ms: int = 0
    chains: int = 1

    @property
    def holds(self) -> bool:
        """Return whether every equation was checked and holds."""
        return bool(self.equations) and all(each.holds for each in self.equations)


AMOUNTS = ("liabilities", "on_chain", "fee_income", "network_fees", "suspense", "equity")


def as_page(report: DemoReport) -> dict[str, object]:
    """Return the report as JSON values.

    Amounts are decimal text.
    """
    return {
        "steps": [asdict(step) for step in report.steps],
        "assets": [
            {"symbol": line.symbol, **{name: line.text(name) for name in AMOUNTS}}
            for line in report.assets
        ],
        "equations": {each.name: each.holds for each in report.equations},
        "compared": {each.name: each.compared for each in report.equations},
        "findings": [finding for each in report.equations for finding in each.findings],
        "seconds": report.seconds_ms / 1_000,
    }


def write(report: DemoReport, folder: Path, html: str) -> Sequence[Path]:
    """Write report.json and report.html into a folder; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_html = folder / "report.json", folder / "report.html"
    as_json.write_text(json.dumps(as_page(report), indent=1) + "\n")
    as_html.write_text(html)
    return as_json, as_html
