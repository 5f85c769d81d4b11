"""Public keys that were seen once and must be the same for ever.

One line a key, `account index hex`, appended and fsynced before the key is used. A last line that
was torn by a crash was never used and is cut off; any other damage is Corrupt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from core.errors import Corrupt
from custody.keys.private_file import OWNER_ONLY
from custody.keys.signers.base import KeyRef

_LINE = re.compile(rb"([a-z]+(?:\.[0-9]{1,2})?) (0|[1-9][0-9]{0,9}) ([0-9a-f]{64})", re.ASCII)


class PinnedKeys:
    """The pinned keys of one file; safe for threads, for one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._keys: dict[KeyRef, bytes] = {}
        self._size = 0
        for number, line in enumerate(self._whole_lines(), 1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise Corrupt(f"{path}:{number} is no pinned key")
            key = KeyRef(match[1].decode(), int(match[2]))
            if key in self._keys:
                raise Corrupt(f"{path}:{number} pins {key} twice")
            self._keys[key] = bytes.fromhex(match[3].decode())

    def get(self, key: KeyRef) -> bytes | None:
        """Return the pinned public key, None when it was never seen."""
        return self._keys.get(key)

    def pin(self, seen: Mapping[KeyRef, bytes]) -> None:
        """Keep public keys for ever. Corrupt when one differs from what was seen before."""
        with self._lock:
            for key, public_key in seen.items():
                if self._keys.get(key, public_key) != public_key:
                    raise Corrupt(f"{key} has another public key than before")
            fresh = {key: seen[key] for key in seen if key not in self._keys}
            if fresh:
                self._append(fresh)
                self._keys.update(fresh)

    def _append(self, fresh: Mapping[KeyRef, bytes]) -> None:
        lines = "".join(f"{k.account} {k.index} {value.hex()}\n" for k, value in fresh.items())
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        handle = os.open(self._path, flags, OWNER_ONLY)
        try:
            os.ftruncate(handle, self._size)  # a torn line was never used
            os.pwrite(handle, lines.encode("ascii"), self._size)
            os.fsync(handle)
        finally:
            os.close(handle)
        if not self._size:
            self._sync_folder()
        self._size += len(lines)

    def _whole_lines(self) -> list[bytes]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        self._size = data.rfind(b"\n") + 1
        return data[: self._size].split(b"\n")[:-1]

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
