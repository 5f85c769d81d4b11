"""Every matching engine that can be had from PyPI, on the first commands of w1.

Each is installed, at a fixed version, into an environment of its own under var/, and is driven by
tests/benchmarks/peers_run.py in a process of its own with a time limit. Speed alone says little:
conformance beside it is the share of commands that traded the same lots for the same money as ours.
They check no balances and keep no client ids; ours does both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engine.base import Engine
from engine.enums import TimeInForce
from engine.events import Event, OrderAccepted, OrderRejected, OrderReplaced, Trade
from engine.laboratory.workloads import NOW_NS, Workload
from engine.records import RECORD_BYTES, unpack_commands, unpack_events
from engine.types import CancelOrder, Command, PlaceOrder, ReplaceOrder
from tests.benchmarks.peers_run import (
    CANCEL,
    COMMAND,
    PLACE,
    PLACE_IOC,
    REPLACE,
    RESULT,
    UNKNOWN,
    Traded,
)

VERSIONS = {
    "nanobook": "0.19.0",
    "limit-order-book": "2.0.0",
    "litebook": "0.0.1",
    "cython-orderbook": "0.1.2",
    "pyorderbook": "0.4.9",
    "obook": "0.1.0",
    "fastlob": "0.0.24",
    "lightmatchingengine": "2019.1.4",
}
ABOUT = {
    "nanobook": "Rust",
    "limit-order-book": "C++, ctypes",
    "litebook": "Rust, floats",
    "cython-orderbook": "Cython",
    "pyorderbook": "Python",
    "obook": "Go, ctypes",
    "fastlob": "Python",
    "lightmatchingengine": "Python",
}
FOLDER = Path("var/bench-peers")
INSTALL_LIMIT_S, RUN_LIMIT_S = 60, 15


@dataclass(frozen=True, slots=True)
class Asked:
    """A workload in the peers' words, and what each of its timed commands traded with us."""

    commands: bytes
    prefill: int
    traded: tuple[Traded, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """How far a peer came: ns per command of CPU, and what it traded or what went wrong."""

    name: str
    done: int
    ns_per_command: int
    traded: tuple[Traded, ...]
    trouble: str

    def conformance(self, ours: tuple[Traded, ...]) -> str:
        """Return the conformance line."""
        if self.trouble:
            return self.trouble
        if UNKNOWN in self.traded[0]:
            return "returns no trades"
        pairs = list(zip(self.traded, ours, strict=True))
        same = sum(theirs == mine for theirs, mine in pairs)
        lots = sum(theirs[0] == mine[0] for theirs, mine in pairs)
        trading = [(theirs, mine) for theirs, mine in pairs if mine[0] > 0]
        equal = sum(theirs == mine for theirs, mine in trading)
        text = f"conforms: {_percent(same, len(pairs))} of commands trade the same, {equal:,} of "
        text += f"{len(trading):,} that trade"
        other_prices = _percent(lots, len(pairs)) != _percent(same, len(pairs))
        return text + (f" ({_percent(lots, len(pairs))} the same lots)" if other_prices else "")


def _percent(part: int, whole: int) -> str:
    return f"{part * 1000 // whole / 10} %"


def asked_of(work: Workload, opened: Engine, opening_events: list[Event], timed: int) -> Asked:
    """Translate a workload: `opened` stands after its opening, which caused `opening_events`."""
    keys: dict[int, int] = {}
    opening = list(_translated(unpack_commands(work.opening), opening_events, keys, 1))
    first = opened.sequence + 1
    records = work.timed[: timed * RECORD_BYTES]
    events = unpack_events(opened.apply_records(records, first_sequence=first, time_ns=NOW_NS))
    found = list(_translated(unpack_commands(records), events, keys, first))
    return Asked(
        commands=b"".join(COMMAND.pack(*command) for command, _ in (*opening, *found)),
        prefill=len(opening),
        traded=tuple(traded for _, traded in found),
    )


Said = tuple[int, int, int, int, int, int]


def _translated(
    commands: list[Command], events: list[Event], keys: dict[int, int], first: int
) -> list[tuple[Said, Traded]]:
    """Return what peers are told of these commands; `keys` are their names for our order ids."""
    caused: list[list[Event]] = [[] for _ in commands]
    for event in events:
        caused[event.sequence - first].append(event)
    found: list[tuple[Said, Traded]] = []
    for command, answers in zip(commands, caused, strict=True):
        trades = [event for event in answers if isinstance(event, Trade)]
        traded = (
            sum(trade.quantity_lots for trade in trades),
            sum(trade.quantity_lots * trade.price_ticks for trade in trades),
        )
        said = _said(command, answers[0], keys)
        if said is not None:
            found.append((said, traded))
    return found


def _said(command: Command, answer: Event, keys: dict[int, int]) -> Said | None:
    match command:
        case PlaceOrder():
            assert isinstance(answer, OrderAccepted), answer
            key = keys[answer.order_id] = len(keys) + 1
            verb = PLACE if command.tif is TimeInForce.GTC else PLACE_IOC
            price, lots = command.price_ticks, command.quantity_lots
            return verb, command.side, key, price, lots, command.customer_no
        case CancelOrder():
            return CANCEL, 0, keys[command.order_id], 0, 0, command.customer_no
        case ReplaceOrder() if not isinstance(answer, OrderRejected):
            assert isinstance(answer, OrderReplaced), answer
            key = keys[command.order_id]
            return REPLACE, 0, key, command.price_ticks, answer.remaining_lots, command.customer_no
        case _:
            return None


def install(name: str, version: str) -> str:
    """Install a peer at a version; return what went wrong, empty when nothing did."""
    python = FOLDER / "venv" / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    stamp = FOLDER / f"{name}-{version}.installed"
    if stamp.exists() and python.exists():
        return ""
    commands: list[list[str | Path]] = [
        [uv, "pip", "install", "--quiet", "--python", python, f"{name}=={version}"]
    ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not python.exists():
        commands.insert(0, [uv, "venv", "--quiet", "--python", sys.executable, FOLDER / "venv"])
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"not installed in {INSTALL_LIMIT_S} s"
        if done.returncode:
            return f"not installed: {' '.join(done.stderr.split())[:120]}"
    stamp.touch()
    return ""


def run(name: str, asked: Asked) -> Ran:
    """Run a peer on what is asked, within the limit."""
    trouble = install(name, VERSIONS[name])
    if trouble:
        return Ran(name, 0, 0, (), trouble)
    commands, results = FOLDER / "commands", FOLDER / f"{name}.results"
    commands.write_bytes(asked.commands)
    results.unlink(missing_ok=True)
    program = Path(__file__).parent / "peers_run.py"
    words = [FOLDER / "venv" / "bin" / "python", program, name, commands, asked.prefill, results]
    began = time.monotonic()
    with subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            out, error = child.communicate(timeout=RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            out, error = child.communicate()
    lines = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    last = lines[-1] if lines else {"done": 0, "ns": 0, "timed": True}
    done, ns = last["done"], last["ns"]
    per_command = ns // done if done else 0
    if not results.exists():
        limit = time.monotonic() - began >= RUN_LIMIT_S
        why = (error.strip().splitlines() or [f"ended with {child.returncode}"])[-1][:80]
        how = f"hangs or is too slow: stopped after {RUN_LIMIT_S} s" if limit else f"breaks: {why}"
        where = "" if last["timed"] else " of the opening"
        return Ran(name, done, per_command, (), f"{how}, beyond command {done:,}{where}")
    traded = tuple(RESULT.iter_unpack(results.read_bytes()))
    assert len(traded) == len(asked.traded)
    return Ran(name, done, per_command, traded, "")
