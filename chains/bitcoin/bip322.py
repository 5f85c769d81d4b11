"""Signed messages, for addresses whose key's hash stands in a version-0 witness program.

The message is committed to by a transaction that nobody can send, for it spends nothing. The proof
is the witness of another one that spends its only coin. Source: BIP-322, "simple" signatures.
"""

from __future__ import annotations

import hashlib

from chains.bitcoin.sighash import WitnessV0
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, write_blob, write_count

_TAG = hashlib.sha256(b"BIP0322-signed-message").digest()
_NOWHERE = OutPoint(bytes(32), 0xFFFFFFFF)
_RETURN = b"\x6a"


def message_hash(message: bytes) -> bytes:
    """Return the tagged hash of a message."""
    return hashlib.sha256(_TAG + _TAG + message).digest()


def spendable(message: bytes, script: bytes) -> Tx:
    """Return the transaction (`to_spend`) that commits to a message and pays a script nothing."""
    committed = b"\x00" + write_blob(message_hash(message))
    return Tx(0, (TxIn(_NOWHERE, 0, committed),), (TxOut(0, script),), 0)


def signable(message: bytes, script: bytes) -> Tx:
    """Return the transaction (`to_sign`) whose witness is the proof."""
    coin = OutPoint(spendable(message, script).tx_hash, 0)
    return Tx(0, (TxIn(coin, 0),), (TxOut(0, _RETURN),), 0)


def digest_of(message: bytes, script: bytes) -> bytes:
    """Return the 32 bytes that the key signs, for a script that pays to a key's hash."""
    return WitnessV0(signable(message, script)).key_digest(0, key_hash=script[2:], amount=0)


def proof_of(encoded: bytes, public_key: bytes) -> bytes:
    """Return the proof: the witness of a strictly encoded signature with its scope, and the key."""
    return write_count(2) + write_blob(encoded) + write_blob(public_key)
