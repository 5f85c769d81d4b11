"""The event log: blocks in order, until the books have them."""

from __future__ import annotations

import pytest

from core.errors import Corrupt
from engine.applied import AppliedBlock
from engine.eventlog import EventLog
from engine.events import Credited, Event
from engine.records import pack_event


def block(first: int, last: int, events: int = 1) -> AppliedBlock:
    """Return a block with so many events."""
    event: Event = Credited(sequence=last, number=1, customer_no=1, asset_no=1, amount=1)
    return AppliedBlock(
        epoch=1,
        first_sequence=first,
        last_sequence=last,
        time_ns=0,
        hash=bytes(32),
        event_records=pack_event(event) * events,
    )


def test_the_log_gives_blocks_after_a_position_and_drops_what_is_projected() -> None:
    log = EventLog(projected_sequence=4)
    for first, last in ((5, 6), (7, 7), (8, 12)):
        log.append(block(first, last, events=2))
    assert [b.first_sequence for b in log.blocks_after(4, 2)] == [5, 7]
    assert [b.first_sequence for b in log.blocks_after(6, 9)] == [7, 8]
    assert log.pending_events == 6
    log.mark_projected(7)
    assert (log.projected_sequence, log.pending_events, log.last_sequence) == (7, 2, 12)
    log.mark_projected(6)
    assert log.projected_sequence == 7
    assert [b.first_sequence for b in log.blocks_after(7, 9)] == [8]
    log.mark_projected(12)
    assert log.blocks_after(12, 9) == []


def test_the_log_refuses_gaps_the_future_and_the_dropped_past() -> None:
    log = EventLog()
    log.append(block(1, 2))
    with pytest.raises(Corrupt):
        log.append(block(4, 5))
    with pytest.raises(Corrupt):
        log.mark_projected(3)
    log.mark_projected(2)
    with pytest.raises(Corrupt):
        log.blocks_after(1, 9)
