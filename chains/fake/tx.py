"""Transactions of the fake chain: values, the one canonical encoding, digests and signatures.

    payload   = version 1 | kind 1 | network (u8 length, text) | nonce u64 | to 20
                | token 20 (only in kind TOKEN) | amount u256
                | max_rate u64 | tip_rate u64 | units u64
    batch     = version 1 | kind 2 or 3 | network | nonce | to | token (only in kind 3) | amount
                | max_rate | tip_rate | units | count u8 | count x (to 20 | amount u256)
    digest    = sha256(tag, payload)
    raw       = payload | r 32 | s 32 | recovery id 1        (s in the lower half)
    tx id     = sha256(tag, raw)

Integers are big-endian. The way back lives in `reader`, which shares only the numbers below.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from coincurve import PublicKey

from chains.base import NATIVE
from chains.fake import address
from core.errors import Reason, Refused

VERSION = 1
KIND_NATIVE = 0
KIND_TOKEN = 1
KIND_BATCH = 2
"""Added to the two above: what is paid stands in items, `to` is the sender itself."""
SIGNATURE_SIZE = 65

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, slots=True)
class FakeTx:
    """What an unsigned transaction says. Rates are native units per unit of space."""

    network: str
    nonce: int
    to: str
    asset_key: str
    amount: int
    max_rate: int
    tip_rate: int
    units: int
    items: tuple[tuple[str, int], ...] = ()
    """Of a batch: whom and how much, one after another; amount is their sum."""

    @property
    def fee_max(self) -> int:
        """Return the most native units this transaction can cost in fees."""
        return self.max_rate * self.units


@dataclass(frozen=True, slots=True)
class SignedFakeTx:
    """A transaction together with who signed it, as a node takes it in."""

    tx_id: str
    sender: str
    tx: FakeTx
    raw: bytes


def encode(tx: FakeTx) -> bytes:
    """Write the canonical payload. Raises OverflowError for numbers wider than their field."""
    network = tx.network.encode("ascii")
    native = tx.asset_key == NATIVE
    token = b"" if native else address.to_body(tx.asset_key, tx.network)
    return b"".join(
        (
            bytes((VERSION, _kind(tx), len(network))),
            network,
            tx.nonce.to_bytes(8, "big"),
            address.to_body(tx.to, tx.network),
            token,
            tx.amount.to_bytes(32, "big"),
            tx.max_rate.to_bytes(8, "big"),
            tx.tip_rate.to_bytes(8, "big"),
            tx.units.to_bytes(8, "big"),
            *_items(tx),
        )
    )


def _kind(tx: FakeTx) -> int:
    kind = KIND_NATIVE if tx.asset_key == NATIVE else KIND_TOKEN
    return kind + (KIND_BATCH if tx.items else 0)


def _items(tx: FakeTx) -> list[bytes]:
    if not tx.items:
        return []
    rows = [address.to_body(to, tx.network) + amount.to_bytes(32, "big") for to, amount in tx.items]
    return [bytes((len(rows),)), *rows]


def digest_of(payload: bytes) -> bytes:
    """Return the 32 bytes to sign for a payload."""
    return hashlib.sha256(b"strongroom/fake/tx/v1" + payload).digest()


def control_digest_of(challenge: bytes, network: str) -> bytes:
    """Return the 32 bytes that prove control when signed; no payload can have this digest."""
    return hashlib.sha256(
        b"strongroom/fake/control/v1" + network.encode() + b"\0" + challenge
    ).digest()


def id_of(raw: bytes) -> str:
    """Return the transaction id of signed bytes."""
    return hashlib.sha256(b"strongroom/fake/raw/v1" + raw).hexdigest()


def checked(signature: bytes, digest: bytes, *, signer: str, network: str) -> bytes:
    """Return a signature r ‖ s ‖ recovery id that is by `signer`.

    Refused: bad_signature (length, s in the upper half, another key).
    """
    if len(signature) != SIGNATURE_SIZE:
        raise Refused(Reason.BAD_SIGNATURE, "a signature has 65 bytes: r, s, recovery id")
    if is_high_s(signature):
        raise Refused(Reason.BAD_SIGNATURE, "s lies in the upper half")
    if recover(signature, digest, network=network) != signer:
        raise Refused(Reason.BAD_SIGNATURE, "the signature is not the sender's")
    return signature


def is_high_s(signature: bytes) -> bool:
    """Return whether s lies in the upper half, where every signature has a twin with another id."""
    return int.from_bytes(signature[32:64], "big") > _ORDER // 2


def recover(signature: bytes, digest: bytes, *, network: str) -> str | None:
    """Return the address whose key made a 65-byte signature, None when no key did."""
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError:  # coincurve's word for an unusable recovery id, r or s
        return None
    return address.to_text(address.key_body(key.format(compressed=True)), network)
