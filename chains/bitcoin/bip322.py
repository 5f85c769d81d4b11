"""Signed messages as BIP-322 has them: the witness of a transaction that nobody can send.

A message and a script make a virtual coin of nothing, which a virtual transaction spends; what
would be its witness is the proof ("simple" format). The coin's transaction has no real input and an
amount of 0, so no proof is ever worth anything on the chain. A proof here are the bytes of the
witness stack; as text it is `smp` and their base64.

Made for coins of one key, by hash or taproot; verified also where several owners sign by a witness
script. Sources: BIP-322, BIP-340 (the message's tag).
"""

from __future__ import annotations

import base64
import binascii

import coincurve

from chains.bitcoin.hashes import hash160, sha256, tagged
from chains.bitcoin.owned import read_owners_script
from chains.bitcoin.sighash import ALL, DEFAULT, TaprootKeyPath, WitnessV0
from chains.bitcoin.signature import is_strict, recover, strict_encoding
from chains.bitcoin.tx import Cursor, OutPoint, Tx, TxIn, TxOut, write_blob, write_count
from core.errors import Reason, Refused

TAG = "BIP0322-signed-message"
SIMPLE = "smp"
PROOF_BYTES_MAX = 4_000

_NOWHERE = OutPoint(bytes(32), 0xFFFFFFFF)
_SAYS_NOTHING = TxOut(0, b"\x6a")
_SCHNORR_BYTES = 64


def message_hash(message: bytes) -> bytes:
    """Return the tagged hash of a message."""
    return tagged(TAG, message)


def spendable(message: bytes, script: bytes) -> Tx:
    """Return the virtual transaction (`to_spend`) that makes the coin of a message and a script."""
    said = b"\x00\x20" + message_hash(message)
    return Tx(0, (TxIn(_NOWHERE, 0, said),), (TxOut(0, script),), 0)


def signable(message: bytes, script: bytes) -> Tx:
    """Return the virtual transaction (`to_sign`) whose witness is the proof, without it."""
    coin = OutPoint(spendable(message, script).tx_hash, 0)
    return Tx(0, (TxIn(coin, 0),), (_SAYS_NOTHING,), 0)


def digest_of(message: bytes, script: bytes) -> bytes:
    """Return the 32 bytes that the key of a script signs.

    Refused: unknown_call (a script that no key alone spends).
    """
    tx = signable(message, script)
    if _is_key_hash(script):
        return WitnessV0(tx).key_digest(0, key_hash=script[2:], amount=0)
    if _is_taproot(script):
        return TaprootKeyPath(tx, [TxOut(0, script)]).digest(0)
    raise Refused(Reason.UNKNOWN_CALL, "no key alone proves control of this script")


def prove(message: bytes, script: bytes, signature: bytes) -> bytes:
    """Return the proof made of a signature: 65 bytes r ‖ s ‖ recovery id, 64 of a taproot key.

    Refused: bad_signature, unknown_call.
    """
    digest = digest_of(message, script)
    if _is_taproot(script):
        stack: tuple[bytes, ...] = (signature,)
    else:
        key = recover(digest, signature)
        stack = (strict_encoding(signature) + bytes((ALL,)), key)
    proof = write_count(len(stack)) + b"".join(map(write_blob, stack))
    verify(message, script, proof)
    return proof


def verify(message: bytes, script: bytes, proof: bytes) -> None:
    """Return when a proof is that of a message by a script's owners.

    Refused: bad_signature (also of another form than the script's), undecodable.
    """
    if len(proof) > PROOF_BYTES_MAX:
        raise _bad("no proof is that long")
    cursor = Cursor(proof)
    stack = tuple(cursor.blob() for _ in range(cursor.items(1)))
    cursor.end()
    tx = signable(message, script)
    if _is_key_hash(script):
        _verify_key_hash(tx, script, stack)
    elif _is_taproot(script):
        _verify_taproot(tx, script, stack)
    elif len(script) == 34 and script.startswith(b"\x00\x20"):
        _verify_owners(tx, script, stack)
    else:
        raise _bad("proofs by this script are not verified here")


def to_text(proof: bytes) -> str:
    """Return a proof as text."""
    return SIMPLE + base64.b64encode(proof).decode("ascii")


def from_text(text: str) -> bytes:
    """Return the proof of a text, which may lack the prefix as it once did. Refused: malformed."""
    try:
        return base64.b64decode(text.removeprefix(SIMPLE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(Reason.MALFORMED, "no base64") from error


def _verify_key_hash(tx: Tx, script: bytes, stack: tuple[bytes, ...]) -> None:
    if len(stack) != 2 or len(stack[1]) != 33 or hash160(stack[1]) != script[2:]:
        raise _bad("not a signature and the address's key")
    digest = WitnessV0(tx).key_digest(0, key_hash=script[2:], amount=0)
    if not _is_ecdsa(stack[0], stack[1], digest):
        raise _bad("the signature is not the key's")


def _verify_taproot(tx: Tx, script: bytes, stack: tuple[bytes, ...]) -> None:
    """Verify a proof by the key; a script under it is no proof here."""
    if len(stack) != 1:
        raise _bad("not one signature")
    signature, scope = stack[0], DEFAULT
    if len(signature) == _SCHNORR_BYTES + 1 and signature[-1] == ALL:
        signature, scope = signature[:-1], ALL
    if len(signature) != _SCHNORR_BYTES:
        raise _bad("a signature has 64 bytes")
    digest = TaprootKeyPath(tx, [TxOut(0, script)]).digest(0, scope=scope)
    try:
        is_valid = coincurve.PublicKeyXOnly(script[2:]).verify(signature, digest)
    except ValueError as error:
        raise _bad("the address is no point of the curve") from error
    if not is_valid:
        raise _bad("the signature is not the key's")


def _verify_owners(tx: Tx, script: bytes, stack: tuple[bytes, ...]) -> None:
    if len(stack) < 3 or stack[0] or sha256(stack[-1]) != script[2:]:
        raise _bad("not signatures and the address's script")
    owners = read_owners_script(stack[-1], is_taproot=False)
    given = stack[1:-1]
    if len(given) != owners.threshold:
        raise _bad(f"{len(given)} signatures of {owners.threshold}")
    digest = WitnessV0(tx).digest(0, stack[-1], amount=0)
    keys = iter(owners.keys)
    for signature in given:  # both stand in the script's order
        if not any(_is_ecdsa(signature, key, digest) for key in keys):
            raise _bad("a signature is no owner's")


def _is_ecdsa(signature: bytes, key: bytes, digest: bytes) -> bool:
    encoded, scope = signature[:-1], signature[-1:]
    if scope != bytes((ALL,)) or not is_strict(encoded):
        return False
    try:
        return bool(coincurve.PublicKey(key).verify(encoded, digest, hasher=None))
    except ValueError:
        return False


def _is_key_hash(script: bytes) -> bool:
    return len(script) == 22 and script.startswith(b"\x00\x14")


def _is_taproot(script: bytes) -> bool:
    return len(script) == 34 and script.startswith(b"\x51\x20")


def _bad(detail: str) -> Refused:
    return Refused(Reason.BAD_SIGNATURE, detail)
