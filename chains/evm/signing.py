"""Type-2 transactions signed in as few steps as there are: fields -> payload -> digest -> bytes.

What is encoded before the digest stands in the signed bytes again, so nothing is encoded twice.
The bytes are those of the builder's libraries. Source: EIP-1559, EIP-2718; Yellow Paper app. B.
"""

from __future__ import annotations

from collections.abc import Callable

from eth_hash.auto import keccak

from chains.evm.decode import Fields

_TYPE = 2
_SHORT = 55


def sign_fields(fields: Fields, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the signed transaction of valid fields; `sign` makes r ‖ s ‖ recovery id."""
    body = _body(fields)
    signature = sign(keccak(_list(body)))
    return _signed(body, signature)


def payload_of(fields: Fields) -> bytes:
    """Return the unsigned serialisation of valid fields."""
    return _list(_body(fields))


def signed_bytes(payload: bytes, signature: bytes) -> bytes:
    """Return what the network takes of a sound payload and 65 bytes r ‖ s ‖ recovery id."""
    first = payload[1]
    start = 2 if first <= 0xC0 + _SHORT else 2 + first - 0xC0 - _SHORT
    return _signed(payload[start:], signature)


def _signed(body: bytes, signature: bytes) -> bytes:
    return _list(
        b"".join(
            (
                body,
                b"\x01" if signature[64] else b"\x80",
                _number(int.from_bytes(signature[:32], "big")),
                _number(int.from_bytes(signature[32:64], "big")),
            )
        )
    )


def _body(fields: Fields) -> bytes:
    data = fields.data
    if len(data) == 1 and data[0] < 0x80:
        encoded = data
    elif len(data) <= _SHORT:
        encoded = bytes((0x80 + len(data),)) + data
    else:
        encoded = _long(0x80, len(data)) + data
    return b"".join(
        (
            _number(fields.chain_number),
            _number(fields.nonce),
            _number(fields.tip_rate),
            _number(fields.max_rate),
            _number(fields.gas),
            b"\x94",
            fields.to,
            _number(fields.value),
            encoded,
            b"\xc0",
        )
    )


def _number(number: int) -> bytes:
    if number < 0x80:
        return bytes((number or 0x80,))
    size = (number.bit_length() + 7) // 8
    return bytes((0x80 + size,)) + number.to_bytes(size, "big")


def _list(body: bytes) -> bytes:
    if len(body) <= _SHORT:
        return bytes((_TYPE, 0xC0 + len(body))) + body
    return bytes((_TYPE,)) + _long(0xC0, len(body)) + body


def _long(offset: int, length: int) -> bytes:
    size = (length.bit_length() + 7) // 8
    return bytes((offset + _SHORT + size,)) + length.to_bytes(size, "big")
