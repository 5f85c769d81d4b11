"""The journal keeps what it said it has, and knows damage from a torn write (L07)."""

from __future__ import annotations

import itertools
import re

import pytest

from core.errors import Corrupt, Unavailable
from engine.blocks import GENESIS, HEADER_BYTES, Segment
from engine.events import Projected
from engine.journal import JournalReader, verify
from engine.journal_writer import Journal
from engine.records import RECORD_BYTES
from tests.unit.engine.journals import (
    SIZES,
    copy_of,
    filled,
    last_block,
    records,
    sequences,
    storage_of,
)


def test_what_was_appended_is_read_again_with_its_chain() -> None:
    storage = storage_of()
    journal = filled(storage)
    blocks = list(JournalReader(storage).blocks_from(0))
    assert [block.count for block in blocks] == list(SIZES)
    assert [block.time_ns for block in blocks] == [1000, 2000, 5000, 7000]
    assert blocks[0].previous_hash == bytes(32)
    for before, after in itertools.pairwise(blocks):
        assert after.previous_hash == before.hash
    assert blocks[-1].end == journal.end
    assert sequences(storage) == list(range(1, 11))
    assert list(journal.blocks_from(0)) == blocks


def test_one_append_is_one_sync_after_the_write() -> None:
    storage = storage_of()
    journal = Journal.open(storage, epoch=1)
    seen: list[str] = []
    storage.before_operation = lambda operation, name: seen.append(operation)
    journal.append(records(5), time_ns=1)
    assert seen == ["append", "sync"]


def test_a_reader_begins_at_the_segment_that_holds_a_sequence() -> None:
    storage = storage_of()
    for epoch in (1, 2, 3):
        filled(storage, epoch)
    reader = JournalReader(storage)
    assert reader.start_for(0) == GENESIS
    assert reader.start_for(9) == GENESIS
    assert reader.start_for(10).sequence == 10
    assert reader.start_for(29).sequence == 20
    assert next(reader.blocks_from(15)).first_sequence == 11
    assert next(reader.blocks_from(15)).epoch == 2


def test_segments_rotate_and_read_as_one() -> None:
    storage = storage_of()
    journal = Journal.open(storage, epoch=1)
    journal.close()
    journal = Journal(
        storage, epoch=2, end=GENESIS, segment_bytes_max=HEADER_BYTES * 3 + 2 * RECORD_BYTES
    )
    for sequence in range(1, 12):
        journal.append(records(1, sequence), time_ns=sequence)
    assert len(storage.names()) == 1 + 6
    assert sequences(storage) == list(range(1, 12))
    assert verify(storage).end == journal.end
    assert verify(storage).commands == 11


def test_an_epoch_that_is_over_cannot_open() -> None:
    storage = storage_of()
    filled(storage, 5)
    for epoch in (4, 5):
        with pytest.raises(Unavailable, match="epoch"):
            Journal.open(storage, epoch=epoch)
    assert Journal.open(storage, epoch=6).end.sequence == 10


def test_what_an_old_leader_writes_after_the_cut_is_ignored() -> None:
    storage = storage_of()
    old = filled(storage, 1)
    new = filled(storage, 2, sizes=(2,))
    old.append(records(7, 11), time_ns=99)  # still believes it leads; its lease check will fail
    assert new.end.sequence == 12
    assert verify(storage).end == new.end
    assert sequences(storage) == list(range(1, 13))
    beyond = Segment(epoch=1, index=1, cut=old.end)  # begun before the new leader was to be seen
    storage.write_atomic(beyond.name, beyond.pack())
    assert verify(storage).end == new.end
    assert Journal.open(storage, epoch=3).end == new.end


# ------------------------------------------------------------------------ damage


@pytest.mark.parametrize("zeros", [0, 7, 5_000])
def test_L07_cut_at_every_byte_of_the_last_block_leaves_the_blocks_before(zeros: int) -> None:
    storage = storage_of()
    whole = filled(storage).end
    name, start, end = last_block(storage)
    data = storage.read(name)
    before = [block.end for block in JournalReader(storage).blocks_from(0)][-2]
    for size in range(start, end):
        cut = copy_of(storage)
        cut.write_atomic(name, data[:size] + bytes(zeros))
        if not data[size:end].strip(b"\0") and size + zeros >= end:
            assert verify(cut, whole).end == whole  # only zeros were lost, and zeros are there
            continue
        report = verify(cut, before)
        assert report.end == before
        assert (report.torn is None) == (size == start)
        with pytest.raises(Corrupt, match="not in the journal"):
            verify(cut, whole)  # the books have it: it was durable once
        with pytest.raises(Corrupt):
            Journal.open(cut, epoch=2, projected=whole)
    assert verify(storage, whole).end == whole


