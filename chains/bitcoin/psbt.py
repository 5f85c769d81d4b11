"""Partially signed transactions, version 0: a strict reader of the part that the signer judges.

Source: BIP-174. Understood are the unsigned transaction, the whole transaction a coin comes from,
the output it is, the scope of the signature and derivation paths (which are read and not believed).
Everything else is refused, also where the format would let a reader pass it on: an unknown field, a
signature that is already there, a script, a taproot field (BIP-371), a duplicate key, a key in the
wrong form, trailing bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import coincurve

from chains.bitcoin.tx import Cursor, Tx, TxOut, parse_output, parse_tx, undecodable
from core.errors import Reason, Refused

PSBT_BYTES_MAX = 900_000
"""Fits one record of the signer's log. Each coin brings the transaction it comes from, mostly some
hundred bytes; a payout to thousands has a hundred thousand."""

_MAGIC = b"psbt\xff"

GLOBAL_TX = 0x00
GLOBAL_VERSION = 0xFB
IN_PREVIOUS_TX = 0x00
IN_OUTPUT = 0x01
IN_SCOPE = 0x03
IN_DERIVATION = 0x06
OUT_DERIVATION = 0x02

_Check = Callable[[bytes, bytes], None]
Fields = dict[tuple[int, bytes], bytes]
"""One map: (type, rest of the key) to value."""


@dataclass(frozen=True, slots=True)
class PsbtInput:
    """What is told about one coin that is spent; nothing of it is proven yet."""

    previous: Tx | None
    """The whole transaction that made the coin."""
    output: TxOut | None
    """The coin, as somebody claims it to be."""
    scope: int | None
    """What the signature shall cover, None where nothing is said."""


@dataclass(frozen=True, slots=True)
class Psbt:
    """An unsigned transaction and what is told about each of its inputs."""

    tx: Tx
    inputs: tuple[PsbtInput, ...]


def read_psbt(data: bytes) -> Psbt:
    """Read exactly one unsigned transaction.

    Refused: too_large, unknown_version (any but 0), undecodable, amount_out_of_range.
    """
    if len(data) > PSBT_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"above {PSBT_BYTES_MAX} bytes")
    cursor = Cursor(data)
    if cursor.take(min(len(_MAGIC), cursor.left)) != _MAGIC:
        raise undecodable("not a partially signed transaction")
    shared = _read_map(cursor)
    if shared.get((GLOBAL_VERSION, b""), bytes(4)) != bytes(4):
        raise Refused(Reason.UNKNOWN_VERSION, "only version 0 is understood")
    _check_fields(shared, _GLOBAL)
    if (GLOBAL_TX, b"") not in shared:
        raise undecodable("no unsigned transaction")
    tx = parse_tx(shared[GLOBAL_TX, b""], may_be_signed=False)
    if any(one.script for one in tx.inputs):
        raise undecodable("an input is already signed")
    known: dict[bytes, Tx] = {}
    inputs = tuple(_read_input(cursor, known) for _ in tx.inputs)
    for _ in tx.outputs:
        _check_fields(_read_map(cursor), _OUTPUT)
    cursor.end()
    return Psbt(tx, inputs)


def _read_input(cursor: Cursor, known: dict[bytes, Tx]) -> PsbtInput:
    """Read one input; what many coins come from is told with each of them and parsed once."""
    fields = _read_map(cursor)
    _check_fields(fields, _INPUT)
    previous = fields.get((IN_PREVIOUS_TX, b""))
    output = fields.get((IN_OUTPUT, b""))
    scope = fields.get((IN_SCOPE, b""))
    if previous is not None and previous not in known:
        known[previous] = parse_tx(previous)
    return PsbtInput(
        previous=None if previous is None else known[previous],
        output=None if output is None else parse_output(output),
        scope=None if scope is None else int.from_bytes(scope, "little"),
    )


def _read_map(cursor: Cursor) -> Fields:
    fields: Fields = {}
    while size := cursor.count():
        key = Cursor(cursor.take(size))
        name = key.count(), key.take(key.left)
        value = cursor.blob()
        if name in fields:
            raise undecodable(f"field {name[0]:#x} stands twice")
        fields[name] = value
    return fields


def _check_fields(fields: Fields, known: dict[int, _Check]) -> None:
    for (kind, rest), value in fields.items():
        check = known.get(kind)
        if check is None:
            raise undecodable(f"field {kind:#x} is not understood here")
        check(rest, value)


def _check_plain(rest: bytes, _: bytes) -> None:
    if rest:
        raise undecodable("a key is longer than its type")


def _check_number(rest: bytes, value: bytes) -> None:
    _check_plain(rest, value)
    if len(value) != 4:
        raise undecodable("a number has four bytes")


def _check_derivation(rest: bytes, value: bytes) -> None:
    """Check the form alone: fingerprint and steps. Whose key it is, the signer finds out itself."""
    if len(rest) != 33 or not value or len(value) % 4:
        raise undecodable("a derivation has a compressed key, a fingerprint and steps")
    try:
        coincurve.PublicKey(rest)
    except ValueError as error:
        raise undecodable("a derivation's key is not a point of the curve") from error


_GLOBAL: dict[int, _Check] = {GLOBAL_TX: _check_plain, GLOBAL_VERSION: _check_number}
_INPUT: dict[int, _Check] = {
    IN_PREVIOUS_TX: _check_plain,
    IN_OUTPUT: _check_plain,
    IN_SCOPE: _check_number,
    IN_DERIVATION: _check_derivation,
}
_OUTPUT: dict[int, _Check] = {OUT_DERIVATION: _check_derivation}
