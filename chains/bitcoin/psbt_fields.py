"""Partially signed transactions as maps of fields: container only, nothing is judged here.

Source: BIP-174, version 0. The fields' meanings: BIP-174 and, for taproot, BIP-371.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chains.bitcoin.psbt import GLOBAL_TX, GLOBAL_VERSION, PSBT_BYTES_MAX
from chains.bitcoin.tx import Cursor, Tx, parse_tx, undecodable, write_blob, write_count
from core.errors import Reason, Refused

IN_PREVIOUS_TX = 0x00
IN_OUTPUT = 0x01
IN_SIGNATURE = 0x02
IN_SCOPE = 0x03
IN_SCRIPT = 0x05
IN_DERIVATION = 0x06
IN_LEAF_SIGNATURE = 0x14
IN_LEAF = 0x15
IN_LEAF_DERIVATION = 0x16
IN_INNER_KEY = 0x17
IN_ROOT = 0x18
OUT_SCRIPT = 0x01
OUT_DERIVATION = 0x02
OUT_INNER_KEY = 0x05
OUT_TREE = 0x06
OUT_LEAF_DERIVATION = 0x07

_MAGIC = b"psbt\xff"

Fields = Mapping[tuple[int, bytes], bytes]
"""One map: (type, rest of the key) to value, in the order of the bytes."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An unsigned transaction and the maps of its inputs and outputs."""

    tx: Tx
    inputs: tuple[Fields, ...]
    outputs: tuple[Fields, ...]

    def serialise(self) -> bytes:
        """Return the bytes."""
        maps = ({(GLOBAL_TX, b""): self.tx.stripped}, *self.inputs, *self.outputs)
        return _MAGIC + b"".join(map(_write_map, maps))


def read_parts(data: bytes) -> Parts:
    """Read exactly one partially signed transaction.

    Refused: too_large, unknown_version (any but 0), undecodable (also a field that stands twice and
    a global one other than the transaction), amount_out_of_range.
    """
    if len(data) > PSBT_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"above {PSBT_BYTES_MAX} bytes")
    cursor = Cursor(data)
    if cursor.take(min(len(_MAGIC), cursor.left)) != _MAGIC:
        raise undecodable("not a partially signed transaction")
    shared = dict(_read_map(cursor))
    if shared.pop((GLOBAL_VERSION, b""), bytes(4)) != bytes(4):
        raise Refused(Reason.UNKNOWN_VERSION, "only version 0 is understood")
    raw = shared.pop((GLOBAL_TX, b""), None)
    if raw is None or shared:
        raise undecodable("there is the unsigned transaction, and nothing else for all inputs")
    tx = parse_tx(raw, may_be_signed=False)
    if any(one.script for one in tx.inputs):
        raise undecodable("an input is already signed")
    inputs = tuple(_read_map(cursor) for _ in tx.inputs)
    outputs = tuple(_read_map(cursor) for _ in tx.outputs)
    cursor.end()
    return Parts(tx, inputs, outputs)


def of_kind(fields: Fields, kind: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (rest of the key, value) of every field of a type."""
    return ((rest, value) for (found, rest), value in fields.items() if found == kind)


def one_of_kind(fields: Fields, kind: int) -> bytes | None:
    """Return the value of a field that stands once and has no more in its key, None without it.

    Refused: undecodable.
    """
    found = list(of_kind(fields, kind))
    if any(rest for rest, _ in found):
        raise undecodable("a key is longer than its type")
    return found[0][1] if found else None


def check_kinds(fields: Fields, known: frozenset[int]) -> None:
    """Return when every field's type is known. Refused: undecodable."""
    for kind, _ in fields:
        if kind not in known:
            raise undecodable(f"field {kind:#x} is not understood here")


def _read_map(cursor: Cursor) -> Fields:
    fields: dict[tuple[int, bytes], bytes] = {}
    while size := cursor.count():
        key = Cursor(cursor.take(size))
        name = key.count(), key.take(key.left)
        value = cursor.blob()
        if name in fields:
            raise undecodable(f"field {name[0]:#x} stands twice")
        fields[name] = value
    return fields


def _write_map(fields: Fields) -> bytes:
    pairs = (
        write_blob(write_count(kind) + rest) + write_blob(value)
        for (kind, rest), value in fields.items()
    )
    return b"".join(pairs) + b"\x00"
