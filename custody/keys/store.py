"""The signer's own store: one append-only file that nobody else writes.

What is appended together is one durable write, made before any signature of it leaves; after a
write that failed the store is of no use until it is opened again. Opening checks the file from its
first byte to its last: a block whose write never ended is cut (nothing of it had left), anything
else that does not check is Corrupt, also in the last block. custody.keys.store_blocks has the
bytes, custody.keys.signing_record what an entry is.

One process at a time: a folder is locked, and a store is used under its `lock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from core.errors import Corrupt, InUse, Reason, Refused, StrongroomError, Unavailable
from custody.keys.anchor import Anchor
from custody.keys.signing_record import GENESIS, Entry, Mark, Record, decode, entry_of
from custody.keys.store_blocks import (
    FILE_BYTES,
    FILE_HEADER,
    HEADER_BYTES,
    pack_block,
)
from custody.keys.store_index import Index
from custody.keys.store_reading import NAME, blocks_of, entries_in, read_log
from engine.files import DiskStorage, Storage, WritableFile

LOCK_NAME = "lock"
FIRST_BYTES = 1 << 16
STEP_BYTES = 1 << 20
_RECORD_BYTES_MAX = 900_000
"""A canonical message holds 1 MiB; the rest of a record is short."""


class StoreInUse(InUse):
    """Another living signer uses the folder."""


class Store:
    """The log of one signer, open for writing. Everything in it is done under `lock`."""

    def __init__(
        self,
        storage: Storage,
        *,
        anchor: Anchor | None = None,
        unlock: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the store of a folder, or begin one; close() calls unlock.

        Corrupt: damaged. Refused: stale_signer (behind its anchor, or another story than its).
        Unavailable: the disk or the anchor failed.
        """
        self.lock = threading.RLock()
        self.index = Index()
        self.mark = self._durable = GENESIS
        self.last_ns = 0
        """When the last entry was signed; 0 before the first."""
        self.roster_serial = 0
        """The highest that anything was signed under."""
        self.asked: dict[tuple[str, str], int] = {}
        """When a node was last asked about a key or a coin (custody.keys.watermark)."""
        self._storage = storage
        self._anchor = anchor
        self._reserved: list[tuple[Record, int, int]] = []
        """With what last_ns and roster_serial were before."""
        self._staged: list[tuple[Entry, bytes]] = []
        self._offsets, self._lengths = array("Q"), array("I")
        self._failed: Unavailable | None = None
        self._unlock = unlock
        if NAME not in storage.names():
            _begin(storage)
        self._end, self._ready = self._recover()
        self._file: WritableFile = storage.open(NAME)
        with contextlib.ExitStack() as opened:
            opened.callback(self._file.close)
            self._settle()
            opened.pop_all()

    @classmethod
    def open(cls, folder: Path, *, anchor: Anchor | None = None) -> Store:
        """Open the store in a folder of a real disk, which is locked until close().

        StoreInUse: another process uses the folder; and as Store().
        """
        storage = DiskStorage(folder)
        try:
            folder.chmod(0o700)
            handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"lock {folder}: {error.strerror}") from error
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreInUse(f"another signer uses {folder}") from error
            store = cls(storage, anchor=anchor, unlock=lambda: os.close(handle))
            opened.pop_all()
            return store

    def close(self) -> None:
        """Let go of the file and of the folder."""
        with self.lock:
            if self._failed is None:
                self._failed = Unavailable("the signer's store is closed")
            self._file.close()
            self._unlock()
            self._unlock = lambda: None

    @property
    def is_usable(self) -> bool:
        """Return whether it can be used; otherwise it must be opened again."""
        return self._failed is None

    # ---- writing

    def reserve(self, record: Record) -> int:
        """Give a record that is about to be signed the next position; it counts from now on.

        Refused: too_large. Unavailable: the store must be opened again.
        """
        self.check_usable()
        assert record.signed_at_ns >= self.last_ns
        if len(record.payload) + len(record.evidence) > _RECORD_BYTES_MAX:
            raise Refused(Reason.TOO_LARGE, "a record of this transaction")
        self._reserved.append((record, self.last_ns, self.roster_serial))
        position = self.mark.position + len(self._reserved)
        self._note(record, position)
        return position

    def fulfil(self, signatures: Sequence[bytes]) -> None:
        """Put a signature to every reserved record, in their order; commit() writes them."""
        reserved, self._reserved = self._reserved, []
        before = self._failed
        self._failed = Unavailable("something broke while entries were made")
        for (record, _, _), signature in zip(reserved, signatures, strict=True):
            entry, message = entry_of(self.mark, record, signature)
            self._staged.append((entry, message))
            self.mark = entry.mark
        self._failed = before

    def give_back(self) -> None:
        """Take back what was reserved and could not be signed."""
        while self._reserved:
            position = self.mark.position + len(self._reserved)
            record, self.last_ns, self.roster_serial = self._reserved.pop()
            self.index.remove(record, position)

    def stage(self, record: Record, signature: bytes) -> Entry:
        """Put an entry behind the last one; it counts for whoever asks and is not yet durable.

        Refused: too_large. Unavailable: the store must be opened again.
        """
        self.reserve(record)
        self.fulfil([signature])
        return self._staged[-1][0]

    def commit(self) -> None:
        """Return when everything staged is durable and the anchor knows of it.

        Unavailable, or Refused stale_signer (another store moved the anchor): the store must be
        opened again, and nothing that was staged may leave.
        """
        self.check_usable()
        if not self._staged:
            return
        messages = [message for _, message in self._staged]
        block = pack_block(self._durable, messages)
        is_durable = False
        try:
            self._make_room(self._end + len(block))
            self._file.write_synced(self._end, block)
            if self._anchor is not None:
                self._anchor.advance(self._durable, self.mark)
            is_durable = True
        finally:
            if not is_durable:
                self._failed = Unavailable("a write to the signer's store did not end well")
        offset = self._end + HEADER_BYTES
        for message in messages:
            self._offsets.append(offset + 4)
            self._lengths.append(len(message))
            offset += 4 + len(message)
        self._end += len(block)
        self._durable = self.mark
        self._staged.clear()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store; what was staged is durable when the block has ended, also by an error.

        Errors as commit(). Whatever is no error ends the store: nobody knows what it interrupted.
        """
        with self.lock:
            self.check_usable()
            is_known = False
            try:
                yield
                is_known = True
            except StrongroomError:
                is_known = True
                raise
            finally:
                if is_known:
                    self.give_back()
                    self.commit()
                else:
                    self._failed = Unavailable("something broke while the store was held")

    def append(self, batch: list[tuple[Record, bytes]]) -> list[Entry]:
        """Stage and commit. Errors as both."""
        with self.writing():
            return [self.stage(record, signature) for record, signature in batch]

    # ---- reading

    def entry(self, position: int) -> Entry:
        """Return one entry, also one not yet durable; a reserved one has no signature and hashes.

        Corrupt: it is not what was written.
        """
        if position > self.mark.position:
            record, _, _ = self._reserved[position - self.mark.position - 1]
            return Entry(position, b"", record, b"", b"")
        if position > len(self._offsets):
            return self._staged[position - len(self._offsets) - 1][0]
        offset, length = self._offsets[position - 1], self._lengths[position - 1]
        entry = decode(self._storage.read(NAME, offset=offset, limit=length))
        if entry.position != position:
            raise Corrupt(f"signing record {position} is another one by now")
        return entry

    def entries(self, after: int = 0, limit: int | None = None) -> list[Entry]:
        """Return durable entries after a position, at most `limit`, in order."""
        with self.lock:
            last = len(self._offsets) if limit is None else min(len(self._offsets), after + limit)
            return [self.entry(position) for position in range(after + 1, last + 1)]

    def _note(self, record: Record, position: int) -> None:
        self.last_ns = record.signed_at_ns
        self.roster_serial = max(self.roster_serial, record.roster_serial)
        self.index.add(record, position)

    # ---- opening

    def _recover(self) -> tuple[int, int]:
        """Read the whole file; return where it ends, and how far it is zeros after that."""
        end = FILE_BYTES
        self._last_block = b""
        for offset, header, block in blocks_of(self._storage):
            for entry, start, length in entries_in(offset, header, block, after=self.mark):
                self._offsets.append(start)
                self._lengths.append(length)
                self.mark = entry.mark
                self._note(entry.record, entry.position)
            end, self._last_block = offset + header.size, block
        self._durable = self.mark
        return end, end

    def _settle(self) -> None:
        """Make what was read durable, cut what follows it, and ask the anchor.

        The last block may lie in the page cache alone, even after a sync that failed: it is written
        over itself, because syncing would prove nothing about pages that failed once.
        """
        self._storage.truncate(NAME, self._end)
        if self._last_block:
            self._file.write_synced(self._end - len(self._last_block), self._last_block)
            self._last_block = b""
        self._make_room(self._end + FIRST_BYTES // 2)
        if self._anchor is None:
            return
        known = self._anchor.read()
        if known.position > self.mark.position:
            raise Refused(
                Reason.STALE_SIGNER,
                f"the store ends at {self.mark.position}, its anchor knows {known.position}",
            )
        if known != GENESIS and self.entry(known.position).hash != known.hash:
            raise Refused(Reason.STALE_SIGNER, "the anchor knows another story than this store")
        if known != self.mark:
            self._anchor.advance(known, self.mark)

    def _make_room(self, end: int) -> None:
        """Return when there are durable zeros up to `end`."""
        if end <= self._ready:
            return
        step = FIRST_BYTES if self._ready < STEP_BYTES else STEP_BYTES
        upto = -(-end // step) * step
        self._file.write_zeros(self._ready, upto)
        self._file.sync()
        self._ready = upto

    def check_usable(self) -> None:
        """Return while it can be used. Unavailable: it must be opened again."""
        if self._failed is not None:
            raise Unavailable(f"the signer's store must be opened again: {self._failed}")


class Shelf:
    """A store where it lies: opened when it is first needed, and again after it failed."""

    def __init__(self, where: Path | Storage, *, anchor: Anchor | None = None) -> None:
        self._where = where
        self._anchor = anchor
        self._lock = threading.Lock()
        self._store: Store | None = None

    def store(self) -> Store:
        """Return the open store. Errors as Store.open."""
        with self._lock:
            if self._store is not None and self._store.is_usable:
                return self._store
            if self._store is not None:
                self._store.close()
                self._store = None
            if isinstance(self._where, Path):
                self._store = Store.open(self._where, anchor=self._anchor)
            else:
                self._store = Store(self._where, anchor=self._anchor)
            return self._store

    def entries(self, after: int = 0, limit: int | None = None) -> list[Entry]:
        """Return durable entries after a position, also while another process has the store."""
        with self._lock:
            store = self._store
            if store is not None and store.is_usable:
                return store.entries(after, limit)
        where = DiskStorage(self._where) if isinstance(self._where, Path) else self._where
        found = read_log(where)[after:]
        return found if limit is None else found[:limit]

    def mark(self) -> Mark:
        """Return how far the log reaches."""
        with self._lock:
            store = self._store
            if store is not None and store.is_usable:
                with store.lock:
                    return store.mark
        found = self.entries()
        return found[-1].mark if found else GENESIS

    def close(self) -> None:
        """Close the store when it is open."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def _begin(storage: Storage) -> None:
    file = storage.create(NAME)
    try:
        file.write_synced(0, FILE_HEADER)
    finally:
        file.close()
    storage.put_in_place(NAME)
