"""Segments: room made ahead, the index beside them, and what a crash leaves of both (L07)."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from core.errors import Corrupt, OutcomeUnknown, Unavailable
from engine import journal_index
from engine.blocks import GENESIS, HEADER_BYTES, Segment, is_segment
from engine.events import Projected
from engine.files import DiskStorage
from engine.journal import JournalReader, verify
from engine.journal_ahead import FIRST_BYTES, STEP_BYTES
from engine.journal_index import ENTRY_EVERY_BYTES, index_name, read_index
from engine.journal_writer import Journal
from engine.records import RECORD_BYTES
from engine.simulated_files import SimulatedStorage
from tests.unit.engine.journals import copy_of, filled, last_block, records, sequences, storage_of

SMALL = 4 * FIRST_BYTES
LARGE = 2_000
"""Commands of a block of about half an index entry."""


def append(journal: Journal, commands: int) -> None:
    """Append a block whose customer numbers are its sequences."""
    first = journal.end.sequence + 1
    journal.append(records(commands, first), time_ns=first)


def indexed(storage: SimulatedStorage) -> Journal:
    """Return a journal whose first segment has an index."""
    journal = Journal(storage, epoch=1, end=GENESIS, segment_bytes_max=2 << 20)
    while len(list(filter(is_segment, storage.names()))) == 1:
        append(journal, LARGE)
    while journal.prepare():
        pass
    return journal


# ------------------------------------------------------------------------ room


def test_a_block_is_written_over_zeros_and_the_file_does_not_grow_for_it() -> None:
    storage = storage_of()
    journal = Journal(storage, epoch=1, end=GENESIS)
    [name] = storage.names()
    assert storage.size(name) == FIRST_BYTES
    storage.before_operation = lambda operation, name: seen.append(operation)
    seen: list[str] = []
    for _ in range(20):
        append(journal, 3)
    assert storage.size(name) == FIRST_BYTES
    assert set(seen) == {"append", "sync"}
    assert verify(storage).torn is None


def test_a_writer_that_catches_up_with_the_zeros_makes_room_itself() -> None:
    storage = storage_of()
    journal = Journal(storage, epoch=1, end=GENESIS)
    append(journal, 1)
    seen: list[str] = []
    storage.before_operation = lambda operation, name: seen.append(operation)
    append(journal, 5 * FIRST_BYTES // RECORD_BYTES)
    assert seen == ["zero", "append", "sync"]
    append(journal, 1)
    assert verify(storage).end == journal.end


def test_room_is_made_in_bounded_steps_and_about_twice_what_is_written() -> None:
    storage = storage_of()
    journal = Journal(storage, epoch=1, end=GENESIS)
    [name] = storage.names()
    sizes = []
    for _ in range(3):
        append(journal, 9 * FIRST_BYTES // RECORD_BYTES)
        before = storage.size(name)
        while journal.prepare():
            assert storage.size(name) - before <= STEP_BYTES
            before = storage.size(name)
        sizes.append(before)
        written = last_block(storage)[2]
        assert 2 * written <= before <= 4 * written
    assert sizes == sorted(sizes)
    assert not journal.prepare()
    assert verify(storage).end == journal.end


def test_past_half_of_a_segment_the_next_one_is_begun_beside_it_and_taken() -> None:
    storage = storage_of()
    journal = Journal(storage, epoch=1, end=GENESIS, segment_bytes_max=SMALL)
    append(journal, SMALL // RECORD_BYTES * 5 // 8)
    while journal.prepare():
        pass
    assert len(storage.names()) == 1  # nobody sees the next one yet
    seen: list[str] = []
    storage.before_operation = lambda operation, name: seen.append(operation)
    append(journal, SMALL // RECORD_BYTES // 2)
    assert "zero" not in seen
    assert storage.size(storage.names()[-1]) == SMALL
    assert verify(storage).end == journal.end
    journal.close()
    assert storage.size(storage.names()[-1]) == last_block(storage)[2]


def test_a_disk_too_full_for_the_zeros_ahead_stops_nobody_before_it_must() -> None:
    storage = storage_of()
    journal = Journal(storage, epoch=1, end=GENESIS)
    append(journal, FIRST_BYTES // RECORD_BYTES // 2)
    storage.capacity_bytes = 0
    assert not journal.prepare()
    append(journal, 4)
    with pytest.raises(Unavailable):
        append(journal, FIRST_BYTES)
    storage.capacity_bytes = None
    append(journal, FIRST_BYTES)
    assert verify(storage).end == journal.end


@pytest.mark.parametrize(
    ("operation", "latest"), [("append", 12), ("sync", 12), ("zero", 5), ("write", 2)]
)
def test_L07_no_failing_or_dying_disk_loses_what_was_appended_whatever_was_prepared(
    operation: str, latest: int
) -> None:
    died = failed = 0
    for seed in range(25):
        storage = storage_of(seed)
        durable, at = GENESIS, 0

        def die(seen: str, name: str) -> None:
            nonlocal at
            at -= seen == operation
            if at == 0 and seen == operation:
                raise SystemExit

        for epoch in range(1, 5):
            storage.before_operation = None
            storage._failures.clear()
            journal = Journal.open(storage, epoch=epoch, projected=durable, segment_bytes_max=SMALL)
            storage.before_operation, at = die, 1 + storage.below(latest)
            if storage.below(2):
                storage.fail(operation)
            try:
                for _ in range(12):
                    try:
                        append(journal, 1 + storage.below(300))
                        durable = journal.end
                        for _ in range(storage.below(3)):
                            journal.prepare()
                    except Unavailable as error:
                        failed += 1
                        if isinstance(error, OutcomeUnknown):
                            break
            except SystemExit:
                died += 1
            storage.crash()
        storage.before_operation = None
        assert verify(storage, durable).end.sequence >= durable.sequence
        found = verify(storage).end.sequence
        assert sequences(storage) == list(range(1, found + 1))
    assert died > 10
    assert failed > 10


def test_L07_pages_of_the_last_block_that_arrive_in_any_order_are_a_torn_write() -> None:
    torn = clean = whole = 0
    for seed in range(120):
        storage = storage_of(seed)
        journal = filled(storage)
        end = journal.end

        def die(operation: str, name: str) -> None:
            if operation == "sync":
                raise SystemExit

        storage.before_operation = die
        with pytest.raises(SystemExit):
            append(journal, 100)
        storage.before_operation = None
        storage.crash()
        report = verify(storage, end)
        torn += report.torn is not None
        whole += report.end.sequence == end.sequence + 100
        clean += report.torn is None and report.end == end
        append(Journal.open(storage, epoch=2, projected=end), 2)
        verify(storage, end)
    assert torn > 20
    assert clean > 10
    assert whole > 10


def test_the_preparing_thread_and_the_writer_share_a_real_disk(tmp_path: Path) -> None:
    storage = DiskStorage(tmp_path)
    journal = Journal(storage, epoch=1, end=GENESIS, segment_bytes_max=1 << 20)
    journal.start_preparing()
    for _ in range(60):
        append(journal, 700)
        time.sleep(0.0005)
    journal.close()
    assert verify(storage).end == journal.end
    assert [*tmp_path.glob("*.tmp")] == []
    second = Journal.open(storage, epoch=2)
    second.start_preparing()
    deadline = time.monotonic() + 30
    while not [*tmp_path.glob("*.idx")] and time.monotonic() < deadline:
        append(second, 1)
    second.close()
    assert [*tmp_path.glob("*.idx")]
    assert verify(storage).end == second.end


# ----------------------------------------------------------------------- index


def test_a_reader_with_an_index_begins_near_the_sequence_and_reads_the_same() -> None:
    storage = storage_of()
    journal = indexed(storage)
    every = list(JournalReader(storage).blocks_from(0))
    assert [name for name in storage.names() if name.endswith(".idx")]
    reader = JournalReader(storage)
    near = 0
    for block in every:
        for sequence in (block.first_sequence - 1, block.first_sequence, block.last_sequence):
            start = reader.start_for(sequence)
            assert start == GENESIS or start in [each.end for each in every]
            assert sequence - start.sequence <= 2 * ENTRY_EVERY_BYTES // RECORD_BYTES
            near += start.sequence > 0
            following = [each for each in every if each.first_sequence > start.sequence]
            assert next(reader.blocks_from(sequence), None) == next(iter(following), None)
    assert near > len(every)
    assert list(reader.blocks_from(every[-3].last_sequence))[-1].end == journal.end


def test_an_index_that_is_damaged_missing_or_wrong_changes_nothing_that_is_read() -> None:
    storage = storage_of()
    journal = indexed(storage)
    [name] = [name for name in storage.names() if name.endswith(".idx")]
    data = storage.read(name)
    last = journal.end.sequence

    def start(changed: SimulatedStorage) -> Projected:
        reader = JournalReader(changed)
        assert list(reader.blocks_from(last - 3 * LARGE))[-1].end == journal.end
        return reader.start_for(last - 3 * LARGE)

    assert start(storage).sequence > 0  # the control: whole, it is used
    for offset in range(len(data)):
        damaged = copy_of(storage)
        damaged.flip(name, offset=offset, bit=offset % 8)
        assert start(damaged) == GENESIS
    missing = copy_of(storage)
    missing.delete(name)
    assert start(missing) == GENESIS
    segment = JournalReader(storage).parts[0].segment
    entries = read_index(storage, segment).entries
    lying = copy_of(storage)
    shifted = journal_index.SegmentIndex(
        tuple(entry._replace(offset=entry.offset + RECORD_BYTES) for entry in entries)
    )
    lying.write_atomic(name, shifted.pack(segment))
    assert start(lying) == GENESIS


def test_the_leader_makes_a_missing_or_damaged_index_again() -> None:
    storage = storage_of()
    indexed(storage)
    [name] = [name for name in storage.names() if name.endswith(".idx")]
    data = storage.read(name)
    for broken in (None, data[:-1]):
        again = copy_of(storage)
        again.delete(name)
        if broken is not None:
            again.write_atomic(name, broken)
        journal = Journal.open(again, epoch=2)
        while journal.prepare():
            pass
        assert again.read(name) == data


def test_damage_before_where_the_index_points_is_found_by_verify_and_named() -> None:
    storage = storage_of()
    indexed(storage)
    name = next(filter(is_segment, storage.names()))
    storage.flip(name, offset=HEADER_BYTES + 200, bit=1)
    with pytest.raises(Corrupt, match=re.escape(f"{name} offset {HEADER_BYTES}:")):
        verify(storage)


def test_a_segment_and_its_index_have_one_name() -> None:
    segment = Segment(epoch=7, index=3, cut=GENESIS)
    assert index_name(segment).removesuffix(".idx") == segment.name.removesuffix(".seg")
    assert not is_segment(index_name(segment))
