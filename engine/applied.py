"""What an applied journal block is to everybody behind the engine: event records, decoded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from engine.events import Event, Projected
from engine.records import RECORD_BYTES, unpack_events


@dataclass(frozen=True, kw_only=True)
class AppliedBlock:
    """One durable journal block and all it caused. `hash` is the running hash after it.

    The events are kept as the columns the engine gave. Who asks for objects gets them decoded, once
    for all who ask; a block that nobody looks into costs nothing.
    """

    epoch: int
    first_sequence: int
    last_sequence: int
    time_ns: int
    hash: bytes
    event_records: bytes

    @property
    def event_count(self) -> int:
        """Return how many events there are, without decoding one."""
        return len(self.event_records) // RECORD_BYTES

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Return the events in order. Corrupt: a record this program does not know."""
        return tuple(unpack_events(self.event_records))

    @property
    def projected(self) -> Projected:
        """Return what the projector stores once it has posted this block."""
        return Projected(epoch=self.epoch, sequence=self.last_sequence, hash=self.hash)

    def answers(self) -> list[list[Event]]:
        """Return what each command of the block caused, by position."""
        found: list[list[Event]] = [[] for _ in range(self.first_sequence, self.last_sequence + 1)]
        for event in self.events:
            found[event.sequence - self.first_sequence].append(event)
        return found
