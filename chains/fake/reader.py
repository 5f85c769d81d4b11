"""Read the fake chain's bytes: written from the format alone, by other means than the encoder."""

from __future__ import annotations

import struct

from chains.base import NATIVE
from chains.fake import address
from chains.fake.tx import (
    SIGNATURE_SIZE,
    FakeTx,
    SignedFakeTx,
    digest_of,
    id_of,
    is_high_s,
    recover,
)
from core.errors import Reason, Refused

_ROW = 20 + 32
_TAIL = struct.Struct(">4Q3Q")  # amount in four words, then max_rate, tip_rate, units


def read_payload(payload: bytes) -> FakeTx:
    """Read an unsigned payload, all of it. Refused: undecodable."""
    if len(payload) < 3:
        raise _undecodable("too short")
    version, kind, network_size = payload[0], payload[1], payload[2]
    if version != 1:
        raise _undecodable("unknown version")
    if kind not in (0, 1, 2, 3):
        raise _undecodable("unknown kind of transaction")
    is_batch, kind = kind >= 2, kind % 2
    expected = 3 + network_size + 8 + 20 * (1 + kind) + _TAIL.size
    payload, rows = payload[:expected], payload[expected:]
    if network_size == 0 or len(payload) != expected or bool(rows) != is_batch:
        raise _undecodable(f"{len(payload) + len(rows)} bytes instead of {expected}")
    head, rest = payload[3 : 3 + network_size], memoryview(payload)[3 + network_size :]
    if not head.isascii() or not head.decode("ascii").isprintable():
        raise _undecodable("the network is not printable text")
    network = head.decode("ascii")
    (nonce,) = struct.unpack(">Q", rest[:8])
    words = _TAIL.unpack(rest[-_TAIL.size :])
    amount = 0
    for word in words[:4]:
        amount = (amount << 64) | word
    max_rate, tip_rate, units = words[4:]
    if tip_rate > max_rate:
        raise _undecodable("the tip is above the most that is paid")
    return FakeTx(
        network=network,
        nonce=nonce,
        to=address.to_text(bytes(rest[8:28]), network),
        asset_key=address.to_text(bytes(rest[28:48]), network) if kind else NATIVE,
        amount=amount,
        max_rate=max_rate,
        tip_rate=tip_rate,
        units=units,
        items=_read_items(rows, network) if is_batch else (),
    )


def _read_items(rows: bytes, network: str) -> tuple[tuple[str, int], ...]:
    count, body = rows[0], rows[1:]
    if count == 0 or len(body) != count * _ROW:
        raise _undecodable(f"{len(body)} bytes of {count} items")
    return tuple(
        (
            address.to_text(body[at : at + 20], network),
            int.from_bytes(body[at + 20 : at + _ROW], "big"),
        )
        for at in range(0, len(body), _ROW)
    )


def read_raw(raw: bytes) -> SignedFakeTx:
    """Read signed bytes as a node does. Refused: undecodable, bad_signature."""
    payload, signature = raw[:-SIGNATURE_SIZE], raw[-SIGNATURE_SIZE:]
    tx = read_payload(payload)
    if is_high_s(signature):
        raise Refused(Reason.BAD_SIGNATURE, "s lies in the upper half")
    sender = recover(signature, digest_of(payload), network=tx.network)
    if sender is None:
        raise Refused(Reason.BAD_SIGNATURE, "no key made this signature")
    return SignedFakeTx(tx_id=id_of(raw), sender=sender, tx=tx, raw=raw)


def _undecodable(why: str) -> Refused:
    return Refused(Reason.UNDECODABLE, why)
