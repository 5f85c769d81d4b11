"""A folder that a person opens and understands: report.html, the plots beside it, and the figures.

report.html        what was measured on what, the table, the plots, how to read them
latency-NAME.svg   percentiles of one workload
report.json        the same figures for programs, in ns
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from core.clock import SECOND_NS
from core.errors import Unavailable
from engine.laboratory.histogram import Histogram
from engine.laboratory.measuring import Timed
from engine.laboratory.plot import Line, latency_plot

PAGE, FIGURES = "report.html", "report.json"

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;"
    "color:#222;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}"
    "table{border-collapse:collapse;font-size:.9rem}th,td{padding:.3rem .7rem;text-align:right;"
    "border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "th:nth-child(-n+3),td:nth-child(-n+3){text-align:left}img{max-width:100%;height:auto}"
    "dt{font-weight:600}dd{margin:0 0 .5rem}.wide{overflow-x:auto}"
)
_READING = {
    "in batches": """The engine alone, through Python: commands in, events out. CPU time; a latency
        is that of one call, however many commands it takes, and holds about 0.1 µs of the clock
        itself.""",
    "durable, closed loop": """Behind the journal: a batch is sent, written, synced, applied,
        answered; then the next one. A latency is that of a batch.""",
    "durable, offered": """Commands arrive at a fixed rate whatever happens, and whatever arrived
        while the last batch was on its way to the disk is the next batch. A latency is from arrival
        to durable answer. Where the rate is more than can be done, the queue and the latency grow
        to the end.""",
    "the disk alone": """pwrite and fdatasync into a file filled with zeros before, nothing else: no
        durable answer can be quicker.""",
}
_SHORT = {
    "commands_per_call": "per call",
    "commands_per_second": "per second",
    "cpu_ns_per_command": "cpu ns each",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row of the report."""

    workload: str
    engine: str
    way: str
    timed: Timed

    def figures(self) -> dict[str, object]:
        """Return the row for programs: latencies in ns."""
        timed = self.timed
        return {
            "workload": self.workload,
            "engine": self.engine,
            "way": self.way,
            "commands": timed.commands,
            "commands_per_call": timed.commands_per_call,
            "commands_per_second": timed.per_second,
            "cpu_ns_per_command": timed.ns_per_command,
            **{f"{name}_ns": ns for name, ns in timed.latencies.shown().items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one run found."""

    machine: Mapping[str, str]
    seed: int
    measured: Sequence[Measured]
    disk: Histogram | None


def duration(ns: int) -> str:
    """Return a duration with three figures that count, in the unit that suits it."""
    for unit, one_ns in (("s", SECOND_NS), ("ms", 1_000_000), ("µs", 1_000)):
        if ns >= one_ns:
            whole, rest = divmod(ns, one_ns)
            decimals = f"{rest * 1_000 // one_ns:03d}"[: max(3 - len(str(whole)), 0)]
            return f"{whole}.{decimals} {unit}" if decimals else f"{whole} {unit}"
    return f"{ns} ns"


def cells(figures: Mapping[str, object]) -> dict[str, str]:
    """Return a row for people: thousands apart, short names, durations in their own unit."""
    found: dict[str, str] = {}
    for name, value in figures.items():
        if isinstance(value, int) and name.startswith(("p", "max")):
            found[name.removesuffix("_ns")] = duration(value)
        else:
            text = f"{value:,}" if isinstance(value, int) else str(value)
            found[_SHORT.get(name, name)] = text
    return found


def disk_figures(disk: Histogram) -> dict[str, object]:
    """Return the disk's own row for programs."""
    return {
        "workload": "",
        "engine": "",
        "way": "the disk alone",
        "commands": disk.count,
        "commands_per_call": 1,
        "commands_per_second": disk.count * SECOND_NS // max(disk.total, 1),
        "cpu_ns_per_command": 0,
        **{f"{name}_ns": ns for name, ns in disk.shown().items()},
    }


def write_report(folder: Path, report: Report) -> Path:
    """Write the folder and return its page. Unavailable: the disk failed."""
    plots = _plots(report)
    rows = [row.figures() for row in report.measured]
    if report.disk is not None:
        rows.append(disk_figures(report.disk))
    data = {"machine": dict(report.machine), "seed": report.seed, "rows": rows}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, plot in plots.items():
            (folder / name).write_text(plot, "utf-8")
        (folder / FIGURES).write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        (folder / PAGE).write_text(_page(report, rows, list(plots)), "utf-8")
    except OSError as error:
        raise Unavailable(f"write {folder}: {error.strerror or error}") from error
    return folder / PAGE


def _plots(report: Report) -> dict[str, str]:
    """Return the plots by file name: the engine alone, and behind the journal beside the disk."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(row.workload for row in report.measured):
        rows = [row for row in report.measured if row.workload == name]
        for way, about in (("alone", "one call of the engine"), ("durable", "durable answers")):
            lines = [
                Line(f"{row.engine}, {row.way}", row.timed.latencies)
                for row in rows
                if row.way.startswith("durable") == (way == "durable")
            ]
            if lines and way == "durable" and report.disk is not None:
                lines.append(Line("the disk alone", report.disk))
            if lines:
                title = f"{name}, seed {report.seed}: latency of {about}"
                found[f"latency-{name}-{way}.svg"] = latency_plot(title, lines)
    return found


def _page(report: Report, rows: Sequence[Mapping[str, object]], plots: Sequence[str]) -> str:
    shown = [cells(row) for row in rows]
    head = "".join(f"<th>{escape(name)}</th>" for name in shown[0])
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.values()) + "</tr>"
        for row in shown
    )
    machine = " · ".join(f"{name} {value}" for name, value in report.machine.items())
    pictures = "\n".join(
        f'<p><img src="{escape(name)}" alt="latency by percentile: {escape(name)}"></p>'
        for name in plots
    )
    reading = "\n".join(
        f"<dt>{escape(way)}</dt><dd>{escape(text)}</dd>" for way, text in _READING.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Engine: rates and latencies</title><style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>Engine: rates and latencies</h1>\n<p>{escape(machine)} · seed {report.seed}. "
        "Other work on the machine is in these figures: compare rows, not runs.</p>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
        f"</div>\n<h2>Latency by percentile</h2>\n{pictures}\n"
        f"<h2>How to read it</h2>\n<dl>\n{reading}\n</dl>\n"
        f'<p>The same figures for programs: <a href="{FIGURES}">{FIGURES}</a>.</p>\n'
        "</body></html>\n"
    )
