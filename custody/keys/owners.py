"""Whose each deposit key is, as the signer knows it: one append-only file beside its seed.

    16      magic, "strongroom/owner" and per key, once
    1       number of the account (custody.keys.signers.base.ACCOUNT_NUMBERS)
    4       index of the key, big-endian
    8       customer number, big-endian
    4       CRC-32 of the 13 bytes before

A row in SQL may be swapped with another one or wiped and asked for again; what the signer attested
to once it attests to nobody else (I15). A torn last record is cut off, a damaged one is Corrupt.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import CustomerNo
from custody.keys.private_file import OWNER_ONLY
from custody.keys.signers.base import ACCOUNT_NUMBERS, KeyRef

MAGIC = b"strongroom/owner"
RECORD = struct.Struct(">BIQI")
_BODY = struct.Struct(">BIQ")
_NAMES: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in ACCOUNT_NUMBERS.items()}
)


class OwnersInMemory:
    """The same promise for the simulator and tests: kept as long as this object."""

    def __init__(self) -> None:
        self._owners: dict[str, dict[int, int]] = {name: {} for name in ACCOUNT_NUMBERS}

    def owner(self, key: KeyRef) -> CustomerNo | None:
        """Return whose a key is, None when it was never claimed."""
        found = self._owners[key.account].get(key.index)
        return None if found is None else CustomerNo(found)

    def claim(self, key: KeyRef, customer_no: CustomerNo) -> None:
        """Note a key's owner. Refused: exists_with_other_content, when it is somebody else's."""
        if self._is_new(key, customer_no):
            self._owners[key.account][key.index] = customer_no

    def _is_new(self, key: KeyRef, customer_no: CustomerNo) -> bool:
        found = self.owner(key)
        if found not in (None, customer_no):
            raise Refused(
                Reason.EXISTS_WITH_OTHER_CONTENT,
                f"{key.account}/{key.index} was attested to another customer",
            )
        return found is None


class OwnerBook(OwnersInMemory):
    """The owners in a file; a claim is on the disk before it returns. One process may open it."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Unavailable: another process has it. Corrupt: it is damaged."""
        super().__init__()
        self.path = path
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._end = self._read()
        except BlockingIOError as error:
            os.close(self._file)
            raise Unavailable(f"{path.name} is open in another process") from error
        except Corrupt:
            os.close(self._file)
            raise

    def claim(self, key: KeyRef, customer_no: CustomerNo) -> None:
        """Note a key's owner durably. Refused: exists_with_other_content. Unavailable: the disk."""
        with self._lock:
            if not self._is_new(key, customer_no):
                return
            body = _BODY.pack(ACCOUNT_NUMBERS[key.account], key.index, customer_no)
            try:
                _write(self._file, body + zlib.crc32(body).to_bytes(4, "big"), self._end)
            except OSError as error:
                raise Unavailable(f"{self.path.name} cannot be written") from error
            self._end += RECORD.size
            super().claim(key, customer_no)

    def close(self) -> None:
        """Let another process have the file."""
        os.close(self._file)

    def _read(self) -> int:
        """Fill the memory and return where the next record goes; what was torn is cut off."""
        data = _read_all(self._file)
        if MAGIC.startswith(data[: len(MAGIC)]) and len(data) <= len(MAGIC):
            _write(self._file, MAGIC, 0)
            _sync_folder(self.path.parent)
            return len(MAGIC)
        if not data.startswith(MAGIC):
            raise Corrupt(f"{self.path.name} is no book of owners")
        whole = len(data) - (len(data) - len(MAGIC)) % RECORD.size
        for at in range(len(MAGIC), whole, RECORD.size):
            account, index, customer_no, crc = RECORD.unpack_from(data, at)
            if crc != zlib.crc32(data[at : at + _BODY.size]) or account not in _NAMES:
                if at + RECORD.size == len(data):
                    whole = at
                    break
                raise Corrupt(f"{self.path.name} is damaged at byte {at}")
            try:
                super().claim(KeyRef(_NAMES[account], index), CustomerNo(customer_no))
            except Refused as refused:
                raise Corrupt(f"{self.path.name} contradicts itself at byte {at}") from refused
        os.ftruncate(self._file, whole)
        os.fsync(self._file)
        return whole

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an open file is not pickled or copied")


def _read_all(file: int) -> bytes:
    size, parts, at = os.fstat(file).st_size, [], 0
    while at < size:
        part = os.pread(file, size - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _write(file: int, data: bytes, at: int) -> None:
    """Write durably at a place: a failed try leaves bytes that the next one overwrites."""
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], at + done)
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
