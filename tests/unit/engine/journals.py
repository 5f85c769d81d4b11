"""Small journals on simulated disks."""

from __future__ import annotations

from core.entropy import SeededEntropy
from engine.commands import CancelAll
from engine.journal import JournalReader, verify
from engine.journal_writer import Journal
from engine.records import pack_command
from engine.simulated_files import SimulatedStorage

SIZES = (1, 3, 2, 4)


def storage_of(seed: int = 1) -> SimulatedStorage:
    """Return an empty simulated disk."""
    return SimulatedStorage(SeededEntropy(seed))


def records(count: int, start: int = 1) -> bytes:
    """Return distinguishable records, one after another."""
    return b"".join(pack_command(CancelAll(customer_no=start + n)) for n in range(count))


def filled(storage: SimulatedStorage, epoch: int = 1, sizes: tuple[int, ...] = SIZES) -> Journal:
    """Return an open journal with a few blocks more."""
    journal = Journal.open(storage, epoch=epoch)
    for size in sizes:
        first = journal.end.sequence + 1
        block = journal.append(records(size, first), time_ns=1000 * first)
        assert (block.first_sequence, block.count) == (first, size)
        assert block.end == journal.end
    return journal


def sequences(storage: SimulatedStorage) -> list[int]:
    """Return the customer number of every journalled command: it equals its sequence."""
    found = []
    for block in JournalReader(storage).blocks_from(0):
        for n, command in enumerate(block.commands()):
            assert isinstance(command, CancelAll)
            assert command.customer_no == block.first_sequence + n
            found.append(command.customer_no)
    return found


def last_block(storage: SimulatedStorage) -> tuple[str, int, int]:
    """Return the segment of the last block, where the block begins and where it ends."""
    tail = verify(storage).tail
    assert tail is not None
    return tail.name, tail.offset, tail.offset + len(tail.header) + len(tail.records)


def copy_of(storage: SimulatedStorage) -> SimulatedStorage:
    """Return a disk with the same files."""
    copy = storage_of()
    for name in storage.names():
        copy.write_atomic(name, storage.read(name))
    return copy
