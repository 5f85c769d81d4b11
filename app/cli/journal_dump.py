"""Journalled commands and their events as lines, for people and for programs."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.api.units import client_order_id, instant, order_id
from engine.commands import Command
from engine.events import Event
from engine.factory import engine_factory
from engine.files import DiskStorage
from engine.history import Replay
from engine.journal import JournalReader

_WORD = re.compile(r"(?<!^)(?=[A-Z])")
_AMOUNTS = frozenset({"amount", "amount_taken", "shortfall", "tick_minor", "lot_minor"})
_ORDERS = frozenset({"order_id", "taker_order_id", "maker_order_id"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """One command, where it stands, and (if asked for) what it caused."""

    sequence: int
    epoch: int
    time_ns: int
    command: Command
    events: tuple[Event, ...] | None


def dumped(folder: Path, *, first: int, last: int | None, with_events: bool) -> Iterator[Dumped]:
    """Yield the commands from one sequence to another; one block is in memory at a time.

    With events the engine is rebuilt from the newest snapshot before the first of them. Corrupt:
    the journal is damaged, naming segment and offset.
    """
    storage = DiskStorage(folder)
    if not with_events:
        for block in JournalReader(storage).blocks_from(first - 1):
            if last is not None and block.first_sequence > last:
                return
            for sequence, command in enumerate(block.commands(), block.first_sequence):
                if first <= sequence and (last is None or sequence <= last):
                    yield Dumped(
                        sequence=sequence, epoch=block.epoch, time_ns=block.time_ns,
                        command=command, events=None,
                    )  # fmt: skip
        return
    for replayed in Replay(storage, factory=engine_factory(), after=first - 1).blocks():
        block = replayed.block
        if last is not None and block.first_sequence > last:
            return
        if block.last_sequence < first:
            continue
        commands = zip(block.commands(), replayed.applied.answers(), strict=True)
        for sequence, (command, events) in enumerate(commands, block.first_sequence):
            if first <= sequence and (last is None or sequence <= last):
                yield Dumped(
                    sequence=sequence, epoch=block.epoch, time_ns=block.time_ns,
                    command=command, events=tuple(events),
                )  # fmt: skip


def lines_for_people(each: Dumped) -> Iterator[str]:
    """Yield a line for the command and an indented one per event."""
    yield f"{each.sequence:>10}  {instant(each.time_ns)}  {_line(each.command, ())}"
    for event in each.events or ():
        yield f"{'->':>13} {_line(event, ('sequence',))}"


def line_for_programs(each: Dumped) -> str:
    """Return a JSON object on one line. Amounts and ids are texts, as in the API."""
    found: dict[str, object] = {
        "sequence": each.sequence,
        "epoch": each.epoch,
        "time": instant(each.time_ns),
        "command": {"name": _name(each.command), **_fields(each.command, ())},
    }
    if each.events is not None:
        found["events"] = [
            {"name": _name(event), **_fields(event, ("sequence",))} for event in each.events
        ]
    return json.dumps(found)


def _line(value: Command | Event, without: Sequence[str]) -> str:
    fields = " ".join(f"{name}={_plain(field)}" for name, field in _fields(value, without).items())
    return f"{_name(value):<18} {fields}".rstrip()


def _plain(field: object) -> object:
    return ("yes" if field else "no") if isinstance(field, bool) else field


def _name(value: Command | Event) -> str:
    return _WORD.sub("_", type(value).__name__).lower()


def _fields(value: Command | Event, without: Sequence[str]) -> dict[str, object]:
    return {
        field.name: _shown(field.name, getattr(value, field.name))
        for field in dataclasses.fields(value)
        if field.name not in without
    }


def _shown(name: str, value: object) -> object:
    if isinstance(value, enum.IntEnum):
        return value.name.lower()
    assert isinstance(value, int)
    if name in _AMOUNTS:
        return str(value)
    if name in _ORDERS:
        return order_id(value)
    return client_order_id(value) if name == "client_order_id" else value
