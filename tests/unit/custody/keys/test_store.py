"""The signer's store: what was acknowledged is there, damage is named, a torn write is cut."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.signing_record import GENESIS, decode, verify_chain
from custody.keys.store import Store
from custody.keys.store_blocks import FILE_BYTES, SECTOR_BYTES
from custody.keys.store_reading import NAME, blocks_of, read_log
from engine.simulated_files import SimulatedStorage
from tests.unit.custody.keys.logbook import pair, record

BATCHES = ((1,), (2, 3, 4), (5,), (6, 7))


def disk(seed: int = 1) -> SimulatedStorage:
    return SimulatedStorage(SeededEntropy(seed, "disk"))


def filled(storage: SimulatedStorage) -> list[int]:
    """Write the batches; return where each ends in the file, the file's header first."""
    store, ends = Store(storage), [FILE_BYTES]
    for batch in BATCHES:
        store.append([pair(number) for number in batch])
        ends.append(store._end)
    store.close()
    return ends


def numbers(storage: SimulatedStorage) -> list[int]:
    """Open a store and return the numbers of its records, which must be all it holds."""
    store = Store(storage)
    found = [entry.record.nonce for entry in store.entries()]
    assert found == list(range(1, len(found) + 1))
    assert read_log(storage) == store.entries()
    assert verify_chain(entry.message for entry in store.entries()) == store.mark
    store.close()
    return found


def copy(storage: SimulatedStorage, *, size: int | None = None) -> SimulatedStorage:
    """Return another disk with the same file, or only its first bytes."""
    twin = disk()
    twin.write_atomic(NAME, storage.read(NAME, limit=size))
    return twin


def test_what_was_appended_is_read_back_after_opening_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "signer")
    made = [store.append([pair(number) for number in batch]) for batch in BATCHES]
    entries = list(itertools.chain.from_iterable(made))
    assert store.entries() == entries
    assert store.entries(2, 3) == entries[2:5]
    store.close()
    again = Store.open(tmp_path / "signer")
    assert again.entries() == entries
    assert again.mark == entries[-1].mark
    assert [entry.position for entry in entries] == list(range(1, 8))
    assert (entries[0].record, entries[0].signature) == pair(1)
    assert again.last_ns == entries[-1].record.signed_at_ns
    again.close()


