"""The engine against its goals, every row from one run on one machine.

In core: beside a textbook engine of std::map and std::list whose events are compared byte for byte,
and the floor that touches the same lines of memory without any logic (tests/benchmarks/native).
Through Python: beside every matching engine that PyPI has, on the same commands, each with its
conformance. Durable: beside what the disk alone takes. Sizes and times beside what was promised.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator

from core.clock import SECOND_NS
from engine.factory import EngineKind, engine_factory
from engine.laboratory import measuring
from engine.laboratory.workloads import NOW_NS, Workload, make
from engine.native.engine import NativeEngine
from engine.records import unpack_events
from engine.reference import ReferenceEngine
from tests.benchmarks import engine_durable, engine_sizes, peers
from tests.benchmarks.engine_native import BATCH, Native, asked, built, written
from tests.benchmarks.engine_profile import profile
from tests.benchmarks.measure import Contest, Fact, Row

WORKLOADS = {
    "w1": "one market, 50 000 resting",
    "w100": "a hundred markets, 200 000 resting",
    "adv": "500 000 resting, far levels, one long queue",
    "crash": "one market, the price jumps",
}
COMMANDS, ROUNDS, PEER_COMMANDS = 500_000, 5, 50_000
OF_TEXTBOOK, OF_FLOOR, OF_PEERS = 2.3, 2.0, 9
PYTHON_OF_CORE, CALL_NS_MOST = 1.4, 200
SAME_COMMANDS = 2_000
"""Drawn by both languages beyond the opening, to see that they draw the same."""


def contests(stack: contextlib.ExitStack) -> Iterator[Contest | Row | Fact]:
    """Yield every row of the job."""
    programs = built()
    for name, what in WORKLOADS.items():
        yield _in_core(programs, name, what)
    yield _same_commands(programs)
    work = written(programs, "w1", COMMANDS)
    yield from _through_python(programs, work)
    yield from _peers(work)
    yield from engine_durable.rows(stack, programs, work)
    yield from engine_sizes.rows()


def _in_core(programs: Native, name: str, what: str) -> Row:
    found = asked(programs.bench, name, COMMANDS, BATCH, ROUNDS)
    floor = asked(programs.floor, name, COMMANDS, ROUNDS)
    ours_ns, peer_ns, floor_ns = found["ours_ns"], found["textbook_ns"], floor["floor_ns"]
    assert found["equal"], f"the textbook's events on {name} are others"
    met = ours_ns * OF_TEXTBOOK <= peer_ns and ours_ns <= OF_FLOOR * floor_ns
    return Row(
        job=f"engine, {name}: {what}",
        unit="commands in core",
        ours=round(SECOND_NS / ours_ns),
        peer=round(SECOND_NS / peer_ns),
        peer_name="std::map + std::list, equal events",
        floor=round(SECOND_NS / floor_ns),
        floor_name=f"{floor['lines']} lines touched",
        goal=f"{'met' if met else 'MISSED'}: >= {OF_TEXTBOOK} x peer, time <= {OF_FLOOR} x floor; "
        f"{ours_ns} ns, {peer_ns / ours_ns:.1f} x, {ours_ns / floor_ns:.1f} x"
        + ("" if met else f"; {profile(programs, name)}"),
    )


def _same_commands(programs: Native) -> Fact:
    """See that `strongroom engine bench` asks what is asked here."""
    equal = {
        name: written(programs, name, SAME_COMMANDS)
        == make(name, seed=1, commands=SAME_COMMANDS, engine=NativeEngine())
        for name in WORKLOADS
    }
    return Fact(
        job="engine, workloads",
        what="drawn by C++ and by engine.laboratory",
        ours=", ".join(f"{name} {'equal' if same else 'other'}" for name, same in equal.items()),
        beside="",
        goal="equal bytes",
        is_met=all(equal.values()),
    )


# ---- through Python


def _through_python(programs: Native, work: Workload) -> Iterator[Contest | Row]:
    for batch, count in ((8192, COMMANDS), (BATCH, COMMANDS), (1, COMMANDS // 5)):
        ours, core = [], []
        for _ in range(ROUNDS):
            core.append(asked(programs.bench, "w1", count, BATCH, 1)["ours_ns"])
            ours.append(_ns_per_command(work, batch, count))
        ours_ns, core_ns = statistics.median(ours), statistics.median(core)
        limit_ns = CALL_NS_MOST if batch == 1 else PYTHON_OF_CORE * core_ns
        wanted = f"< {CALL_NS_MOST} ns a call" if batch == 1 else f"time <= {PYTHON_OF_CORE} x core"
        yield Row(
            job="engine, w1, through Python",
            unit=f"commands, {batch} a call",
            ours=round(SECOND_NS / ours_ns),
            peer=_reference_rate(work) if batch == 8192 else None,
            peer_name="reference engine" if batch == 8192 else "",
            floor=round(SECOND_NS / core_ns),
            floor_name="in core, 1024 a batch",
            goal=f"{'met' if ours_ns <= limit_ns else 'MISSED'}: {wanted}; {ours_ns:.0f} ns, "
            f"{ours_ns / core_ns:.2f} x"
            + (f"; a call with nothing in it {_empty_call_ns():.0f} ns" if batch == 1 else ""),
        )


def _ns_per_command(work: Workload, batch: int, count: int) -> float:
    engine = NativeEngine()
    assert engine.reserve(work.opening_count + work.count)  # as the rows in core do, at start
    measuring.opened(engine, work)
    pieces = measuring.pieces_of(work.timed[: count * 64], batch)
    apply, sequence = engine.apply_records, engine.sequence + 1
    before = time.process_time_ns()
    for piece in pieces:
        apply(piece, first_sequence=sequence, time_ns=NOW_NS)
        sequence += batch
    return (time.process_time_ns() - before) / count


def _empty_call_ns() -> float:
    engine, count = NativeEngine(), COMMANDS // 5
    apply = engine.apply_records
    before = time.process_time_ns()
    for _ in range(count):
        apply(b"", first_sequence=1, time_ns=NOW_NS)
    return (time.process_time_ns() - before) / count


def _reference_rate(work: Workload) -> int:
    count = 5_000
    engine = ReferenceEngine.load(measuring.opened(NativeEngine(), work).dump())
    timed = measuring.in_batches(engine, work, BATCH, commands=count)
    return count * SECOND_NS // timed.cpu_ns


# ---- beside PyPI


def _peers(work: Workload) -> Iterator[Row]:
    engine, events = engine_factory(EngineKind.NATIVE).new(), []
    for piece in measuring.pieces_of(work.opening, measuring.OPENING_BATCH):
        first = engine.sequence + 1
        events += unpack_events(engine.apply_records(piece, first_sequence=first, time_ns=NOW_NS))
    asked_of = peers.asked_of(work, engine, events, PEER_COMMANDS)
    for name in peers.VERSIONS:
        batch_ns = _ns_per_command(work, BATCH, PEER_COMMANDS)
        call_ns = _ns_per_command(work, 1, PEER_COMMANDS)
        ran = peers.run(name, asked_of)
        yield _peer_row(ran, batch_ns, call_ns, ran.conformance(asked_of.traded))


def _peer_row(ran: peers.Ran, batch_ns: float, call_ns: float, conformance: str) -> Row:
    title = f"{ran.name} {peers.VERSIONS[ran.name]} ({peers.ABOUT[ran.name]})"
    if not ran.ns_per_command:
        verdict = f"no figure: {conformance}"
    else:
        times = ran.ns_per_command / batch_ns
        verdict = (
            f"{'met' if times >= OF_PEERS else 'MISSED'}: >= {OF_PEERS} x in batches; "
            f"{times:.0f} x, call by call {ran.ns_per_command / call_ns:.1f} x; {conformance}"
        )
    return Row(
        job="engine, w1, beside PyPI",
        unit=f"commands, {BATCH} a call",
        ours=round(SECOND_NS / batch_ns),
        peer=SECOND_NS // ran.ns_per_command if ran.ns_per_command else None,
        peer_name=title,
        floor=None,
        floor_name="",
        goal=verdict,
    )