def test_L07_a_journal_cut_at_any_byte_continues_and_stays_readable() -> None:
    storage = storage_of()
    filled(storage)
    name, start, end = last_block(storage)
    data = storage.read(name)
    for size in range(start, end + 1, 7):
        cut = copy_of(storage)
        cut.write_atomic(name, data[:size] + bytes(size % 2 * 900))
        journal = Journal.open(cut, epoch=2)
        first = journal.end.sequence + 1
        journal.append(records(2, first), time_ns=9)
        assert verify(cut).end == journal.end
        assert sequences(cut) == list(range(1, first + 2))


def test_L07_a_flipped_bit_in_any_byte_but_the_last_block_is_corrupt_and_named() -> None:
    storage = storage_of()
    filled(storage)
    name, start, _ = last_block(storage)
    for offset in range(start):
        damaged = copy_of(storage)
        damaged.flip(name, offset=offset, bit=offset % 8)
        with pytest.raises(Corrupt, match=re.escape(name)):
            verify(damaged)


def test_L07_a_flipped_bit_in_the_last_block_cuts_it_or_is_corrupt_when_the_books_have_it() -> None:
    storage = storage_of()
    whole = filled(storage).end
    before = [block.end for block in JournalReader(storage).blocks_from(0)][-2]
    name, start, end = last_block(storage)
    for offset in range(start, end):
        damaged = copy_of(storage)
        damaged.flip(name, offset=offset, bit=offset % 8)
        assert verify(damaged, before).end == before
        with pytest.raises(Corrupt):
            verify(damaged, whole)


def test_L07_a_flipped_bit_in_an_older_segment_is_corrupt_even_in_its_last_block() -> None:
    storage = storage_of()
    filled(storage, 1)
    name, _, end = last_block(storage)
    filled(storage, 2)
    for offset in range(0, end, 5):
        damaged = copy_of(storage)
        damaged.flip(name, offset=offset, bit=3)
        with pytest.raises(Corrupt, match=re.escape(name)):
            verify(damaged)


def test_a_missing_segment_is_corrupt() -> None:
    storage = storage_of()
    for epoch in (1, 2, 3):
        filled(storage, epoch)
    for name in storage.names()[:2]:
        damaged = copy_of(storage)
        damaged.delete(name)
        with pytest.raises(Corrupt):
            verify(damaged)


def test_a_missing_last_segment_is_corrupt_when_the_books_have_it() -> None:
    storage = storage_of()
    filled(storage, 1)
    end = filled(storage, 2).end
    storage.delete(storage.names()[1])
    assert verify(storage).end.sequence == 10
    with pytest.raises(Corrupt):
        verify(storage, end)


@pytest.mark.parametrize(
    "change", [{"hash": bytes(32)}, {"epoch": 2}, {"sequence": 9}, {"sequence": 11}]
)
def test_the_books_position_must_be_found_exactly(change: dict[str, object]) -> None:
    storage = storage_of()
    end = filled(storage).end
    content = {"epoch": end.epoch, "sequence": end.sequence, "hash": end.hash} | change
    with pytest.raises(Corrupt, match="not in the journal"):
        Journal.open(storage, epoch=9, projected=Projected(**content))  # type: ignore[arg-type]


@pytest.mark.parametrize("sequence", [2, 4])
def test_a_cut_inside_a_block_or_with_another_hash_is_corrupt(sequence: int) -> None:
    storage = storage_of()
    filled(storage, 1, sizes=(1, 3))
    wrong = Projected(epoch=1, sequence=sequence, hash=b"\1" * 32)
    first = storage.names()[0]
    for epoch in (2, 3):  # the second has nothing of its own to be found wrong
        Journal(storage, epoch=epoch, end=wrong)
        with pytest.raises(Corrupt, match=f"{first}.*the next segment continues"):
            verify(storage)


def test_a_swapped_block_breaks_the_chain() -> None:
    storage = storage_of()
    filled(storage, sizes=(2, 2))
    other = storage_of(2)
    Journal.open(other, epoch=1).append(records(2, 50), time_ns=1)
    name = storage.names()[0]
    size = HEADER_BYTES + 2 * RECORD_BYTES
    data, foreign = storage.read(name), other.read(name)
    swapped = data[:HEADER_BYTES] + foreign[HEADER_BYTES:][:size] + data[HEADER_BYTES + size :]
    storage.write_atomic(name, swapped)
    with pytest.raises(Corrupt, match="does not follow"):
        verify(storage)