def test_an_entry_is_its_canonical_message_and_hashed_by_hand(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    first, second = store.append([pair(1), pair(2)])
    assert second.previous == first.hash == hashlib.sha256(first.message).digest()
    assert decode(second.message) == second
    store.close()


def test_an_exported_chain_is_checked_without_the_store() -> None:
    storage = disk()
    filled(storage)
    messages = [entry.message for entry in read_log(storage)]
    end = verify_chain(messages)
    assert end.position == 7
    assert verify_chain(messages[3:], after=read_log(storage)[2].mark) == end
    tampered = [
        messages[:3] + messages[4:],
        messages[::-1],
        messages[1:],
        [*messages, messages[-1]],
        [messages[0][:-1] + bytes([messages[0][-1] ^ 1]), *messages[1:]],
        [b"", *messages],
    ]
    for bad in tampered:
        with pytest.raises(Corrupt):
            verify_chain(bad)
    assert verify_chain([]) == GENESIS


def test_what_is_staged_counts_at_once_and_is_durable_after_commit() -> None:
    storage = disk()
    store = Store(storage)
    with store.writing():
        entry = store.stage(*pair(1))
        assert store.index.digest(entry.record.chain, "hot", entry.record.digest) == 1
        assert store.entry(1) == entry
        assert store.entries() == read_log(storage) == []
    assert store.entries() == read_log(storage) == [entry]


def test_what_was_reserved_and_not_signed_is_forgotten_completely() -> None:
    """Whatever order nonces come in, the index is as if they had never been asked for."""
    mandated = {"authority": "mandate", "kind": "sweep"}
    kept = [record(0), record(1, **mandated), record(4), record(5, claims=("coin:1", "coin:2"))]
    lost = [
        record(6, claims=("hot/2",)), record(7, claims=("hot/3",)), record(8, claims=("hot/1",)),
        record(9, claims=("coin:2", "coin:3"), **mandated), record(10, spend_id="sp_1"),
        record(11, cause_id="wd_0"), record(12, digest=record(0).digest),
    ]  # fmt: skip
    for count in range(1, len(lost) + 1):
        store, twin = Store(disk()), Store(disk())
        for each in kept:
            store.append([(each, b"s" * 65)])
            twin.append([(each, b"s" * 65)])
        for each in lost[:count]:
            store.reserve(each)
        assert len(read_log(store._storage)) == 4
        store.give_back()
        assert (store.mark, store.last_ns) == (twin.mark, twin.last_ns)
        for name in ("_digests", "_claims", "_spends", "_withdrawals"):
            assert getattr(store.index, name) == getattr(twin.index, name), (count, name)
        for nonce in range(12):
            chain = record(0).chain
            below = [one.index.nonces_below(chain, "hot", nonce) for one in (store, twin)]
            assert below[0] == below[1]
        for spend in (record(20).spend, record(20, **mandated).spend):
            now_ns = record(40).signed_at_ns
            assert store.index.spent(spend, "", now_ns) == twin.index.spent(spend, "", now_ns)
            assert store.index.usage(spend, "", now_ns) == twin.index.usage(spend, "", now_ns)


def test_what_was_staged_before_an_error_is_kept_and_the_error_goes_on() -> None:
    storage = disk()
    store = Store(storage)

    def part() -> None:
        with store.writing():
            store.stage(*pair(1))
            raise Refused(Reason.UNKNOWN_KEY)

    with pytest.raises(Refused):
        part()
    assert len(read_log(storage)) == 1
    store.append([pair(2)])


def test_an_interrupted_store_must_be_opened_again() -> None:
    storage = disk()
    store = Store(storage)

    def part() -> None:
        with store.writing():
            store.stage(*pair(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part()
    with pytest.raises(Unavailable):
        store.append([pair(2)])
    assert numbers(storage) == []


@pytest.mark.parametrize("zeros_follow", [True, False])
def test_a_write_that_ended_at_any_byte_is_cut(zeros_follow: bool) -> None:
    storage = disk()
    ends = filled(storage)
    data = storage.read(NAME, limit=ends[-1])
    for begin, end in itertools.pairwise(ends):
        whole = sum(len(batch) for batch in BATCHES[: ends.index(begin)])
        for size in range(begin, end):
            torn = disk()
            torn.write_atomic(NAME, data[:size] + bytes(4_096 if zeros_follow else 0))
            kept = sum(header.entries for _, header, _ in blocks_of(torn))
            assert kept == whole
            if size % 50 and size not in (begin, begin + 1, end - 1):
                continue
            assert numbers(torn) == list(range(1, whole + 1))
            store = Store(torn)
            store.append([pair(whole + 1)])
            assert numbers(torn) == list(range(1, whole + 2))


def test_a_write_of_which_any_sectors_are_missing_is_cut() -> None:
    storage = disk()
    ends = filled(storage)
    data, begin, end = storage.read(NAME, limit=ends[-1]), ends[-2], ends[-1]
    first = begin - begin % SECTOR_BYTES
    sectors = [(max(begin, at), min(end, at + SECTOR_BYTES)) for at in range(first, end, 512)]
    assert len(sectors) >= 4
    for size in range(1, 4):
        for lost in itertools.combinations(sectors, size):
            torn = bytearray(data)
            for start, stop in lost:
                torn[start:stop] = bytes(stop - start)
            twin = disk()
            twin.write_atomic(NAME, bytes(torn))
            assert numbers(twin) == [1, 2, 3, 4, 5]


def test_a_flipped_bit_is_damage_wherever_it_is() -> None:
    """Also in the last block: a signature that left is never forgotten for a torn write."""
    storage = disk()
    size = filled(storage)[-1]
    for offset in range(size):
        twin = copy(storage)
        twin.flip(NAME, offset=offset, bit=offset % 8)
        with pytest.raises(Corrupt):
            list(blocks_of(twin))
        if offset % 100 == 0:
            with pytest.raises(Corrupt):
                Store(twin)


def test_a_flipped_bit_in_the_zeros_ahead_hides_nothing() -> None:
    storage = disk()
    size = filled(storage)[-1]
    for offset in (size, size + 1, size + 63, size + 64, size + 600):
        twin = copy(storage)
        twin.flip(NAME, offset=offset, bit=3)
        with contextlib.suppress(Corrupt):
            assert numbers(twin) == [1, 2, 3, 4, 5, 6, 7]


def test_a_file_that_was_cut_inside_what_was_written_before_the_last_block_is_shorter() -> None:
    """No disk does that; a node or an anchor notices. The chain itself stays sound."""
    storage = disk()
    ends = filled(storage)
    assert numbers(copy(storage, size=ends[2])) == [1, 2, 3, 4]


def test_blocks_that_were_moved_or_written_twice_are_damage() -> None:
    storage = disk()
    ends = filled(storage)
    data = storage.read(NAME, limit=ends[-1])
    blocks = [data[begin:end] for begin, end in itertools.pairwise(ends)]
    for order in ((0, 2), (1,), (0, 1, 1), (0, 2, 1, 3), (0, 0)):
        twin = disk()
        twin.write_atomic(NAME, data[:FILE_BYTES] + b"".join(blocks[n] for n in order))
        with pytest.raises(Corrupt):
            read_log(twin)


@pytest.mark.parametrize("fault", ["append", "sync", "zero"])
def test_a_disk_that_fails_ends_the_store_until_it_is_opened_again(fault: str) -> None:
    for seed in range(20):
        storage = disk(seed)
        store = Store(storage)
        store.append([pair(1)])
        count = 120 if fault == "zero" else 1
        storage.fail(fault)
        with pytest.raises(Unavailable):
            store.append([pair(number) for number in range(2, 2 + count)])
        with pytest.raises(Unavailable, match="opened again"):
            store.append([pair(2)])
        if seed % 2:
            storage.kill()
        else:
            storage.crash()
        found = numbers(storage)
        assert found in ([1], list(range(1, 2 + count)))
        store = Store(storage)
        store.append([pair(len(found) + 1)])
        assert numbers(storage) == [*found, len(found) + 1]


def test_a_full_disk_takes_no_signature_and_forgets_none() -> None:
    storage = disk()
    store = Store(storage)
    store.append([pair(1)])
    storage.capacity_bytes = storage.size(NAME)
    written = [1]

    def until_it_is_full() -> None:
        for number in range(2, 10_000):
            store.append([pair(number)])
            written.append(number)

    with pytest.raises(Unavailable):
        until_it_is_full()
    storage.capacity_bytes = None
    assert numbers(storage) == written


@pytest.mark.parametrize("seed", range(30))
def test_power_losses_take_nothing_that_was_acknowledged(seed: int) -> None:
    """Crashes around every operation of the disk, also while it is opened."""
    storage, dice = disk(seed), SeededEntropy(seed, "dice")
    acknowledged = 0

    class Crash(BaseException):
        pass

    def perhaps(_operation: str, _name: str) -> None:
        if dice.token_bytes(1)[0] < 50:
            raise Crash

    storage.before_operation = perhaps
    for _ in range(25):
        try:
            store = Store(storage)
            found = [entry.record.nonce for entry in store.entries()]
            assert found == list(range(1, len(found) + 1))
            assert len(found) >= acknowledged
            number = len(found)
            while True:
                count = 1 + dice.token_bytes(1)[0] % 4
                store.append([pair(number + n) for n in range(1, 1 + count)])
                number += count
                acknowledged = number
        except Crash:
            storage.crash() if dice.token_bytes(1)[0] % 2 else storage.kill()
    storage.before_operation = None
    assert len(numbers(storage)) >= acknowledged > 0


def test_one_process_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(Unavailable, match="another signer"):
        Store.open(tmp_path)
    code = (
        "import sys; from pathlib import Path; from custody.keys.store import Store\n"
        f"Store.open(Path({str(tmp_path)!r}))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another signer uses" in other.stderr
    store.close()
    Store.open(tmp_path).close()
    assert (tmp_path.stat().st_mode & 0o777) == 0o700
