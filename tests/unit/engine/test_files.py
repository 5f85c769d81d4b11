"""Both disks keep the same promises; the simulated one can also break them on purpose."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from core.entropy import SeededEntropy
from core.errors import Corrupt, Unavailable
from engine.files import DiskFile, DiskStorage, Storage, WritableFile
from engine.simulated_files import SECTOR_BYTES, SimulatedStorage


@pytest.fixture(params=["disk", "simulated"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return each kind of storage in turn."""
    if request.param == "disk":
        return DiskStorage(tmp_path / "journal")
    return SimulatedStorage(SeededEntropy(1))


def test_what_is_written_is_read_again(storage: Storage) -> None:
    storage.write_atomic("a", b"12345")
    file = storage.open("a")
    assert file.size == 5
    file.write_synced(3, b"67", b"89")
    assert file.size == 7
    file.write_zeros(6, 12)
    file.sync()
    file.close()
    assert storage.size("a") == 12
    assert storage.read("a") == b"123678" + bytes(6)
    assert storage.read("a", limit=3) == b"123"
    assert storage.read("a", offset=4, limit=3) == b"78\0"
    assert storage.read("a", offset=11, limit=5) == b"\0"
    assert storage.read("a", offset=99) == b""
    storage.write_atomic("a", b"x")
    assert storage.read("a") == b"x"


def test_names_are_sorted_and_deleted_files_are_gone(storage: Storage) -> None:
    for name in ("b", "c", "a"):
        storage.write_atomic(name, b"")
    storage.delete("b")
    storage.delete("b")
    assert storage.names() == ["a", "c"]


def test_truncate_cuts(storage: Storage) -> None:
    storage.write_atomic("a", b"12345")
    storage.truncate("a", 2)
    file = storage.open("a")
    file.write_synced(2, b"x")
    file.close()
    assert storage.read("a") == b"12x"


def test_a_created_file_is_not_there_before_it_is_put_in_place(storage: Storage) -> None:
    storage.write_atomic("a", b"old")
    first = storage.create("a")
    first.write_zeros(0, 4)
    second = storage.reopen("a")
    second.write_synced(1, b"new")
    assert (storage.names(), storage.read("a")) == (["a"], b"old")
    storage.put_in_place("a")
    assert (storage.names(), storage.read("a")) == (["a"], b"\0new")
    third = storage.create("b")
    storage.create("b").write_synced(0, b"again")
    third.write_synced(0, b"an earlier one")  # its owner was overtaken
    storage.put_in_place("b")
    assert storage.read("b") == b"again"
    storage.create("c").write_synced(0, b"c")
    storage.discard("c")
    storage.discard("c")
    assert storage.names() == ["a", "b"]


def test_a_missing_file_is_corrupt(storage: Storage) -> None:
    for ask in (storage.read, storage.open, storage.size):
        with pytest.raises(Corrupt, match="no such file"):
            ask("missing")


def test_a_full_disk_is_unavailable_and_the_old_file_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DiskStorage(tmp_path)
    storage.write_atomic("a", b"old")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            storage.write_atomic("a", b"new")
    assert storage.read("a") == b"old"
    assert storage.names() == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_really_full_disk_is_unavailable() -> None:
    file = DiskStorage(Path("/dev")).open("full")
    with pytest.raises(Unavailable, match="No space left"):
        file.write_synced(0, b"x")
    with pytest.raises(Unavailable, match="No space left"):
        file.write_zeros(0, 10)
    file.close()


def test_a_disk_that_takes_less_at_once_gets_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DiskStorage(tmp_path)
    storage.write_atomic("a", b"head")
    whole, pieces = os.pwrite, itertools.count()
    syncs: list[int] = []
    monkeypatch.setattr(
        os, "pwritev", lambda fd, parts, at, flags=0: whole(fd, b"".join(parts)[:3], at)
    )
    monkeypatch.setattr(
        os, "pwrite", lambda fd, data, at: whole(fd, data[: 1 + next(pieces) % 2], at)
    )
    monkeypatch.setattr(os, "fdatasync", syncs.append)
    storage.open("a").write_synced(4, b"12345", b"6789")
    assert storage.read("a") == b"head123456789"
    assert next(pieces) > 2
    assert len(syncs) == 1  # the write's own sync spoke of three bytes only


def test_a_system_without_synced_writes_syncs_after_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DiskStorage(tmp_path)
    storage.write_atomic("a", b"")
    monkeypatch.setattr(DiskFile, "dsync", 0)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    file = storage.open("a")
    file.write_synced(0, b"x")
    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(Unavailable, match="Input/output error"):
        file.write_synced(1, b"y")


