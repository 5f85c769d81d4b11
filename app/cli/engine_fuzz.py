"""`strongroom engine fuzz`: both engines under every weather; the smallest difference is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from app.cli.output import Exit, emit, fail, say
from app.cli.progress import Told, progress
from engine.events import Event
from engine.laboratory.differential import (
    Difference,
    Pair,
    compare_engines,
    reference_and_native,
    shrink,
)
from engine.laboratory.recording import record, write_recording
from engine.laboratory.weather import WEATHER, Rough

COMMANDS_SHOWN = 40


def weathers(name: str | None) -> Sequence[type[Rough]]:
    """Return the weather of a name, or all. Fails: there is no such weather."""
    found = [weather for weather in WEATHER if name in (None, weather.__name__)]
    if not found:
        names = ", ".join(weather.__name__ for weather in WEATHER)
        fail(Exit.USAGE, f"no such weather; there are: {names}", reason="malformed")
    return found


def fuzz(
    seeds: range,
    chosen: Sequence[type[Rough]],
    commands: int,
    folder: Path,
    pair: Pair = reference_and_native,
) -> None:
    """Compare the engines; exit 1 with a recording of the first difference, made small."""
    rows: list[dict[str, object]] = []
    for seed in seeds:
        for weather in chosen:
            seen: Counter[type[Event]] = Counter()
            with progress(f"seed {seed}, {weather.__name__}", commands) as told:
                found = _compared(weather, seed, commands, pair, seen, told)
            if found is not None:
                _give_up(found, folder, pair)
            rows.append(
                {
                    "seed": seed,
                    "weather": weather.__name__,
                    "commands": commands,
                    "events": seen.total(),
                    "kinds_of_events": len(seen),
                }
            )
    emit(rows)
    say(f"no difference in {len(rows) * commands:,} commands")


def _compared(
    weather: type[Rough],
    seed: int,
    commands: int,
    pair: Pair,
    seen: Counter[type[Event]],
    told: Told,
) -> Difference | None:
    def saw(events: list[Event]) -> None:
        seen.update(map(type, events))
        told(min(events[-1].sequence, commands))

    return compare_engines(weather, seed, commands, pair, saw=saw)


def _give_up(found: Difference, folder: Path, pair: Pair) -> None:
    where = f"{found.weather}, seed {found.seed}"
    say(f"{where}: a difference within {len(found.steps):,} commands, being made small")
    with progress("commands left") as told:
        small = shrink(found, pair, told=told)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"difference-{found.weather}-{found.seed}.recording"
    write_recording(
        path,
        record(
            f"{small.weather} {small.seed}"[:32], small.batches(), seed=small.seed,
            limits=small.limits,
        ),
    )  # fmt: skip
    emit(
        [
            {"sequence": number, "time_ns": step.time_ns, "command": step.command}
            for number, step in enumerate(small.steps, 1)
        ][-COMMANDS_SHOWN:]
    )
    say(
        f"{len(small.steps)} commands show it; again: strongroom engine replay {path} --engine both"
    )
    fail(Exit.FAILED, f"{where}: {small.what}", reason="engines_differ", has_data=True)
