"""A disk for the simulator: forgets what was not synced, fails on demand, and lies as disks do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from core.entropy import Entropy
from core.errors import Corrupt, Unavailable

SECTOR_BYTES = 512


@dataclass(slots=True)
class _Content:
    """What a file shows, how much of it is safe, and which unsafe bytes a failed sync lost."""

    shown: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    lost: list[tuple[int, int]] = field(default_factory=list)

    def sync(self) -> None:
        self.durable = bytearray(self.shown)
        _blank(self.durable, self.lost)


def _blank(data: bytearray, ranges: list[tuple[int, int]]) -> None:
    for start, end in ranges:
        gone = max(0, min(end, len(data)) - start)
        data[start : start + gone] = bytes(gone)


class SimulatedFile:
    """An AppendFile of a SimulatedStorage; dead after its crash."""

    def __init__(self, storage: SimulatedStorage, name: str, content: _Content) -> None:
        self._storage = storage
        self._name = name
        self._content = content
        self._life = storage.life

    @property
    def size(self) -> int:
        """Return the bytes written so far, synced or not."""
        return len(self._content.shown)

    def append(self, data: bytes) -> None:
        """Write at the end; a full or failing disk takes only a part."""
        self._check_alive()
        room = self._storage.room()
        fails = self._storage.operation("append", self._name)
        taken = len(data) if room is None else min(room, len(data))
        if fails:
            taken = min(taken, self._storage.below(len(data)))
        self._content.shown += data[:taken]
        if taken < len(data):
            raise Unavailable(f"append to {self._name}: no space left, or the disk failed")

    def sync(self) -> None:
        """Make everything safe; a failed sync drops the unsafe bytes for ever, as Linux does."""
        self._check_alive()
        if self._storage.operation("sync", self._name):
            self._content.lost.append((len(self._content.durable), len(self._content.shown)))
            raise Unavailable(f"sync {self._name}: the disk failed")
        self._content.sync()

    def close(self) -> None:
        """Let go of the file."""

    def _check_alive(self) -> None:
        if self._life != self._storage.life:
            raise Unavailable(f"{self._name} was open in a process that crashed")


class SimulatedStorage:
    """Implements `engine.files.Storage` in memory.

    `fail("append" | "sync" | "write" | "delete" | "truncate")` makes the next such operation fail;
    `capacity_bytes` makes the disk full; `before_operation(operation, name)` may raise, to crash
    right there.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._files: dict[str, _Content] = {}
        self._failures: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        self.capacity_bytes: int | None = None
        self.before_operation: Callable[[str, str], None] | None = None
        self.life = 0

    def fail(self, operation: str, times: int = 1) -> None:
        """Make the next operations of this kind fail."""
        self._failures[operation] += times

    def kill(self) -> None:
        """End the process but not the machine: open files die, unsynced bytes stay in the cache."""
        self.life += 1

    def crash(self) -> int:
        """Lose an arbitrary part of every file's unsynced bytes; return how many bytes were unsafe.

        Of four crashes one keeps all and one nothing; of the others a prefix of arbitrary length
        stays, and inside it any sector may have been left unwritten.
        """
        self.life += 1
        unsafe_bytes = 0
        for content in self._files.values():
            safe = len(content.durable)
            unsafe_bytes += len(content.shown) - safe
            kept = self._survives(content, safe)
            _blank(kept, content.lost)
            content.shown, content.durable, content.lost = kept, bytearray(kept), []
        return unsafe_bytes

    def _survives(self, content: _Content, safe: int) -> bytearray:
        luck = self.below(4)
        if luck == 0:
            return bytearray(content.durable)
        if luck == 1:
            return content.durable + content.shown[safe:]
        length = self.below(len(content.shown) - safe + 1)
        kept = content.durable + content.shown[safe : safe + length]
        for start in range(safe, len(kept), SECTOR_BYTES):
            if self.below(4) == 0:
                _blank(kept, [(start, start + SECTOR_BYTES)])
        return kept

    def flip(self, name: str, *, offset: int, bit: int) -> None:
        """Damage one bit of a stored file."""
        content = self._files[name]
        content.shown[offset] ^= 1 << bit
        content.durable[offset : offset + 1] = content.shown[offset : offset + 1]

    def names(self) -> list[str]:
        """Return the names of the files, ascending."""
        return sorted(self._files)

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """Return a file as it shows, synced or not. Corrupt: there is none of this name."""
        return bytes(self._find(name).shown[:limit])

    def write_atomic(self, name: str, data: bytes) -> None:
        """Put a whole file in place, or on Unavailable leave what was there before."""
        room = self.room()
        if self.operation("write", name) or (room is not None and len(data) > room):
            raise Unavailable(f"write {name}: no space left, or the disk failed")
        self._files[name] = _Content(bytearray(data), bytearray(data))

    def open_append(self, name: str) -> SimulatedFile:
        """Open an existing file for appending. Corrupt: there is none of this name."""
        return SimulatedFile(self, name, self._find(name))

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to size, durably."""
        if self.operation("truncate", name):
            raise Unavailable(f"truncate {name}: the disk failed")
        content = self._find(name)
        del content.shown[size:]
        content.lost = [(start, min(end, size)) for start, end in content.lost if start < size]
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
        used = sum(len(content.shown) for content in self._files.values())
        return max(0, self.capacity_bytes - used)

    def below(self, limit: int) -> int:
        """Return a keyed random number in 0..limit-1."""
        return int.from_bytes(self._entropy.token_bytes(8), "big") % max(1, limit)

    def _find(self, name: str) -> _Content:
        content = self._files.get(name)
        if content is None:
            raise Corrupt(f"{name}: there is no such file")
        return content
