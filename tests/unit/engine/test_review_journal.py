"""What a second reader found in the journal, the snapshots and the sequencer, each as a fact."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from core.errors import Corrupt, OutcomeUnknown, Reason, Refused, Unavailable
from engine.applied import AppliedBlock
from engine.blocks import GENESIS, HEADER_BYTES
from engine.commands import CancelAll, PlaceOrder
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce
from engine.journal import JournalReader, verify
from engine.journal_index import index_name, read_index
from engine.journal_writer import Journal
from engine.records import RECORD_BYTES
from engine.snapshot import read_snapshot, snapshot_names, sound_snapshots
from tests.unit.engine.journals import filled, last_block, records, sequences, storage_of
from tests.unit.engine.rooms import Room
from tests.unit.engine.world import ALICE, MARKET

# --------------------------------------------------------------------- two leaders


def test_a_leader_whose_sync_fails_while_another_takes_over_does_not_contradict_its_cut() -> None:
    storage = storage_of()
    old, new = filled(storage, epoch=5), list[Journal]()

    def take_over(operation: str, name: str) -> None:
        if operation == "sync" and not new:
            storage.before_operation = None
            new.append(Journal.open(storage, epoch=6))  # it finds the block, and counts it
            storage.fail("sync")

    storage.before_operation = take_over
    with pytest.raises(OutcomeUnknown):
        old.append(records(2, 11), time_ns=50)
    assert new[0].end.sequence == 12
    new[0].append(records(3, 13), time_ns=60)
    for _ in range(2):
        with pytest.raises(Unavailable, match="epoch 5 is over"):
            old.append(records(1, 11), time_ns=70)
    old.close()
    assert sequences(storage) == list(range(1, 16))
    assert Journal.open(storage, epoch=7).end == new[0].end


def test_a_leader_that_was_overtaken_begins_no_segment() -> None:
    storage = storage_of()
    old = Journal.open(storage, epoch=1, segment_bytes_max=2_000)
    old.append(records(20), time_ns=1)
    new = Journal.open(storage, epoch=2)
    with pytest.raises(Unavailable, match="epoch 1 is over"):
        old.append(records(20, 21), time_ns=2)
    assert verify(storage).end == new.end


# ------------------------------------------------------- reading while a leader writes


def _read_while_writing(reader: JournalReader, journal: Journal, until: int) -> list[int]:
    """Read all blocks; after each of them two commands more are written, up to a sequence."""
    found = []
    for block in reader.blocks_from(0):
        found.append(block.last_sequence)
        if journal.end.sequence < until:
            journal.append(records(2, journal.end.sequence + 1), time_ns=50)
    return found


def test_a_reader_goes_on_with_the_blocks_that_are_written_while_it_reads() -> None:
    storage = storage_of()
    journal, reader = filled(storage), JournalReader(storage)
    assert _read_while_writing(reader, journal, 14) == [1, 4, 6, 10, 12, 14]
    assert reader.torn is None


def test_a_damaged_block_before_one_that_is_written_while_it_is_read_is_still_corrupt() -> None:
    storage = storage_of()
    journal = filled(storage)
    name, offset, _ = last_block(storage)
    storage.flip(name, offset=offset + HEADER_BYTES + 3, bit=2)
    with pytest.raises(Corrupt, match=f"offset {offset}: damaged"):
        _read_while_writing(JournalReader(storage), journal, 12)


def test_an_old_block_that_lies_behind_a_torn_one_proves_nothing() -> None:
    storage = storage_of()
    filled(storage)
    name, _, end = last_block(storage)
    first = storage.read(name)[HEADER_BYTES : 2 * HEADER_BYTES + RECORD_BYTES]
    file = storage.open(name)
    file.write_synced(end, b"torn", bytes(2 * RECORD_BYTES - 4), first)
    assert verify(storage).end.sequence == 10
    assert "never whole" in (verify(storage).torn or "")


def test_with_an_index_a_reader_never_begins_after_what_it_was_asked_for() -> None:
    storage = storage_of()
    journal = Journal(storage, epoch=1, end=GENESIS, segment_bytes_max=2 << 20)
    while journal.end.sequence < 40_000:
        journal.append(records(4_500, journal.end.sequence + 1), time_ns=1)
    while journal.prepare():
        pass
    reader = JournalReader(storage)
    entries = read_index(storage, reader.parts[0].segment).entries
    assert len(entries) > 3
    for entry in entries:
        for asked in range(entry.sequence - 3, entry.sequence + 2):
            assert reader.start_for(asked).sequence <= asked


# ------------------------------------------------------------------ room made ahead


def test_zeros_are_never_written_over_blocks_that_overtook_them_while_they_were_synced() -> None:
    storage = storage_of()
    journal, overtaken = filled(storage, sizes=(200,)), list[str]()

    def overtake(operation: str, name: str) -> None:
        if operation == "sync" and not overtaken:
            overtaken.append(name)
            for _ in range(20):
                journal.append(records(100, journal.end.sequence + 1), time_ns=2)

    storage.before_operation = overtake
    while journal.prepare():
        pass
    assert overtaken
    assert sequences(storage) == list(range(1, 2_201))


def test_a_segment_that_goes_before_its_index_is_made_does_not_end_the_preparing() -> None:
    storage = storage_of()
    old = filled(storage)
    old.close()
    journal = filled(storage, epoch=2)
    gone = JournalReader(storage).parts[0].segment
    storage.delete(gone.name)
    while journal.prepare():
        pass
    assert journal.append(records(1, 21), time_ns=3).first_sequence == 21
    assert index_name(gone) not in storage.names()


# ------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    "wrong", [{"side": 0}, {"side": 3}, {"kind": 3}, {"tif": 0}, {"stp": 5}, {"post_only": 2}]
)
def test_a_number_outside_its_list_does_not_even_reach_the_journal(wrong: dict[str, int]) -> None:
    room = Room()
    room.open_market()
    order = PlaceOrder(
        customer_no=ALICE,
        client_order_id=1,
        market_no=MARKET,
        side=Side.BUY,
        kind=OrderKind.LIMIT,
        tif=TimeInForce.GTC,
        price_ticks=1,
        quantity_lots=1,
        issued_ns=0,
        post_only=False,
        stp=SelfTrade.CANCEL_NEWEST,
    )
    bad = dataclasses.replace(order, **wrong)  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        room.sequencer.execute([order, bad])
    assert refused.value.reason is Reason.MALFORMED
    assert room.journalled() == 3
    room.sequencer.execute([order])
    assert room.journalled() == 4


# ----------------------------------------------------------------------- snapshots


def test_files_that_only_resemble_snapshots_are_passed_over() -> None:
    room = Room()
    room.open_market()
    name = room.sequencer.snapshot(room.storage)
    for other in ("snapshot-old.snap", "snapshot-1.snap", f"{name}.bak"):
        room.storage.write_atomic(other, b"x")
    assert snapshot_names(room.storage) == [name]
    assert [found.position.sequence for found in sound_snapshots(room.storage, up_to=3)] == [3]


def test_a_snapshot_under_the_name_of_another_position_is_damaged() -> None:
    room = Room()
    room.open_market()
    name = room.sequencer.snapshot(room.storage)
    other = name.replace(f"{3:020d}", f"{2:020d}")
    room.storage.write_atomic(other, room.storage.read(name))
    with pytest.raises(Corrupt, match="the header says"):
        read_snapshot(room.storage, other)
    assert list(sound_snapshots(room.storage, up_to=2)) == []


# ------------------------------------------------------------------- the writer's end


def test_a_cancelled_command_among_those_left_by_a_broken_writer_hides_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(batch_max=1)
    is_in, go_on = threading.Event(), threading.Event()

    def broken(block: AppliedBlock) -> None:
        is_in.set()
        go_on.wait(10)
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    room.sequencer._publish = broken
    room.sequencer.start()
    first = room.sequencer.submit(CancelAll(customer_no=1))
    assert is_in.wait(10)
    second, third = (room.sequencer.submit(CancelAll(customer_no=n)) for n in (2, 3))
    assert second.cancel()
    go_on.set()
    with pytest.raises(OutcomeUnknown):
        first.result(10)
    with pytest.raises(Unavailable):
        third.result(10)
