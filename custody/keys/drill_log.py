"""The log of drills: one signed line per fact, each bound to the line before it.

A line is JSON in one spelling: number, previous (SHA-256 of the line before, zeros for the first),
at_s (unix seconds), who, what, detail (text by name), key and signature: Ed25519 by the person's
own key over the canonical message strongroom/drill, version 1, of everything before them. Lines are
only ever added; a line that was cut off by a crash was never written, and is removed by the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.clock import SECOND_NS, Clock
from core.errors import Corrupt, Reason, Refused
from custody.keys import canonical
from custody.keys.edwards import check_signature

TAG = "strongroom/drill"
VERSION = 1
GENESIS = "0" * 64
LOG_BYTES_MAX = 1 << 26


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """One thing that was found out, when, and who answers for it."""

    number: int
    previous: str
    at_s: int
    who: str
    what: str
    detail: Mapping[str, str]
    key: str = ""
    signature: str = ""

    @property
    def date(self) -> str:
        """Return at_s for people."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at_s)
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC"

    def message(self) -> bytes:
        """Return what the person signs. Refused: malformed."""
        lines = tuple(f"{name}={value}" for name, value in sorted(self.detail.items()))
        values = (self.number, self.previous, self.at_s, self.who, self.what, lines)
        return canonical.encode(TAG, VERSION, values)

    def line(self) -> bytes:
        """Return the record as it stands in the file."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: a person and the person's own key."""

    person: str
    key: Ed25519PrivateKey


class DrillLog:
    """One file. Corrupt, from every verb: a line was changed, moved, inserted or taken out."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._known, self._records = b"", list[DrillRecord]()

    def append(self, author: Author, what: str, detail: Mapping[str, str]) -> DrillRecord:
        """Add a signed line; it is on the disk when this returns. Refused: malformed."""
        with self._locked() as handle:
            records = self._checked(_read(handle))
            last = hashlib.sha256(records[-1].line()).hexdigest() if records else GENESIS
            bare = DrillRecord(
                number=len(records) + 1,
                previous=last,
                at_s=self._clock.now_ns() // SECOND_NS,
                who=author.person,
                what=what,
                detail=dict(detail),
            )
            made = replace(
                bare,
                key=author.key.public_key().public_bytes_raw().hex(),
                signature=author.key.sign(bare.message()).hex(),
            )
            whole = len(self._known)
            os.ftruncate(handle, whole)
            os.pwrite(handle, made.line(), whole)
            os.fsync(handle)
        return made

    def records(self) -> list[DrillRecord]:
        """Return every line, checked."""
        if not self._path.exists():
            return []
        with self._locked() as handle:
            return list(self._checked(_read(handle)))

    def _checked(self, data: bytes) -> list[DrillRecord]:
        """Return all records; lines that were checked before and still stand are not again."""
        is_known = data.startswith(self._known)
        start, records = (len(self._known), self._records) if is_known else (0, [])
        self._records = records + _parse(data[start:], records)
        self._known = data[: data.rfind(b"\n") + 1]
        return self._records

    @contextmanager
    def _locked(self) -> Iterator[int]:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)


def _read(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    if size > LOG_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "a log of drills has at most 64 MiB; begin another")
    return os.pread(handle, size, 0)


def _parse(data: bytes, before: Sequence[DrillRecord]) -> list[DrillRecord]:
    *lines, _torn = data.split(b"\n")
    records: list[DrillRecord] = []
    previous = hashlib.sha256(before[-1].line()).hexdigest() if before else GENESIS
    for number, line in enumerate(lines, len(before) + 1):
        record = _record(line + b"\n")
        if record is None or (record.number, record.previous) != (number, previous):
            raise Corrupt(f"line {number} of the log of drills is not the one that was written")
        records.append(record)
        previous = hashlib.sha256(line + b"\n").hexdigest()
    return records


def _record(line: bytes) -> DrillRecord | None:
    """Return a line that is whole, in the one spelling, and signed; None when it is not."""
    try:
        record = DrillRecord(**json.loads(line))
        check_signature(
            bytes.fromhex(record.key), bytes.fromhex(record.signature), record.message()
        )
    except (ValueError, TypeError, AttributeError, Refused):
        return None
    return record if record.line() == line else None