def with_unsynced(seed: int, unsynced: bytes) -> tuple[SimulatedStorage, WritableFile]:
    """Return a disk with a file of 14 safe bytes and some that are not."""
    storage = SimulatedStorage(SeededEntropy(seed))
    storage.write_atomic("a", b"head")
    file = storage.open("a")
    file.write_synced(4, b"S" * 10)

    def die(operation: str, name: str) -> None:
        if operation == "sync":
            raise SystemExit

    storage.before_operation = die
    with pytest.raises(SystemExit):
        file.write_synced(14, unsynced)
    storage.before_operation = None
    return storage, file


def test_a_crash_loses_only_what_was_not_synced_sector_by_sector_in_any_order() -> None:
    lost_everything = kept_everything = holes = later_alone = 0
    unsynced = b"U" * 4 * SECTOR_BYTES
    for seed in range(200):
        storage, file = with_unsynced(seed, unsynced)
        assert storage.crash() == len(unsynced)
        data = storage.read("a")
        assert data.startswith(b"head" + b"S" * 10)
        tail = data[14:]
        assert len(tail) <= len(unsynced)
        assert set(tail) <= set(b"U\0")
        lost_everything += not tail.strip(b"\0")
        kept_everything += tail == unsynced
        holes += b"U\0U" in tail.replace(bytes(SECTOR_BYTES), b"\0")
        later_alone += tail.startswith(b"\0") and b"U" in tail
        with pytest.raises(Unavailable, match="crashed"):
            file.write_synced(0, b"x")
    assert lost_everything
    assert holes
    assert later_alone
    assert kept_everything


def test_a_crash_may_undo_zeros_that_were_not_synced_and_what_they_were_written_over() -> None:
    sizes, seen = set(), set()
    for seed in range(60):
        storage = SimulatedStorage(SeededEntropy(seed))
        storage.write_atomic("a", b"x" * SECTOR_BYTES)
        storage.open("a").write_zeros(0, 8 * SECTOR_BYTES)
        storage.crash()
        data = storage.read("a")
        sizes.add(len(data))
        seen.add(data[:SECTOR_BYTES])
    assert len(sizes) > 10
    assert seen == {b"x" * SECTOR_BYTES, bytes(SECTOR_BYTES)}


def test_a_name_that_was_not_yet_safe_may_be_gone_after_a_crash() -> None:
    seen = set()
    for seed in range(30):
        storage = SimulatedStorage(SeededEntropy(seed))
        storage.write_atomic("a", b"old")

        def die(operation: str, name: str) -> None:
            if operation == "folder":
                raise SystemExit

        storage.before_operation = die
        with pytest.raises(SystemExit):
            storage.write_atomic("a", b"new")
        storage.before_operation = None
        storage.crash()
        seen.add(storage.read("a"))
    assert seen == {b"old", b"new"}


def test_a_killed_process_loses_nothing_but_its_open_files() -> None:
    storage, file = with_unsynced(1, b"unsynced")
    storage.kill()
    assert storage.read("a").endswith(b"unsynced")
    with pytest.raises(Unavailable):
        file.sync()


def test_a_second_sync_after_a_failed_one_reports_success_and_saves_nothing() -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    storage.write_atomic("a", b"old")
    file = storage.open("a")
    storage.fail("sync")
    with pytest.raises(Unavailable):
        file.write_synced(0, b"first")
    file.sync()
    assert storage.read("a") == b"first"
    storage.kill()
    storage.open("a").sync()
    storage.crash()
    assert storage.read("a") == b"old\0\0"


def test_what_is_written_again_after_a_failed_sync_is_safe() -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    storage.write_atomic("a", b"old")
    storage.fail("sync")
    with pytest.raises(Unavailable):
        storage.open("a").write_synced(0, b"first")
    storage.open("a").write_synced(0, b"first")
    storage.crash()
    assert storage.read("a") == b"first"


def test_a_simulated_disk_is_full_where_it_is_told() -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    storage.write_atomic("a", b"12")
    storage.capacity_bytes = 5
    file = storage.open("a")
    with pytest.raises(Unavailable):
        file.write_zeros(2, 6)
    assert storage.read("a") == b"12" + bytes(3)
    file.write_synced(1, b"2345")  # over what it has
    with pytest.raises(Unavailable):
        file.write_synced(4, b"56")
    with pytest.raises(Unavailable):
        storage.write_atomic("b", b"1")
    assert storage.names() == ["a"]
