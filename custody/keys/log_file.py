"""The signer's log as a file for auditors: one line per record, and a hash function checks it.

    strongroom/signing-log 1
    <the canonical message of record 1, hex>
    <the canonical message of record 2, hex>
    …

A record's hash is SHA-256 of its message, and each message names the hash before its own
(custody.keys.signing_record), so nothing can be changed, added or left out in between. What is
missing at the end shows against the position and hash that the signer told when it was exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from core.errors import Reason, Refused
from custody.keys.service import ENTRIES_MAX, KeyService
from custody.keys.signing_record import Entry, decode

HEAD = b"strongroom/signing-log 1\n"
LINE_BYTES_MAX = 3 << 20
"""A canonical message has at most 1 MiB, two digits for each byte of it."""


def whole_log(signer: KeyService) -> Iterator[Entry]:
    """Yield every entry of a signer's log, page by page."""
    position = 0
    while page := signer.entries(position, ENTRIES_MAX):
        yield from page
        position = page[-1].position


def write_log(path: Path, entries: Iterable[Entry]) -> Entry | None:
    """Write a file that does not exist yet; return the last entry, None when there was none.

    Refused: exists_with_other_content.
    """
    last = None
    try:
        with path.open("xb") as file:
            file.write(HEAD)
            for entry in entries:
                file.write(entry.message.hex().encode() + b"\n")
                last = entry
    except FileExistsError as error:
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, str(path)) from error
    return last


def read_log_file(path: Path) -> list[Entry]:
    """Return the entries of a file; whether they are sound is the audit's question.

    Refused: not_found, malformed. Corrupt: a line is no signing record.
    """
    try:
        with path.open("rb") as file:
            if file.readline(len(HEAD)) != HEAD:
                raise Refused(Reason.MALFORMED, f"{path} is not an exported log")
            lines = iter(lambda: file.readline(LINE_BYTES_MAX), b"")
            return [decode(_message(line)) for line in lines]
    except FileNotFoundError as error:
        raise Refused(Reason.NOT_FOUND, str(path)) from error


def _message(line: bytes) -> bytes:
    try:
        text = line.decode("ascii")
        if not text.endswith("\n") or text != text.lower():
            raise ValueError
        return bytes.fromhex(text.removesuffix("\n"))
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "a line of an exported log is lower-case hex") from error
