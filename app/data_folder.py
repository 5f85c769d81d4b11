"""The engine's folder: one process at a time, by a lock that the kernel takes from the dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from core.entropy import Entropy
from core.errors import InUse

LOCK_NAME = "engine.lock"
IDENTITY_NAME = "identity"
JOURNAL_NAME = "journal"
IDENTITY_BYTES = 16


class FolderInUse(InUse):
    """Another living process uses the folder."""


@contextlib.contextmanager
def claim(folder: Path, *, entropy: Entropy) -> Iterator[str]:
    """Use the folder alone until the block ends; yields the folder's identity.

    Whoever else claimed this identity before is dead, or this would not return. FolderInUse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderInUse(f"another engine process uses {folder}") from error
        yield _identity(folder / IDENTITY_NAME, entropy)
    finally:
        os.close(handle)


def _identity(path: Path, entropy: Entropy) -> str:
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.write_text(entropy.token_bytes(IDENTITY_BYTES).hex(), "ascii")
        draft.replace(path)
    return path.read_text("ascii")
