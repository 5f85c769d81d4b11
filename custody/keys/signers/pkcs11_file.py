"""The file in which a token's signer remembers its keys: public keys, and wrapped private ones.

A line per batch of keys, only ever appended:

    <tag> {"account":…,"first":…,"keys":[[public key, blob or ""],…]}

The tag is the token's HMAC over the tag before and the text, so that nothing in the file can be
changed, moved or taken out by whoever has the file but not the token, and so that another token is
recognised. A line without its end is what a crash left of a batch that nobody was told of; it is
cut off. What is wrong otherwise is Corrupt.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TypeAlias, cast

from core.errors import Corrupt, Unavailable
from custody.keys.private_file import OWNER_ONLY
from custody.keys.signers.base import KeyRef
from custody.keys.signers.pkcs11_module import wait_for_lock

DOMAIN = b"strongroom/token-keys/v1\n"
TAG_HEX = 64
Tagger: TypeAlias = Callable[[bytes], bytes]
"""The token's HMAC over 32 bytes."""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key that exists: in the token when blob is empty, else wrapped by its KEK."""

    public_key: bytes
    blob: bytes


class KeyFile:
    """The keys of one signer. `name` stands in every tag: files are not exchanged for another."""

    def __init__(self, path: Path, name: str, tagger: Tagger) -> None:
        self._path, self._tagger = path, tagger
        self._first_tag = hashlib.sha256(DOMAIN + name.encode("ascii")).hexdigest()
        self._entries: dict[KeyRef, KeyEntry] = {}
        self._tag, self._offset = self._first_tag, 0
        self._locks: dict[int, threading.RLock] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: KeyRef) -> KeyEntry | None:
        """Return a key's entry, looking into the file again when it is not known yet."""
        found = self._entries.get(key)
        if found is None and self._has_grown():
            self.read()
            found = self._entries.get(key)
        return found

    def token_keys(self) -> list[tuple[KeyRef, bytes]]:
        """Return the keys that must be in the token, with their public keys."""
        entries = list(self._entries.items())
        return [(key, entry.public_key) for key, entry in entries if not entry.blob]

    def read(self) -> None:
        """Take in what was appended since.

        Corrupt: it is not what this token's signer wrote. Unavailable: the disk.
        """
        try:
            with self._lock(), self._path.open("rb") as stream:
                stream.seek(self._offset)
                self._take_in(stream.read())
        except FileNotFoundError as error:
            if self._offset:
                raise Corrupt(f"{self._path} is gone") from error
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error

    @contextlib.contextmanager
    def appending(self) -> Iterator[Callable[[str, int, Sequence[KeyEntry]], None]]:
        """Keep other processes from appending; lend what appends a batch durably.

        Unavailable: the disk, or others do not let go of the file. Corrupt as read.
        """
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(self._locked())
            self.read()
            stream.truncate(self._offset)  # what a crash left

            def append(account: str, first: int, entries: Sequence[KeyEntry]) -> None:
                keys = [[entry.public_key.hex(), entry.blob.hex()] for entry in entries]
                page = {"account": account, "first": first, "keys": keys}
                text = json.dumps(page, sort_keys=True, separators=(",", ":"))
                with self._lock():  # nobody in this process reads what is not yet durable
                    self._write(stream, f"{self._tag_of(self._tag, text)} {text}\n".encode())
                    self.read()

            yield append

    @contextlib.contextmanager
    def _locked(self) -> Iterator[FileIO]:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
            folder = os.open(self._path.parent, os.O_RDONLY)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error
        try:
            os.fsync(folder)  # the file's name is as durable as what will stand in it
        finally:
            os.close(folder)
        with FileIO(handle, "rb+") as stream:
            wait_for_lock(handle, self._path)
            yield stream

    def _write(self, stream: FileIO, line: bytes) -> None:
        try:
            stream.seek(self._offset)
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                stream.truncate(self._offset)
            raise Unavailable(f"{self._path}: {error.strerror}") from error

    def _has_grown(self) -> bool:
        try:
            return self._path.stat().st_size != self._offset
        except FileNotFoundError:
            return bool(self._offset)

    def _lock(self) -> threading.RLock:
        # A lock that was held when the process forked is never released in the child.
        return self._locks.setdefault(os.getpid(), threading.RLock())

    def _take_in(self, data: bytes) -> None:
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            self._take_line(line)
            self._offset += len(line)

    def _take_line(self, line: bytes) -> None:
        tag, text = line[:TAG_HEX].decode("ascii", "replace"), line[TAG_HEX + 1 : -1]
        try:
            expected = self._tag_of(self._tag, text.decode("ascii"))
            if tag != expected:
                raise ValueError
            page = cast("dict[str, object]", json.loads(text))
            account, first = str(page["account"]), cast("int", page["first"])
            for number, (public, blob) in enumerate(cast("list[list[str]]", page["keys"])):
                entry = KeyEntry(bytes.fromhex(public), bytes.fromhex(blob))
                if self._entries.setdefault(KeyRef(account, first + number), entry) != entry:
                    raise ValueError
        except (ValueError, KeyError, TypeError) as error:
            what = f"{self._path} at byte {self._offset} is not what a signer with this token wrote"
            raise Corrupt(what) from error
        self._tag = expected

    def _tag_of(self, before: str, text: str) -> str:
        return self._tagger(hashlib.sha256(f"{before} {text}".encode("ascii")).digest()).hex()
