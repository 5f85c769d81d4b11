"""How a payload travels to owners and back: file bytes, base64, or texts that fit QR codes.

A QR text is one line of letters, digits and `.:` (the alphanumeric mode of QR codes):

    SR1:NUMBER.COUNT:WHOLE:CHECK:DATA

NUMBER and COUNT are decimal, from 1; WHOLE is the first 10 characters of the base32 (RFC 4648) of
the SHA-256 of all bytes; DATA is the base32, without padding, of this part's bytes, PART_BYTES of
them in all parts but the last; CHECK is the first 6 characters of the base32 of the SHA-256 of
`NUMBER.COUNT:WHOLE:DATA`. Parts may be read in any order and several times; what contradicts a part
that was read is refused, and the joined bytes must have the hash that all parts name.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from chains.bitcoin.hashes import sha256
from chains.bitcoin.psbt import PSBT_BYTES_MAX
from core.errors import Reason, Refused

PART_BYTES = 400
"""641 characters and the head: a QR code of version 16 at the lowest level of correction."""
PARTS_MAX = 500
QR_BYTES_MAX = PART_BYTES * PARTS_MAX
"""What does not fit travels as a file."""
READS_MAX = 4 * PARTS_MAX
"""Texts that are looked at for one payload: a camera sees the same part several times."""

_MARK = "SR1"
_WHOLE_CHARS = 10
_CHECK_CHARS = 6
_PART = re.compile(
    r"SR1:([1-9][0-9]{0,2})\.([1-9][0-9]{0,2}):([A-Z2-7]{10}):([A-Z2-7]{6}):([A-Z2-7]{1,650})",
    re.ASCII,
)


def to_base64(payload: bytes) -> str:
    """Return a payload as one line of base64. Source: BIP-174."""
    return base64.b64encode(payload).decode("ascii")


def from_base64(text: str) -> bytes:
    """Read one line of base64 in its one spelling; space around it is taken off.

    Refused: too_large, malformed.
    """
    text = text.strip()
    if len(text) > PSBT_BYTES_MAX // 3 * 4 + 4:
        raise Refused(Reason.TOO_LARGE, f"above {PSBT_BYTES_MAX} bytes")
    try:
        payload = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(Reason.MALFORMED, "no base64") from error
    if to_base64(payload) != text:
        raise Refused(Reason.MALFORMED, "base64 in another spelling")
    return payload


def to_parts(payload: bytes) -> list[str]:
    """Return a payload as texts for QR codes. Refused: too_large, malformed (nothing)."""
    if not payload:
        raise Refused(Reason.MALFORMED, "nothing to show")
    if len(payload) > QR_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"above {QR_BYTES_MAX} bytes; take the file")
    pieces = [payload[at : at + PART_BYTES] for at in range(0, len(payload), PART_BYTES)]
    whole = _name(payload)
    return [
        _write(f"{number}.{len(pieces)}:{whole}", _base32(piece))
        for number, piece in enumerate(pieces, 1)
    ]


def from_parts(texts: Iterable[str]) -> bytes:
    """Join the texts of one payload, read in any order.

    Refused: malformed (syntax, a part's checksum, parts that contradict each other or of another
    payload, the whole's hash), missing_field (parts are missing: which), too_large.
    """
    reading = Reading()
    for text in texts:
        reading.add(text)
    return reading.whole()


class Reading:
    """Parts of one payload as they are read. Holds at most QR_BYTES_MAX bytes."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._head: tuple[int, str] | None = None
        self._reads = 0

    @property
    def missing(self) -> tuple[int, ...]:
        """Return the numbers of the parts that were not read yet; (1,) before the first one."""
        if self._head is None:
            return (1,)
        return tuple(n for n in range(1, self._head[0] + 1) if n not in self._parts)

    def add(self, text: str) -> None:
        """Read one part; the same again is quiet. Refused: as from_parts."""
        self._reads += 1
        if self._reads > READS_MAX:
            raise Refused(Reason.TOO_LARGE, "too many texts for one payload")
        match = _PART.fullmatch(text.strip()) if len(text) < 1_000 else None
        if match is None:
            raise Refused(Reason.MALFORMED, "no part of a payload")
        number, count, whole = int(match[1]), int(match[2]), match[3]
        if not number <= count <= PARTS_MAX:
            raise Refused(Reason.MALFORMED, f"part {number} of {count}")
        data = _unbase32(match[5])
        head = f"{number}.{count}:{whole}"
        if data is None or _write(head, match[5]) != match[0]:
            raise Refused(Reason.MALFORMED, f"part {number} was not read rightly")
        if (len(data) != PART_BYTES) if number < count else (len(data) > PART_BYTES):
            raise Refused(Reason.MALFORMED, f"part {number} has another length")
        if self._head not in (None, (count, whole)):
            raise Refused(Reason.MALFORMED, f"part {number} is of another payload")
        if self._parts.setdefault(number, data) != data:
            raise Refused(Reason.MALFORMED, f"part {number} was read otherwise before")
        self._head = count, whole

    def whole(self) -> bytes:
        """Return the payload. Refused: missing_field, malformed."""
        if self._head is None or self.missing:
            listed = ", ".join(map(str, self.missing[:20]))
            raise Refused(Reason.MISSING_FIELD, f"parts that were not read: {listed}")
        payload = b"".join(self._parts[number] for number in sorted(self._parts))
        if _name(payload) != self._head[1]:
            raise Refused(Reason.MALFORMED, "the parts together are not what they name")
        return payload


def _write(head: str, data: str) -> str:
    check = _base32(sha256(f"{head}:{data}".encode("ascii")))[:_CHECK_CHARS]
    return f"{_MARK}:{head}:{check}:{data}"


def _name(payload: bytes) -> str:
    return _base32(sha256(payload))[:_WHOLE_CHARS]


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=")


def _unbase32(text: str) -> bytes | None:
    """Return the bytes of base32 in its one spelling, None of any other text."""
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        return None
    return data if _base32(data) == text else None
