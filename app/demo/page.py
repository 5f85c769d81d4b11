"""The demo's report as one self-contained page: no script, no request to anywhere."""

from __future__ import annotations

from html import escape

from app.demo.report import AMOUNTS, AssetLine, DemoReport, StepLine
from app.equations import Equation
from core.money import format_amount

_NAMES = {
    "liabilities": "owed to customers",
    "on_chain": "on chain",
    "fee_income": "fee income",
    "network_fees": "network fees",
    "suspense": "suspense",
    "equity": "equity",
}
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6978; --line: #d9dfe7; --paper: #fff;
  --card: #f6f8fb; --good: #0f7b4f; --bad: #b3261e; --owed: #3563d9; --held: #12a37f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ecf3; --soft: #9aa7b8; --line: #2c3644;
  --paper: #10151c; --card: #182029; --good: #46c98f; --bad: #ff8a80; --owed: #7aa2ff;
  --held: #3dd6ac; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1060px; margin: 0 auto; padding: 32px 20px 64px }
h1 { font-size: 28px; margin: 0 0 4px } h2 { font-size: 18px; margin: 40px 0 12px }
p { margin: 4px 0 } .soft { color: var(--soft) }
.warning { border: 2px solid var(--bad); border-radius: 8px; padding: 8px 12px; margin: 16px 0 }
.verdict { font-size: 20px; font-weight: 600; margin-top: 12px }
.good { color: var(--good) } .bad { color: var(--bad) }
ol { list-style: none; margin: 0; padding: 0; border-left: 2px solid var(--line) }
ol li { position: relative; padding: 0 0 14px 20px }
ol li::before { content: ""; position: absolute; left: -6px; top: 7px; width: 10px; height: 10px;
  border-radius: 50%; background: var(--held) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 12px; margin: 2px 0 0;
  font-size: 13px } dt { color: var(--soft) }
dd { margin: 0; font-family: ui-monospace, monospace; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } .wide { overflow-x: auto }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(235px, 1fr)); gap: 12px }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px }
.card b { font-size: 17px } svg { width: 100%; height: auto } svg text { fill: var(--ink);
  font: 13px system-ui, sans-serif }
"""


def page(report: DemoReport) -> str:
    """Return the page."""
    good = report.holds
    verdict = "every equation holds" if good else "an equation does not hold"
    seconds = format_amount(report.seconds_ms, 3)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Strongroom demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style></head><body><main>
<h1>Strongroom: the whole way</h1>
<p class="soft">Customers deposit on real nodes of {report.chains} chains, trade, withdraw under
officers' approval; the sweeper gathers; a proof of reserves verifies.
{len(report.steps)} steps in {seconds} s.</p>
<p class="warning">Demonstration: every key on this page is public and every chain is local. Never
send money of value to an address shown here.</p>
<p class="verdict {"good" if good else "bad"}">{"&#10003;" if good else "&#10007;"} {verdict}</p>
<h2>What is owed, and what is there</h2>{_bars(report)}
<div class="wide">{_table(report)}</div>
<p class="soft">on chain = owed + suspense + fee income + equity &minus; network fees.</p>
<h2>The equations</h2><div class="cards">{"".join(_card(each) for each in report.equations)}</div>
<h2>What happened</h2><ol>{"".join(_step(step) for step in report.steps)}</ol>
</main></body></html>
"""


def _step(step: StepLine) -> str:
    pairs = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in step.evidence.items()
    )
    at = format_amount(step.at_ms, 3)
    return (
        f'<li><b>{escape(step.title)}</b> <span class="soft">at {at} s</span><dl>{pairs}</dl></li>'
    )


def _card(each: Equation) -> str:
    mark, look = ("&#10003; holds", "good") if each.holds else ("&#10007; broken", "bad")
    findings = "".join(f'<p class="bad">{escape(finding)}</p>' for finding in each.findings)
    return (
        f'<div class="card"><b>{escape(each.name)}</b> <span class="{look}">{mark}</span>'
        f'<p class="soft">{escape(each.compared)}</p>{findings}</div>'
    )


def _table(report: DemoReport) -> str:
    head = "".join(f"<th>{_NAMES[name]}</th>" for name in AMOUNTS)
    lines = "".join(
        f"<tr><td><b>{escape(line.symbol)}</b></td>"
        + "".join(f"<td>{escape(line.text(name))}</td>" for name in AMOUNTS)
        + "</tr>"
        for line in report.assets
    )
    return f"<table><tr><th>asset</th>{head}</tr>{lines}</table>"


def _bars(report: DemoReport) -> str:
    """Draw two bars per asset to a scale of its own: what is owed, and what covers it."""
    width, row, left = 1_000, 86, 90
    drawn = []
    for n, line in enumerate(report.assets):
        top = max(line.on_chain, line.liabilities, 1)
        y = n * row
        drawn.append(f'<text x="0" y="{y + 34}" font-weight="600">{escape(line.symbol)}</text>')
        drawn += _bar(line, "liabilities", y + 6, "var(--owed)", top, left, width)
        drawn += _bar(line, "on_chain", y + 38, "var(--held)", top, left, width)
    height = row * len(report.assets)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Owed to customers and held on chain, per asset">{"".join(drawn)}</svg>'
    )


def _bar(
    line: AssetLine, name: str, y: int, colour: str, top: int, left: int, width: int
) -> list[str]:
    room = width - left - 330
    length = max(2, getattr(line, name) * room // top)
    label = f"{line.text(name)} {_NAMES[name]}"
    return [
        f'<rect x="{left}" y="{y}" width="{length}" height="24" rx="4" fill="{colour}"/>',
        f'<text x="{left + length + 10}" y="{y + 17}">{escape(label)}</text>',
    ]
