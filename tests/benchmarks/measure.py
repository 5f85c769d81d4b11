"""How a figure is taken: warm up, rounds interleaved with the peer and the floor, medians."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from engine.laboratory.machine import machine

ROUNDS = 5


class Timed(NamedTuple):
    """A run that took its own time, without what it had to prepare or in another process."""

    units: int
    ns: int


Run = Callable[[], int | Timed]
"""Does the work once and returns how many units it did."""


@dataclass(frozen=True, slots=True)
class Row:
    """One job: units per second of ours, the peer's and the floor's; None where there is none."""

    job: str
    unit: str
    ours: int
    peer: int | None
    peer_name: str
    floor: int | None
    floor_name: str
    goal: str

    @property
    def ratio(self) -> str:
        """Return ours / peer with two places, or ours / floor where there is no peer."""
        other = self.peer or self.floor
        return "" if not other else f"{self.ours * 100 // other / 100:.2f}"


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure that is no rate: a latency, a size. `why` says what keeps it from its goal."""

    job: str
    what: str
    ours: str
    beside: str
    goal: str
    is_met: bool
    why: str = ""

    @property
    def verdict(self) -> str:
        """Return what a person looks for."""
        return "met" if self.is_met else f"MISSED: {self.why}" if self.why else "MISSED"


@dataclass(frozen=True, slots=True)
class Contest:
    """What runs beside what. Wall time where a disk or a server takes part, CPU time otherwise."""

    job: str
    unit: str
    ours: Run
    peer: Run | None = None
    peer_name: str = ""
    floor: Run | None = None
    floor_name: str = ""
    goal: str = ""
    wall: bool = False


def measure(contest: Contest, *, rounds: int = ROUNDS) -> Row:
    """Run a contest: one warm-up, then rounds in which every participant runs once."""
    runs: dict[str, Run] = {"ours": contest.ours}
    if contest.peer is not None:
        runs["peer"] = contest.peer
    if contest.floor is not None:
        runs["floor"] = contest.floor
    rates: dict[str, list[int]] = {name: [] for name in runs}
    for round_no in range(rounds + 1):
        for name, run in runs.items():
            rate = _rate(run, wall=contest.wall)
            if round_no:
                rates[name].append(rate)
    medians = {name: int(statistics.median(found)) for name, found in rates.items()}
    return Row(
        job=contest.job,
        unit=contest.unit,
        ours=medians["ours"],
        peer=medians.get("peer"),
        peer_name=contest.peer_name,
        floor=medians.get("floor"),
        floor_name=contest.floor_name,
        goal=contest.goal,
    )


def _rate(run: Run, *, wall: bool) -> int:
    gc.collect()
    clock = time.perf_counter_ns if wall else time.process_time_ns
    before = clock()
    done = run()
    units, ns = done if isinstance(done, Timed) else (done, clock() - before)
    return units * 1_000_000_000 // max(1, ns)


def show(rows: Sequence[Row], facts: Sequence[Fact], console: Console) -> None:
    """Print the tables."""
    table = Table(title=" · ".join(f"{name} {value}" for name, value in machine().items()))
    for name in ("job", "unit", "ours /s", "peer /s", "peer", "ratio", "floor /s", "floor", "goal"):
        table.add_column(name, justify="right" if name.endswith("/s") else "left")
    for row in rows:
        figures = [f"{value:,}" if value else "" for value in (row.ours, row.peer, row.floor)]
        table.add_row(
            row.job, row.unit, figures[0], figures[1], row.peer_name, row.ratio, figures[2],
            row.floor_name, row.goal,
        )  # fmt: skip
    if rows:
        console.print(table)
    if facts:
        console.print(_facts_table(facts))


def _facts_table(facts: Sequence[Fact]) -> Table:
    table = Table(title="latencies, sizes, shares")
    for name in ("job", "what", "ours", "beside", "goal", "verdict"):
        table.add_column(name)
    for fact in facts:
        table.add_row(fact.job, fact.what, fact.ours, fact.beside, fact.goal, fact.verdict)
    return table


def write(rows: Sequence[Row], facts: Sequence[Fact], path: Path) -> None:
    """Write the rows and facts as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = {
        "machine": machine(),
        "jobs": [asdict(row) | {"ratio": row.ratio} for row in rows],
        "facts": [asdict(fact) for fact in facts],
    }
    path.write_text(json.dumps(page, indent=1) + "\n")
