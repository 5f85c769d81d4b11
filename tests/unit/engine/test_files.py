"""Both disks keep the same promises; the simulated one can also break them on purpose."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from core.entropy import SeededEntropy
from core.errors import Corrupt, Unavailable
from engine.files import DiskStorage, Storage
from engine.simulated_files import SECTOR_BYTES, SimulatedStorage


@pytest.fixture(params=["disk", "simulated"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return each kind of storage in turn."""
    if request.param == "disk":
        return DiskStorage(tmp_path / "journal")
    return SimulatedStorage(SeededEntropy(1))


def test_what_is_written_is_read_again(storage: Storage) -> None:
    storage.write_atomic("a", b"12345")
    file = storage.open_append("a")
    assert file.size == 5
    file.append(b"67")
    file.sync()
    assert file.size == 7
    file.close()
    assert storage.read("a") == b"1234567"
    assert storage.read("a", limit=3) == b"123"
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
    file = storage.open_append("a")
    file.append(b"x")
    file.sync()
    file.close()
    assert storage.read("a") == b"12x"


def test_a_missing_file_is_corrupt(storage: Storage) -> None:
    for ask in (storage.read, storage.open_append):
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
    storage = DiskStorage(Path("/dev"))
    file = storage.open_append("full")
    with pytest.raises(Unavailable, match="No space left"):
        file.append(b"x")
    file.close()


def test_a_crash_loses_only_what_was_not_synced() -> None:
    lost_everything = kept_everything = holes = 0
    for seed in range(200):
        storage = SimulatedStorage(SeededEntropy(seed))
        storage.write_atomic("a", b"head")
        file = storage.open_append("a")
        file.append(b"S" * 10)
        file.sync()
        unsynced = b"U" * 4 * SECTOR_BYTES
        file.append(unsynced)
        assert storage.crash() == len(unsynced)
        data = storage.read("a")
        assert data.startswith(b"head" + b"S" * 10)
        tail = data[14:]
        assert len(tail) <= len(unsynced)
        assert set(tail) <= set(b"U\0")
        lost_everything += not tail.strip(b"\0")
        kept_everything += tail == unsynced
        holes += b"\0U" in tail
        with pytest.raises(Unavailable, match="crashed"):
            file.append(b"x")
    assert lost_everything
    assert holes
    assert kept_everything


def test_a_killed_process_loses_nothing_but_its_open_files() -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    storage.write_atomic("a", b"")
    file = storage.open_append("a")
    file.append(b"unsynced")
    storage.kill()
    assert storage.read("a") == b"unsynced"
    with pytest.raises(Unavailable):
        file.sync()


def test_a_second_sync_after_a_failed_one_reports_success_and_saves_nothing() -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    storage.write_atomic("a", b"")
    file = storage.open_append("a")
    file.append(b"first")
    storage.fail("sync")
    with pytest.raises(Unavailable):
        file.sync()
    file.sync()
    assert storage.read("a") == b"first"
    storage.crash()
    assert storage.read("a") == bytes(5)


def test_a_simulated_disk_is_full_where_it_is_told() -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    storage.write_atomic("a", b"12")
    storage.capacity_bytes = 5
    file = storage.open_append("a")
    with pytest.raises(Unavailable):
        file.append(b"3456")
    assert storage.read("a") == b"12345"
    with pytest.raises(Unavailable):
        storage.write_atomic("b", b"1")
    assert storage.names() == ["a"]
