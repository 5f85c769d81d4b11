"""The seam for files: what the journal and the snapshots need of a disk, and the real one.

Every failure of the disk is Unavailable. A failed write may have written a part, a failed sync may
have kept or lost anything: the caller must not use that file again (a second sync after a failed
one reports success and proves nothing).

A sync tells of a failure once to each open file: who must know opens the file for himself.

A journal file is filled with zeros ahead of what is written into it. So a block is written over
blocks of the disk that the file already owns: its sync moves data alone and commits nothing of the
file system's own, which is most of what an append to a growing file waits for.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from core.errors import Corrupt, Unavailable

_TEMPORARY = ".tmp"
_ZEROS = bytes(1 << 18)
_DSYNC = getattr(os, "RWF_DSYNC", 0)


class WritableFile(Protocol):
    """A file written at places that its owner chooses; one handle per thread that writes."""

    @property
    def size(self) -> int:
        """Return how long the file was when it was opened, or what this handle made of it."""
        ...

    def write_zeros(self, start: int, end: int) -> None:
        """Write zeros over start..end without syncing. Unavailable: over a part of it, perhaps."""
        ...

    def write_synced(self, offset: int, *parts: bytes) -> None:
        """Write the parts one after another and return when they are on the disk.

        Unavailable: nobody knows what is there now.
        """
        ...

    def sync(self) -> None:
        """Return when all that was written is on the disk. Unavailable: nobody knows what is."""
        ...

    def close(self) -> None:
        """Let go of the file; never raises and never syncs."""
        ...


class Storage(Protocol):
    """One folder."""

    def names(self) -> list[str]:
        """Return the names of the files, ascending."""
        ...

    def size(self, name: str) -> int:
        """Return a file's bytes. Corrupt: there is none of this name."""
        ...

    def read(self, name: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """Return a file from offset on, or `limit` bytes of it, or what there is of them.

        Corrupt: there is none of this name.
        """
        ...

    def write_atomic(self, name: str, data: bytes) -> None:
        """Put a whole file in place, durably, or on Unavailable leave what was there before."""
        ...

    def create(self, name: str) -> WritableFile:
        """Begin a file, empty, that names() does not show until it is put in place."""
        ...

    def put_in_place(self, name: str) -> None:
        """Let a created file, which its writer has synced, be found by its name, durably.

        Unavailable: it may be there, or may appear after a crash.
        """
        ...

    def reopen(self, name: str) -> WritableFile:
        """Open a created file that is not yet in place once more, for another thread."""
        ...

    def discard(self, name: str) -> None:
        """Remove a created file that was not put in place; one that is gone is no error."""
        ...

    def open(self, name: str) -> WritableFile:
        """Open an existing file for writing. Corrupt: there is none of this name."""
        ...

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to size, durably."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file, durably; one that is gone is no error."""
        ...


@contextlib.contextmanager
def _disk(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Corrupt(f"{what}: there is no such file") from error
    except OSError as error:
        raise Unavailable(f"{what}: {error.strerror or error}") from error


class DiskFile:
    """A WritableFile on a real disk."""

    dsync = _DSYNC

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        self._name = path.name
        flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if is_new else 0)
        with _disk(f"open {self._name}"):
            self._fd = os.open(path, flags, 0o666)
            self._size = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        """Return how long the file was when it was opened, or what this handle made of it."""
        return self._size

    def write_zeros(self, start: int, end: int) -> None:
        """Write zeros over start..end without syncing. Unavailable: over a part of it, perhaps."""
        with _disk(f"extend {self._name}"):
            while start < end:
                start += os.pwrite(self._fd, memoryview(_ZEROS)[: end - start], start)
                self._size = max(self._size, start)

    def write_synced(self, offset: int, *parts: bytes) -> None:
        """Write the parts one after another and return when they are on the disk.

        Unavailable: nobody knows what is there now.
        """
        total = sum(map(len, parts))
        with _disk(f"write to {self._name}"):
            written = self._write(offset, parts)
            if written < total:
                rest = memoryview(b"".join(parts))[written:]
                while rest:
                    count = os.pwrite(self._fd, rest, offset + total - len(rest))
                    rest = rest[count:]
            self._size = max(self._size, offset + total)
        if written < total or not self.dsync:
            self.sync()

    def _write(self, offset: int, parts: tuple[bytes, ...]) -> int:
        # One system call for both where there is one: each takes the interpreter's lock again.
        if self.dsync:
            try:
                return os.pwritev(self._fd, parts, offset, self.dsync)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                self.dsync = 0
        return os.pwritev(self._fd, parts, offset)

    def sync(self) -> None:
        """Return when all that was written is on the disk. Unavailable: nobody knows what is."""
        with _disk(f"sync {self._name}"):
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Let go of the file; what was not synced stays unproven."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


class DiskStorage:
    """A folder on a real disk; made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with _disk(f"make {folder}"):
            folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """Return the names of the files, ascending; unfinished ones are left out."""
        with _disk(f"list {self._folder}"):
            return sorted(
                entry.name
                for entry in os.scandir(self._folder)
                if entry.is_file() and not entry.name.endswith(_TEMPORARY)
            )

    def size(self, name: str) -> int:
        """Return a file's bytes. Corrupt: there is none of this name."""
        with _disk(f"look at {name}"):
            return (self._folder / name).stat().st_size

    def read(self, name: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """Return a file from offset on, or `limit` bytes of it, or what there is of them."""
        with _disk(f"read {name}"), (self._folder / name).open("rb", buffering=0) as file:
            file.seek(offset)
            if limit is None:
                return file.readall()
            data = file.read(limit) or b""
            while 0 < len(data) < limit and (more := file.read(limit - len(data))):
                data += more
            return data

    def write_atomic(self, name: str, data: bytes) -> None:
        """Write beside, sync, rename, sync the folder; on Unavailable the old file still stands."""
        temporary = self._temporary(name)
        try:
            with _disk(f"write {name}"), temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self.put_in_place(name)
        except Unavailable:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def create(self, name: str) -> DiskFile:
        """Begin a file, empty, that names() does not show until it is put in place."""
        self.discard(name)  # whoever still has the last one open must not write into this one
        return DiskFile(self._temporary(name), is_new=True)

    def reopen(self, name: str) -> DiskFile:
        """Open a created file that is not yet in place once more, for another thread."""
        return DiskFile(self._temporary(name))

    def put_in_place(self, name: str) -> None:
        """Rename what was created, and sync the folder."""
        with _disk(f"put {name} in place"):
            self._temporary(name).replace(self._folder / name)
            self._sync_folder()

    def discard(self, name: str) -> None:
        """Remove a created file that was not put in place; one that is gone is no error."""
        with _disk(f"discard {name}"):
            self._temporary(name).unlink(missing_ok=True)

    def open(self, name: str) -> DiskFile:
        """Open an existing file for writing. Corrupt: there is none of this name."""
        return DiskFile(self._folder / name)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to size, durably."""
        with _disk(f"truncate {name}"), (self._folder / name).open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def delete(self, name: str) -> None:
        """Remove a file, durably; one that is gone is no error."""
        with _disk(f"delete {name}"):
            (self._folder / name).unlink(missing_ok=True)
            self._sync_folder()

    def _temporary(self, name: str) -> Path:
        return self._folder / (name + _TEMPORARY)

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
