"""Many callers, one writer: queues, batches, and the end of a thread."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.errors import Corrupt, OutcomeUnknown, Refused, Unavailable
from engine.applied import AppliedBlock
from engine.commands import AddAsset, CancelAll
from engine.events import Credited
from engine.files import DiskStorage
from engine.journal import JournalReader
from engine.recovery import recover
from engine.sequencer import Sequencer
from engine.snapshot import snapshot_names
from tests.unit.engine.rooms import Room, credit, nothing
from tests.unit.engine.world import QUOTE


def test_many_callers_share_blocks_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    storage = DiskStorage(tmp_path)
    sequencer = recover(storage, epoch=1, clock=SystemClock(), lease=nothing)
    sequencer.execute([AddAsset(asset_no=QUOTE)])
    sequencer.start()
    failures: list[object] = []

    def call(customer_no: int) -> None:
        for _ in range(50):
            [event] = sequencer.submit(CancelAll(customer_no=customer_no)).result(timeout=30)
            if getattr(event, "customer_no", None) != customer_no:
                failures.append(event)

    callers = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    sequencer.stop()
    assert failures == []
    blocks = list(JournalReader(storage).blocks_from(0))
    assert sum(block.count for block in blocks) == 401
    assert max(block.count for block in blocks) > 1


def test_submitted_commands_keep_their_order_and_a_gap_fails_alone() -> None:
    room = Room()
    room.open_market()
    room.sequencer.start()
    futures = [room.sequencer.submit(credit(number)) for number in (1, 2, 7, 3)]
    assert [type(futures[n].result(10)[0]) for n in (0, 1, 3)] == [Credited] * 3
    with pytest.raises(Corrupt):
        futures[2].result(10)
    room.sequencer.stop()


def test_submit_answers_with_what_went_wrong() -> None:
    room = Room()
    with pytest.raises(Unavailable, match="not run"):
        room.sequencer.submit(credit(1)).result(10)
    room.sequencer.start()
    with pytest.raises(Refused):
        room.sequencer.submit(credit(1, 1 << 96)).result(10)
    room.storage.fail("sync")
    with pytest.raises(Unavailable):
        room.sequencer.submit(AddAsset(asset_no=QUOTE)).result(10)
    room.sequencer.submit(AddAsset(asset_no=QUOTE)).result(10)
    assert isinstance(room.sequencer.submit(credit(1)).result(10)[0], Credited)
    room.sequencer.stop()
    with pytest.raises(Unavailable):
        room.sequencer.submit(credit(2)).result(10)
    with pytest.raises(Unavailable):
        room.sequencer.execute([credit(2)])


def _slow_sync(room: Room) -> tuple[threading.Event, threading.Event]:
    """Let every sync say that it began, and wait until it may go on."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(operation: str, name: str) -> None:
        if operation == "sync":
            entered.set()
            go_on.wait(10)

    room.storage.before_operation = slow
    return entered, go_on


def test_who_comes_to_a_full_queue_is_told_to_come_again() -> None:
    room = Room(queue_max=2)
    room.open_market()
    entered, go_on = _slow_sync(room)
    room.sequencer.start()
    first = room.sequencer.submit(CancelAll(customer_no=1))
    assert entered.wait(10)
    later = [room.sequencer.submit(CancelAll(customer_no=n)) for n in (2, 3, 4)]
    with pytest.raises(Unavailable, match="too many"):
        later[2].result(10)
    go_on.set()
    assert all(future.result(10) for future in (first, *later[:2]))
    room.sequencer.stop()
    assert [block.count for block in JournalReader(room.storage).blocks_from(3)][-2:] == [1, 2]


def test_a_batch_that_lingers_waits_until_it_is_full_or_the_sequencer_stops() -> None:
    room = Room(batch_max=3, linger_ns=3_600 * 10**9)
    room.open_market()
    room.sequencer.start()
    futures = [room.sequencer.submit(CancelAll(customer_no=n)) for n in range(7)]
    assert all(future.result(10) for future in futures[:6])
    assert not futures[6].done()
    room.sequencer.stop()
    assert futures[6].result(10)
    blocks = [block.count for block in JournalReader(room.storage).blocks_from(0)]
    assert blocks == [3, 3, 3, 1]


def test_stopping_answers_everything_that_was_queued() -> None:
    room = Room()
    room.open_market()
    room.sequencer.start()
    futures = [room.sequencer.submit(CancelAll(customer_no=n)) for n in range(500)]
    room.sequencer.stop()
    assert all(future.result(10) for future in futures)
    assert room.journalled() == 503


def test_a_cancelled_future_is_dropped_and_harms_nobody() -> None:
    room = Room()
    room.open_market()
    entered, go_on = _slow_sync(room)
    room.sequencer.start()
    first = room.sequencer.submit(CancelAll(customer_no=1))
    assert entered.wait(10)
    second = room.sequencer.submit(CancelAll(customer_no=2))
    third = room.sequencer.submit(CancelAll(customer_no=3))
    assert second.cancel()
    go_on.set()
    assert first.result(10)
    assert third.result(10)
    room.sequencer.stop()
    assert room.journalled() == 5


def test_a_writer_thread_that_breaks_leaves_nobody_waiting() -> None:
    room = Room()
    room.open_market()
    hooked: list[object] = []

    def swallow(args: threading.ExceptHookArgs) -> None:
        hooked.append(args.exc_value)

    def broken(block: AppliedBlock) -> None:
        raise ZeroDivisionError

    room.sequencer._publish = broken
    previous, threading.excepthook = threading.excepthook, swallow
    try:
        room.sequencer.start()
        with pytest.raises(OutcomeUnknown):
            room.sequencer.submit(credit(1)).result(10)
        assert room.sequencer._thread is not None
        room.sequencer._thread.join(10)
    finally:
        threading.excepthook = previous
    assert isinstance(hooked[0], ZeroDivisionError)
    with pytest.raises(Unavailable):
        room.sequencer.submit(credit(2)).result(10)
    with pytest.raises(Unavailable):
        room.sequencer.execute([credit(2)])


def test_a_snapshot_does_not_stop_the_sequencer_and_a_failed_one_leaves_no_file() -> None:
    room = Room()
    room.open_market()
    room.storage.fail("write")
    with pytest.raises(Unavailable):
        room.sequencer.snapshot(room.storage)
    assert snapshot_names(room.storage) == []
    assert room.sequencer.commands_since_snapshot == 3
    name = room.sequencer.snapshot(room.storage)
    assert snapshot_names(room.storage) == [name]
    assert room.sequencer.commands_since_snapshot == 0
    room.sequencer.execute([credit(1)])
    assert isinstance(room.sequencer, Sequencer)
