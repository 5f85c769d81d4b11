"""Durable before answered, one writer, and nothing accepted that the books cannot follow."""

from __future__ import annotations

import pytest

from core.errors import Corrupt, OutcomeUnknown, Refused, Unavailable
from engine.blocks import BLOCK_RECORDS_MAX
from engine.commands import AddAsset, CancelAll, Command
from engine.events import Credited, FundingRepeated
from engine.journal import JournalReader
from engine.records import RECORD_BYTES, pack_command, unpack_events
from engine.recovery import ReferenceFactory, replay
from tests.unit.engine.rooms import Room, credit
from tests.unit.engine.world import ALICE, BASE, QUOTE


def test_a_batch_is_one_block_one_sync_and_one_list_of_events_per_command() -> None:
    room = Room()
    room.open_market()
    before = room.storage.operations["sync"]
    answers = room.sequencer.execute([credit(1), credit(2), CancelAll(customer_no=ALICE)])
    assert room.storage.operations["sync"] == before + 1
    assert [len(events) for events in answers] == [1, 1, 1]
    [block] = room.sequencer.log.blocks_after(3, 10)
    assert block == room.published[-1]
    assert (block.first_sequence, block.last_sequence, block.epoch) == (4, 6, 1)
    assert block.events == tuple(event for events in answers for event in events)
    assert block.projected == room.sequencer.position
    assert room.sequencer.execute([]) == []


def test_columns_of_records_go_the_same_road_and_come_back_as_event_records() -> None:
    room, twin = Room(), Room()
    commands: list[Command] = [AddAsset(asset_no=QUOTE), credit(1), CancelAll(customer_no=ALICE)]
    answered = room.sequencer.execute_records(b"".join(map(pack_command, commands)))
    answers = twin.sequencer.execute(commands)
    assert unpack_events(answered) == [event for events in answers for event in events]
    [block] = room.published
    assert block.event_records == answered
    assert block.event_count == 3
    assert block.answers() == answers
    assert block.events is block.events
    assert room.sequencer.position == twin.sequencer.position
    assert room.sequencer.execute_records(b"") == b""


@pytest.mark.parametrize(
    "bad",
    [b"\xff" * 64, bytes(63), pack_command(credit(3)), pack_command(AddAsset(asset_no=1))[:9]],
)
def test_columns_that_the_engine_would_not_take_do_not_even_reach_the_journal(bad: bytes) -> None:
    room = Room()
    room.open_market()
    with pytest.raises(Corrupt):
        room.sequencer.execute_records(pack_command(credit(1)) + bad)
    assert room.journalled() == 3
    with pytest.raises(Refused, match="too_large"):
        room.sequencer.execute_records(bytes((BLOCK_RECORDS_MAX + 1) * RECORD_BYTES))
    assert len(room.sequencer.execute_records(pack_command(credit(1)))) == RECORD_BYTES


def test_an_image_is_what_the_dump_was_and_outlives_what_the_engine_does_next() -> None:
    room = Room()
    room.open_market()
    with room.sequencer.reading() as engine:
        image, dump = engine.copy_image(), engine.dump()
    room.sequencer.execute([credit(1)])
    with room.sequencer.reading() as engine:
        assert image.dump() == dump != engine.dump()


def test_nothing_is_applied_or_published_before_the_block_is_durable() -> None:
    room = Room()
    room.open_market()
    seen: list[tuple[str, int, int]] = []

    def watch(operation: str, name: str) -> None:
        with room.sequencer.reading() as engine:
            seen.append((operation, engine.sequence, room.sequencer.log.last_sequence))

    room.storage.before_operation = watch
    room.sequencer.execute([credit(1)])
    assert seen == [("append", 3, 3), ("sync", 3, 3)]


def test_the_lease_is_checked_after_the_sync_and_before_the_answer() -> None:
    order: list[str] = []
    room = Room(lease=lambda: order.append("lease"))
    room.storage.before_operation = lambda operation, name: order.append(operation)
    room.sequencer.execute([AddAsset(asset_no=BASE)])
    assert order == ["append", "sync", "lease"]


