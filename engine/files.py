"""The seam for files: what the journal and the snapshots need of a disk, and the real one.

Every failure of the disk is Unavailable. A failed append may have written a part, a failed sync may
have kept or lost anything: the caller must not use that file again (a second sync after a failed
one reports success and proves nothing).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from core.errors import Corrupt, Unavailable

_TEMPORARY = ".tmp"


class AppendFile(Protocol):
    """A file that only grows."""

    @property
    def size(self) -> int:
        """Return the bytes written so far, synced or not."""
        ...

    def append(self, data: bytes) -> None:
        """Write at the end. Unavailable: a part of it may have been written."""
        ...

    def sync(self) -> None:
        """Return when everything appended is on the disk. Unavailable: nobody knows what is."""
        ...

    def close(self) -> None:
        """Let go of the file; never raises and never syncs."""
        ...


class Storage(Protocol):
    """One folder."""

    def names(self) -> list[str]:
        """Return the names of the files, ascending."""
        ...

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """Return a file, or its first `limit` bytes. Corrupt: there is none of this name."""
        ...

    def write_atomic(self, name: str, data: bytes) -> None:
        """Put a whole file in place, durably, or on Unavailable leave what was there before."""
        ...

    def open_append(self, name: str) -> AppendFile:
        """Open an existing file for appending. Corrupt: there is none of this name."""
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
    """An AppendFile on a real disk."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        with _disk(f"open {self._name}"):
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._size = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        """Return the bytes written so far, synced or not."""
        return self._size

    def append(self, data: bytes) -> None:
        """Write all of data at the end. Unavailable: a part of it may have been written."""
        view = memoryview(data)
        with _disk(f"append to {self._name}"):
            while view:
                written = os.write(self._fd, view)
                self._size += written
                view = view[written:]

    def sync(self) -> None:
        """Return when everything appended is on the disk. Unavailable: nobody knows what is."""
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

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """Return a file, or its first `limit` bytes. Corrupt: there is none of this name."""
        with _disk(f"read {name}"), (self._folder / name).open("rb") as file:
            return file.read() if limit is None else file.read(limit)

    def write_atomic(self, name: str, data: bytes) -> None:
        """Write beside, sync, rename, sync the folder; on Unavailable the old file still stands."""
        temporary = self._folder / (name + _TEMPORARY)
        with _disk(f"write {name}"):
            try:
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._folder / name)
            except OSError:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            self._sync_folder()

    def open_append(self, name: str) -> DiskFile:
        """Open an existing file for appending. Corrupt: there is none of this name."""
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

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
