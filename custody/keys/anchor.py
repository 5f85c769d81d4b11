"""An anchor: something outside the signer's folder that remembers how far its log has come.

A folder can be copied back to what it was yesterday; a monotonic counter or an object in a token
cannot. With an anchor, a store that is behind it, or that tells another story than it, signs
nothing: two copies of one store exclude each other as soon as one of them has signed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.signing_record import GENESIS, Mark

_HASH_HEX = 64


class Anchor(Protocol):
    """Remembers one mark; it only ever moves forward."""

    def read(self) -> Mark:
        """Return the mark, GENESIS before the first. Unavailable: it does not answer now."""
        ...

    def advance(self, expected: Mark, new: Mark) -> None:
        """Move from one mark to a later one, durably.

        Refused: stale_signer, when it does not stand at `expected`. Unavailable: nobody knows
        whether it has moved.
        """
        ...


class FileAnchor:
    """An anchor in a file, which is of use where the file lies on another machine or medium."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mark:
        """Return the mark, GENESIS before the first. Corrupt: the file holds no mark."""
        try:
            text = self._path.read_text("ascii")
        except FileNotFoundError:
            return GENESIS
        except OSError as error:
            raise Unavailable(f"the anchor: {error.strerror}") from error
        position, _, hash_ = text.strip().partition(" ")
        if not position.isdigit() or len(hash_) != _HASH_HEX:
            raise Corrupt(f"{self._path.name} holds no mark")
        return Mark(int(position), bytes.fromhex(hash_))

    def advance(self, expected: Mark, new: Mark) -> None:
        """Compare and move under a lock. Refused: stale_signer. Unavailable."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"the anchor: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.read() != expected:
                raise Refused(Reason.STALE_SIGNER, "the anchor has moved without this store")
            self._write(new)
        except OSError as error:
            raise Unavailable(f"the anchor: {error.strerror}") from error
        finally:
            os.close(lock)

    def _write(self, mark: Mark) -> None:
        draft = self._path.with_suffix(".new")
        with draft.open("w", encoding="ascii") as file:
            file.write(f"{mark.position} {mark.hash.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
