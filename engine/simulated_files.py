"""A disk for the simulator: forgets what was not synced, fails on demand, and lies as disks do."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from core.entropy import Entropy
from core.errors import Corrupt, Unavailable

SECTOR_BYTES = 512


@dataclass(slots=True)
class Content:
    """What a file shows, what of it is safe, and which ranges a crash may take back."""

    shown: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: list[tuple[int, int]] = field(default_factory=list)
    unsafe_bytes: int = 0
    """What was written since the last sync that succeeded."""

    def write(self, offset: int, data: bytes) -> None:
        """Show data at offset; nothing of it is safe."""
        end = offset + len(data)
        if end > len(self.shown):
            self.shown += bytes(end - len(self.shown))
        self.shown[offset:end] = data
        if data:
            self.dirty.append((offset, end))
            self.unsafe_bytes += len(data)

    def sync(self) -> None:
        """Make what is dirty safe. A range that a failed sync dropped stays as the disk has it."""
        self.settle(self.dirty, len(self.shown))

    def settle(self, ranges: list[tuple[int, int]], size: int) -> None:
        """Let these ranges reach the disk, and the file have this size there."""
        if size > len(self.durable):
            self.durable += bytes(size - len(self.durable))
        del self.durable[size:]
        for start, end in ranges:
            self.durable[start : min(end, size)] = self.shown[start : min(end, size)]
        self.dirty, self.unsafe_bytes = [], 0

    def sectors(self) -> list[tuple[int, int]]:
        """Return the dirty ranges sector by sector: each may reach the disk without the others."""
        return [
            (max(start, at), min(end, at + SECTOR_BYTES))
            for start, end in self.dirty
            for at in range(start - start % SECTOR_BYTES, end, SECTOR_BYTES)
        ]


class SimulatedFile:
    """A WritableFile of a SimulatedStorage; dead after its crash."""

    def __init__(self, storage: SimulatedStorage, name: str, content: Content) -> None:
        self._storage = storage
        self._name = name
        self._content = content
        self._life = storage.life

    @property
    def size(self) -> int:
        """Return how long the file is."""
        return len(self._content.shown)

    def write_zeros(self, start: int, end: int) -> None:
        """Write zeros over start..end; a full or failing disk takes only a part."""
        self._check_alive()
        with self._storage.lock:
            self._write("zero", start, bytes(end - start))

    def write_synced(self, offset: int, *parts: bytes) -> None:
        """Write and sync: a full or failing disk takes only a part, or drops it all later."""
        self._check_alive()
        with self._storage.lock:
            self._write("append", offset, b"".join(parts))
            self.sync()

    def sync(self) -> None:
        """Make everything safe; a failed sync drops the unsafe bytes for ever, as Linux does."""
        self._check_alive()
        with self._storage.lock:
            if self._storage.operation("sync", self._name):
                self._content.dirty.clear()
                raise Unavailable(f"sync {self._name}: the disk failed")
            self._content.sync()

    def close(self) -> None:
        """Let go of the file."""

    def _write(self, operation: str, offset: int, data: bytes) -> None:
        room = self._storage.room()
        fails = self._storage.operation(operation, self._name)
        taken = len(data)
        if room is not None:  # what is written over needs no room
            taken = min(taken, max(0, len(self._content.shown) + room - offset))
        if fails:
            taken = min(taken, self._storage.below(len(data)))
        self._content.write(offset, data[:taken])
        if taken < len(data) or fails:
            raise Unavailable(f"{operation} to {self._name}: no space left, or the disk failed")

    def _check_alive(self) -> None:
        if self._life != self._storage.life:
            raise Unavailable(f"{self._name} was open in a process that crashed")


class SimulatedStorage:
    """Implements `engine.files.Storage` in memory.

    `fail(operation)` makes the next such operation fail: "append" and "sync" are the two halves of
    a synced write, "zero" makes room, "write" puts a whole file in place, and there are "delete"
    and "truncate". `capacity_bytes` makes the disk full. `before_operation(operation, name)` may
    raise, to crash right there; it also sees "folder", between a file being in place and safe so.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._files: dict[str, Content] = {}
        self._created: dict[str, Content] = {}
        self._unsettled: dict[str, Content | None] = {}
        """Names put in place, not yet safely, and what they showed before."""
        self._failures: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        self.capacity_bytes: int | None = None
        self.before_operation: Callable[[str, str], None] | None = None
        self.life = 0
        self.lock = threading.RLock()
        """One operation after the other, also when a journal is prepared on a thread of its own."""

    def fail(self, operation: str, times: int = 1) -> None:
        """Make the next operations of this kind fail."""
        self._failures[operation] += times

    def kill(self) -> None:
        """End the process but not the machine: open files die, unsynced bytes stay in the cache."""
        self.life += 1

    def crash(self) -> int:
        """Lose an arbitrary part of what was not synced; return how many bytes were unsafe.

        Of four crashes one keeps all and one nothing; in the others each sector that was written is
        kept or not on its own, whatever was written first, and the file may end anywhere after its
        safe end. A name that was not yet safely in place may be gone, or be the old file again.
        """
        self.life += 1
        for name, before in self._unsettled.items():
            if self.below(2):
                self._files.pop(name)
                if before is not None:
                    self._files[name] = before
        self._unsettled, self._created = {}, {}
        unsafe_bytes = 0
        for content in self._files.values():
            unsafe_bytes += content.unsafe_bytes
            self._lose(content)
        return unsafe_bytes

    def _lose(self, content: Content) -> None:
        luck = self.below(4)
        if luck == 0:
            content.dirty, content.unsafe_bytes = [], 0
        elif luck == 1:
            content.sync()
        else:
            kept = [sector for sector in content.sectors() if self.below(4)]
            safe = len(content.durable)
            content.settle(kept, safe + self.below(len(content.shown) - safe + 1))
        content.shown = bytearray(content.durable)

    def flip(self, name: str, *, offset: int, bit: int) -> None:
        """Damage one bit of a stored file."""
        content = self._files[name]
        content.shown[offset] ^= 1 << bit
        content.durable[offset : offset + 1] = content.shown[offset : offset + 1]

    def names(self) -> list[str]:
        """Return the names of the files, ascending."""
        return sorted(self._files)

    def size(self, name: str) -> int:
        """Return a file's bytes. Corrupt: there is none of this name."""
        return len(self._find(name).shown)

    def read(self, name: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """Return a file as it shows, synced or not. Corrupt: there is none of this name."""
        end = None if limit is None else offset + limit
        return bytes(self._find(name).shown[offset:end])

    def write_atomic(self, name: str, data: bytes) -> None:
        """Put a whole file in place, or on Unavailable leave what was there before."""
        room = self.room()
        if self.operation("write", name) or (room is not None and len(data) > room):
            raise Unavailable(f"write {name}: no space left, or the disk failed")
        self._place(name, Content(bytearray(data), bytearray(data)))

    def create(self, name: str) -> SimulatedFile:
        """Begin a file, empty, that names() does not show until it is put in place."""
        content = self._created[name] = Content()
        return SimulatedFile(self, name, content)

    def put_in_place(self, name: str) -> None:
        """Let a created file be found by its name, durably."""
        if self.operation("write", name):
            raise Unavailable(f"put {name} in place: the disk failed")
        self._place(name, self._created.pop(name))

    def reopen(self, name: str) -> SimulatedFile:
        """Open a created file that is not yet in place once more, for another thread."""
        return SimulatedFile(self, name, self._created[name])

    def discard(self, name: str) -> None:
        """Remove a created file that was not put in place; one that is gone is no error."""
        self._created.pop(name, None)

    def _place(self, name: str, content: Content) -> None:
        before = self._files.get(name)
        self._files[name] = content
        self._unsettled[name] = before
        if self.before_operation is not None:
            self.before_operation("folder", name)
        self._unsettled.clear()  # syncing the folder settles every name in it

    def open(self, name: str) -> SimulatedFile:
        """Open an existing file for writing. Corrupt: there is none of this name."""
        return SimulatedFile(self, name, self._find(name))

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to size, durably."""
        if self.operation("truncate", name):
            raise Unavailable(f"truncate {name}: the disk failed")
        content = self._find(name)
        del content.shown[size:], content.durable[size:]
        content.sync()

    def delete(self, name: str) -> None:
        """Remove a file, durably."""
        if self.operation("delete", name):
            raise Unavailable(f"delete {name}: the disk failed")
        self._files.pop(name, None)

    def operation(self, operation: str, name: str) -> bool:
        """Count an operation, let the simulator interfere, and return whether it must fail."""
        if self.before_operation is not None:
            self.before_operation(operation, name)
        self.operations[operation] += 1
        fails = self._failures[operation] > 0
        self._failures[operation] -= fails
        return fails

    def room(self) -> int | None:
        """Return how many bytes still fit; None when the disk has no end."""
        if self.capacity_bytes is None:
            return None
        files = (*self._files.values(), *self._created.values())
        used = sum(len(content.shown) for content in files)
        return max(0, self.capacity_bytes - used)

    def below(self, limit: int) -> int:
        """Return a keyed random number in 0..limit-1."""
        return int.from_bytes(self._entropy.token_bytes(8), "big") % max(1, limit)

    def _find(self, name: str) -> Content:
        content = self._files.get(name)
        if content is None:
            raise Corrupt(f"{name}: there is no such file")
        return content
