"""Two engines under the same weather: where they first disagree, and how few commands show it.

What is found is shrunk by leaving commands out. Leaving one out moves every sequence after it, so
what later commands refer to (an order, a hold, a number of funding) is named by the command that
made it, and told again with the names it has in the shorter story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from core.entropy import SeededDice
from core.errors import Corrupt
from engine.base import Engine, Limits
from engine.commands import (
    CancelOrder,
    Capture,
    Command,
    Credit,
    Debit,
    Hold,
    Release,
    ReplaceOrder,
)
from engine.events import Event, OrderAccepted
from engine.factory import EngineKind, engine_factory
from engine.laboratory.recording import Batch
from engine.laboratory.weather import Rough
from engine.records import pack_command, pack_event, unpack_events

BATCH_MAX = 120
TRIALS_MOST = 1_500
"""Shorter stories that are tried before the shortest so far has to do."""

Pair = Callable[[Limits], tuple[Engine, Engine]]
"""Makes the specification and the engine that is compared with it, both new."""
Funding = Credit | Debit | Hold | Capture | Release


def reference_and_native(limits: Limits) -> tuple[Engine, Engine]:
    """Return the two engines of the product. Unavailable: native is not built."""
    return (
        engine_factory(EngineKind.REFERENCE, limits).new(),
        engine_factory(EngineKind.NATIVE, limits).new(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command, when it is applied, and with which others in one call."""

    command: Command
    time_ns: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A story whose last batch the engines answer differently."""

    weather: str
    seed: int
    limits: Limits
    what: str
    steps: tuple[Step, ...]

    def batches(self) -> Iterator[Batch]:
        """Yield the story as it is applied."""
        for group in _grouped(self.steps):
            records = b"".join(pack_command(step.command) for step in group)
            yield Batch(time_ns=group[0].time_ns, records=records)


def compare_engines(
    weather: type[Rough],
    seed: int,
    commands: int,
    pair: Pair = reference_and_native,
    *,
    saw: Callable[[list[Event]], None] = lambda _: None,
    after_batch: Callable[[Engine, Engine], None] = lambda _specification, _tested: None,
) -> Difference | None:
    """Draw commands and apply them to both engines; None when all events and states are equal.

    `saw` hears the specification's events of each batch; `after_batch` gets both engines.
    """
    dice, drawn = SeededDice(seed), weather(seed)
    specification, tested = pair(weather.limits)
    opening, steps = list(drawn.opening()), list[Step]()
    while specification.sequence < len(opening) + commands:
        first, batch, expected = specification.sequence + 1, list[Step](), list[Event]()
        for _ in range(dice.randrange(1, BATCH_MAX)):
            at = specification.sequence
            command = opening[at] if at < len(opening) else drawn.next()
            time_ns = batch[0].time_ns if batch else max(drawn.time_ns, specification.time_ns)
            events = specification.apply(command, sequence=at + 1, time_ns=time_ns)
            drawn.observe(events)
            batch.append(Step(command=command, time_ns=time_ns, batch=first))
            expected += events
        steps += batch
        what = _answered_otherwise(tested, batch, first, expected) or _state_differs(
            specification, tested
        )
        if what:
            return Difference(
                weather=weather.__name__, seed=seed, limits=weather.limits, what=what,
                steps=tuple(steps),
            )  # fmt: skip
        saw(expected)
        after_batch(specification, tested)
    return None


def _answered_otherwise(
    tested: Engine, batch: Sequence[Step], first: int, expected: Sequence[Event]
) -> str:
    records = b"".join(pack_command(step.command) for step in batch)
    try:
        answered = tested.apply_records(records, first_sequence=first, time_ns=batch[0].time_ns)
    except Corrupt as error:
        return f"the batch at {first} is not taken: {error}"
    if answered == b"".join(map(pack_event, expected)):
        return ""
    found = unpack_events(answered)
    for wanted, got in zip(expected, found, strict=False):
        if wanted != got:
            return f"{wanted} became {got}"
    return f"{len(expected)} events became {len(found)}"


def _state_differs(specification: Engine, tested: Engine) -> str:
    if specification.state_hash() == tested.state_hash():
        return ""
    return f"the states at {specification.sequence} differ"


# ---- shrinking


@dataclass(frozen=True, slots=True)
class _Made:
    """What a step of the whole story made or refers to, by the number of a step."""

    order: int | None = None
    """The step that placed the order it names."""
    number: int | None = None
    """The step that first used its number of funding; itself when it is new."""
    hold: int | None = None
    """The step whose hold it ends."""


def shrink(
    found: Difference,
    pair: Pair = reference_and_native,
    *,
    told: Callable[[int], None] = lambda _: None,
) -> Difference:
    """Return the shortest story found that still shows a difference, perhaps another one.

    Halves, quarters ... and at last single commands are left out for as long as that helps.
    `told` hears how many commands are left.
    """
    made = _made(found, pair)
    kept = list(range(len(found.steps)))
    if _told_again(found, made, kept, pair) is None:
        return found
    size, trials = len(kept) // 2, 0
    while size and trials < TRIALS_MOST:
        at, helped = 0, False
        while at < len(kept) and trials < TRIALS_MOST:
            shorter = kept[:at] + kept[at + size :]
            trials += 1
            again = _told_again(found, made, shorter, pair)
            if again is None:
                at += size
                continue
            # What came after the difference is no longer in it.
            kept, helped = shorter[: len(again.steps)], True
            told(len(kept))
        size = size if helped and size == 1 else size // 2
    return _told_again(found, made, kept, pair) or found


def _made(found: Difference, pair: Pair) -> list[_Made]:
    specification, _ = pair(found.limits)
    orders: dict[int, int] = {}
    numbers: dict[int, int] = {}
    made: list[_Made] = []
    for number, step in enumerate(found.steps):
        command = step.command
        order = hold = used = None
        if isinstance(command, CancelOrder | ReplaceOrder):
            order = orders.get(command.order_id)
        elif isinstance(command, Funding):
            used = numbers.setdefault(command.number, number)
            if isinstance(command, Capture | Release):
                hold = numbers.get(command.hold_number)
        for event in specification.apply(
            command, sequence=specification.sequence + 1, time_ns=step.time_ns
        ):
            if isinstance(event, OrderAccepted):
                orders[event.order_id] = number
        made.append(_Made(order=order, number=used, hold=hold))
    return made


def _told_again(
    found: Difference, made: Sequence[_Made], kept: Sequence[int], pair: Pair
) -> Difference | None:
    """Tell the kept steps with the names they have now; None when the engines agree."""
    specification, tested = pair(found.limits)
    orders: dict[int, int] = {}
    numbers: dict[int, int] = {}
    steps: list[Step] = []
    for group in _grouped_numbers(found.steps, kept):
        first, batch, expected = specification.sequence + 1, list[Step](), list[Event]()
        for number in group:
            step = found.steps[number]
            command = _renamed(
                step.command, made[number], orders, numbers, specification.funding_number
            )
            events = specification.apply(
                command, sequence=specification.sequence + 1, time_ns=step.time_ns
            )
            if isinstance(command, Funding):
                numbers.setdefault(number, command.number)
            for event in events:
                if isinstance(event, OrderAccepted):
                    orders[number] = event.order_id
            batch.append(replace(step, command=command))
            expected += events
        steps += batch
        what = _answered_otherwise(tested, batch, first, expected)
        if what:
            return replace(found, what=what, steps=tuple(steps))
    what = _state_differs(specification, tested)
    return replace(found, what=what, steps=tuple(steps)) if what else None


def _renamed(
    command: Command,
    made: _Made,
    orders: dict[int, int],
    numbers: dict[int, int],
    last_number: int,
) -> Command:
    if isinstance(command, CancelOrder | ReplaceOrder):
        known = orders.get(made.order) if made.order is not None else None
        return command if known is None else replace(command, order_id=known)
    if not isinstance(command, Funding):
        return command
    assert made.number is not None
    number = numbers.get(made.number, last_number + 1)
    if isinstance(command, Capture | Release) and made.hold is not None:
        hold_number = numbers.get(made.hold, 0)
        return replace(command, number=number, hold_number=hold_number)
    return replace(command, number=number)


def _grouped(steps: Sequence[Step]) -> Iterator[list[Step]]:
    for group in _grouped_numbers(steps, range(len(steps))):
        yield [steps[number] for number in group]


def _grouped_numbers(steps: Sequence[Step], kept: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of the kept steps, batch by batch."""
    group: list[int] = []
    for number in kept:
        if group and steps[group[0]].batch != steps[number].batch:
            yield group
            group = []
        group.append(number)
    if group:
        yield group
