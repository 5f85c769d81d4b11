"""L07: disks that are full, fail a sync, or forget; processes that die in between."""

from __future__ import annotations

import pytest

from core.errors import OutcomeUnknown, Unavailable
from engine.blocks import GENESIS, HEADER_BYTES, is_segment
from engine.journal import verify
from engine.journal_writer import Journal
from tests.unit.engine.journals import filled, records, sequences, storage_of


def test_a_full_disk_is_unavailable_and_the_journal_goes_on_when_there_is_room() -> None:
    storage = storage_of()
    journal = filled(storage)
    end, used = journal.end, sum(map(storage.size, storage.names()))
    storage.capacity_bytes = used + HEADER_BYTES + 10
    for _ in range(3):
        with pytest.raises(Unavailable) as failure:
            journal.append(records(300, 11), time_ns=50)
        assert not isinstance(failure.value, OutcomeUnknown)
    assert verify(storage).end == end
    assert verify(storage).torn is None
    assert len(storage.names()) == 1
    journal.append(records(2, 11), time_ns=50)  # into room that was made before
    storage.capacity_bytes = None
    journal.append(records(300, 13), time_ns=50)
    assert sequences(storage) == list(range(1, 313))


def test_after_a_failed_sync_the_journal_goes_on_in_a_new_segment_without_that_block() -> None:
    for seed in range(40):
        storage = storage_of(seed)
        journal = filled(storage)
        storage.fail("sync")
        with pytest.raises(Unavailable) as failure:
            journal.append(records(2, 99), time_ns=50)
        assert not isinstance(failure.value, OutcomeUnknown)
        journal.append(records(3, 11), time_ns=51)
        storage.crash()
        assert sequences(storage) == list(range(1, 14))
        assert verify(storage).end == journal.end


def test_after_a_failed_sync_that_cannot_be_healed_at_once_the_outcome_is_unknown() -> None:
    storage = storage_of()
    journal = filled(storage)
    storage.fail("sync")
    storage.fail("write")
    with pytest.raises(OutcomeUnknown):
        journal.append(records(2, 99), time_ns=50)
    storage.fail("write")
    with pytest.raises(Unavailable):
        journal.append(records(2, 99), time_ns=50)
    journal.append(records(1, 11), time_ns=51)
    assert sequences(storage) == list(range(1, 12))


def test_when_a_failed_write_cannot_be_cut_off_the_next_one_goes_to_a_new_segment() -> None:
    storage = storage_of()
    journal = filled(storage)
    storage.fail("append")
    storage.fail("truncate")
    with pytest.raises(Unavailable):
        journal.append(records(2, 99), time_ns=50)
    journal.append(records(1, 11), time_ns=51)
    assert sequences(storage) == list(range(1, 12))
    assert len(storage.names()) == 2


def test_L07_what_was_appended_survives_every_crash() -> None:
    for seed in range(60):
        storage = storage_of(seed)
        durable, unsafe_crashes = GENESIS, 0
        for epoch in range(1, 6):
            journal = Journal.open(storage, epoch=epoch, projected=durable)
            assert journal.end.sequence >= durable.sequence
            for _ in range(3):
                journal.append(records(4, journal.end.sequence + 1), time_ns=1)
            durable = journal.end
            storage.fail("sync")
            storage.fail("write")
            with pytest.raises(OutcomeUnknown):
                journal.append(records(9, journal.end.sequence + 1), time_ns=1)
            unsafe_crashes += storage.crash() > 0
        assert unsafe_crashes == 5
        assert verify(storage, durable).end.sequence >= durable.sequence


def test_L07_a_block_found_after_a_kill_is_made_durable_before_the_cut_names_it() -> None:
    for seed in range(20):
        storage = storage_of(seed)
        journal = filled(storage)
        unanswered = records(3, 11)

        def die(operation: str, name: str) -> None:
            if operation == "sync":
                raise SystemExit

        storage.before_operation = die
        with pytest.raises(SystemExit):
            journal.append(unanswered, time_ns=50)
        storage.before_operation = None
        storage.kill()
        reopened = Journal.open(storage, epoch=2)
        assert reopened.end.sequence == 13  # still in the page cache, and now promised
        storage.crash()
        assert verify(storage, reopened.end).end == reopened.end


def test_L07_a_block_whose_sync_failed_before_the_kill_is_made_durable_too() -> None:
    for seed in range(20):
        storage = storage_of(seed)
        journal = filled(storage)
        storage.fail("sync")
        storage.fail("write")
        with pytest.raises(OutcomeUnknown):
            journal.append(records(3, 11), time_ns=50)
        storage.kill()
        reopened = Journal.open(storage, epoch=2)
        assert reopened.end.sequence == 13
        storage.crash()
        assert verify(storage, reopened.end).end == reopened.end


def test_other_files_in_the_folder_are_not_the_journals() -> None:
    storage = storage_of()
    storage.write_atomic("snapshot-1.snap", b"x")
    storage.write_atomic("lost+found", b"x")
    filled(storage)
    assert sum(map(is_segment, storage.names())) == 1
    assert verify(storage).commands == 10