def test_who_lost_the_lease_answers_nobody_and_publishes_nothing_ever_again() -> None:
    def lost() -> None:
        raise Unavailable("the lease is lost")

    room = Room(lease=lost)
    with pytest.raises(OutcomeUnknown, match="lease"):
        room.sequencer.execute([AddAsset(asset_no=BASE)])
    assert room.published == []
    with room.sequencer.reading() as engine:
        assert engine.sequence == 0
    with pytest.raises(Unavailable, match="stopped"):
        room.sequencer.execute([AddAsset(asset_no=BASE)])
    assert room.journalled() == 1
    assert isinstance(room.sequencer.failure, Unavailable)


def test_block_time_never_goes_back() -> None:
    room = Room()
    room.open_market()
    room.clock.step(-3_600 * 10**9)
    room.sequencer.execute([credit(1)])
    times = [block.time_ns for block in JournalReader(room.storage).blocks_from(0)]
    assert times[0] == times[1]
    room.clock.step(7_200 * 10**9)
    room.sequencer.execute([credit(2)])
    assert room.published[-1].time_ns == room.clock.now_ns() > times[1]


def test_when_the_books_lag_too_far_nothing_is_accepted_until_they_follow() -> None:
    room = Room(lag=4)
    room.open_market()
    room.sequencer.execute([credit(1), credit(2)])
    with pytest.raises(Unavailable, match="5 events behind"):
        room.sequencer.execute([credit(3)])
    assert room.journalled() == 5
    room.sequencer.log.mark_projected(3)
    assert isinstance(room.sequencer.execute([credit(3)])[0][0], Credited)


def test_L10_a_gap_in_funding_numbers_does_not_even_reach_the_journal() -> None:
    room = Room()
    room.open_market()
    with pytest.raises(Corrupt, match="follows 1"):
        room.sequencer.execute([credit(1), credit(3)])
    assert room.journalled() == 3
    answers = room.sequencer.execute([credit(1), credit(2), credit(1, 7)])
    assert [type(events[0]) for events in answers] == [Credited, Credited, FundingRepeated]


def test_a_command_that_fits_no_record_is_refused_before_anything_happens() -> None:
    room = Room()
    with pytest.raises(Refused, match="amount_out_of_range"):
        room.sequencer.execute([credit(1, 1 << 96)])
    with pytest.raises(Refused, match="too_large"):
        room.sequencer.execute([CancelAll(customer_no=1)] * (BLOCK_RECORDS_MAX + 1))
    assert room.journalled() == 0


def test_a_full_disk_refuses_and_the_work_resumes_by_itself() -> None:
    room = Room()
    room.open_market()
    room.storage.capacity_bytes = 600
    with pytest.raises(Unavailable):
        room.sequencer.execute([credit(1)] * 400)
    with room.sequencer.reading() as engine:
        assert engine.sequence == 3
    room.storage.capacity_bytes = None
    assert isinstance(room.sequencer.execute([credit(1)])[0][0], Credited)
    assert room.journalled() == 4


def test_an_engine_without_room_is_unavailable_before_anything_is_journalled() -> None:
    room = Room()
    room.open_market()
    asked: list[int] = []

    def full(commands: int) -> bool:
        asked.append(commands)
        return False

    with room.sequencer.reading() as engine:
        engine.has_room = full  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="memory"):
        room.sequencer.execute([credit(1), credit(2)])
    with pytest.raises(Unavailable, match="memory"):
        room.sequencer.execute_records(pack_command(credit(1)))
    assert (asked, room.journalled()) == ([2, 1], 3)
    with room.sequencer.reading() as engine:
        del engine.has_room
    assert room.sequencer.execute([credit(1)])


def test_after_a_failed_sync_the_commands_can_be_sent_again() -> None:
    room = Room()
    room.open_market()
    room.storage.fail("sync")
    with pytest.raises(Unavailable):
        room.sequencer.execute([credit(1)])
    assert isinstance(room.sequencer.execute([credit(1)])[0][0], Credited)
    room.storage.crash()
    engine, _, _ = replay(room.storage, factory=ReferenceFactory())
    assert engine.sequence == 4
    assert engine.balances(ALICE)[QUOTE].available == 5
