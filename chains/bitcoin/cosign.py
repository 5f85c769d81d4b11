"""Owners' signatures over a treasury's payload: taken from what comes back, joined when enough.

What comes back is judged against what went out: the same transaction byte for byte, and the owner's
valid signature of every input over everything. All else it says must be what went out said; nothing
of it is used. Owners may answer in any order, and one after another with the signatures before.

Sources: BIP-66, BIP-146 (signatures), BIP-340, BIP-174 and BIP-371 (where they stand), BIP-67 and
BIP-342 (the order in which scripts take them).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import coincurve

from chains.base import SignedTx
from chains.bitcoin.psbt_fields import (
    IN_LEAF_SIGNATURE,
    IN_OUTPUT,
    IN_PREVIOUS_TX,
    IN_SIGNATURE,
    Fields,
    Parts,
    of_kind,
    one_of_kind,
    read_parts,
)
from chains.bitcoin.sighash import DEFAULT
from chains.bitcoin.signature import is_strict
from chains.bitcoin.tapscript import leaf_hash
from chains.bitcoin.treasury import Judged, Treasury, check_input, check_output, proven
from chains.bitcoin.tx import Cursor, parse_output, write_blob, write_count
from core.errors import Reason, Refused

_KEY_BYTES = 33
_SCHNORR_BYTES = 64


@dataclass(frozen=True, slots=True)
class Cosigned:
    """One owner's signatures, one per input, each with its scope as the network takes it."""

    public_key: bytes
    """Compressed."""
    signatures: tuple[bytes, ...]

    def serialise(self) -> bytes:
        """Return key, count and signatures, as they are stored."""
        blobs = b"".join(map(write_blob, self.signatures))
        return self.public_key + write_count(len(self.signatures)) + blobs


def read_cosigned(data: bytes) -> Cosigned:
    """Read what Cosigned.serialise wrote. Refused: undecodable. Nothing is verified here."""
    cursor = Cursor(data)
    key = cursor.take(_KEY_BYTES)
    signatures = tuple(cursor.blob() for _ in range(cursor.items(1)))
    cursor.end()
    return Cosigned(key, signatures)


def take(judged: Judged, returned: bytes) -> tuple[Cosigned, ...]:
    """Return the owners' signatures in what came back, in the script's order of keys.

    Refused: too_large, unknown_version, undecodable, intent_mismatch (another transaction),
    unproven_amount (a coin is told otherwise), foreign_input, foreign_change (keys or scripts are),
    signature_scope, not_an_owner, bad_signature (invalid, not of this leaf, or not of every input),
    quorum_not_met (no signature at all).
    """
    parts = read_parts(returned)
    treasury = judged.treasury
    if parts.tx.stripped != judged.tx.stripped:
        raise Refused(Reason.INTENT_MISMATCH, "another transaction came back")
    _check_told(judged, parts)
    by_input = [dict(_signatures(fields, treasury)) for fields in parts.inputs]
    signers = set().union(*by_input)
    if not signers:
        raise Refused(Reason.QUORUM_NOT_MET, "nobody signed what came back")
    found = []
    for key in treasury.keys:
        if key not in signers:
            continue
        if not all(key in one for one in by_input):
            raise Refused(Reason.BAD_SIGNATURE, f"{key.hex()} did not sign every input")
        found.append(verified(judged, Cosigned(key, tuple(one[key] for one in by_input))))
    return tuple(found)


def verified(judged: Judged, one: Cosigned) -> Cosigned:
    """Return an owner's signatures when each is valid.

    Refused: not_an_owner, signature_scope, bad_signature.
    """
    if one.public_key not in judged.treasury.keys:
        raise Refused(Reason.NOT_AN_OWNER, one.public_key.hex())
    if len(one.signatures) != len(judged.coins):
        raise Refused(Reason.BAD_SIGNATURE, "one signature per input")
    is_valid = _is_schnorr if judged.treasury.is_taproot else _is_ecdsa
    for index, signature in enumerate(one.signatures):
        if not is_valid(judged, index, one.public_key, signature):
            raise Refused(Reason.BAD_SIGNATURE, f"of {one.public_key.hex()} for input {index}")
    return one


def with_signatures(payload: bytes, judged: Judged, given: Sequence[Cosigned]) -> bytes:
    """Return the payload with owners' signatures in it, for the next owner or any finaliser."""
    parts = read_parts(payload)
    leaf = leaf_hash(judged.treasury.script)
    inputs = []
    for index, fields in enumerate(parts.inputs):
        added = {
            (IN_LEAF_SIGNATURE, one.public_key[1:] + leaf)
            if judged.treasury.is_taproot
            else (IN_SIGNATURE, one.public_key): one.signatures[index]
            for one in given
        }
        inputs.append(dict(sorted({**fields, **added}.items())))
    return Parts(parts.tx, tuple(inputs), parts.outputs).serialise()


def finalise(judged: Judged, given: Iterable[Cosigned]) -> SignedTx:
    """Return the signed transaction; of more signatures than needed the first keys' are used.

    Every signature is verified again. Refused: quorum_not_met, already_approved (one owner twice
    with other signatures), and as verified.
    """
    by_key: dict[bytes, Cosigned] = {}
    for one in given:
        if by_key.setdefault(one.public_key, one) != one:
            raise Refused(Reason.ALREADY_APPROVED, one.public_key.hex())
        verified(judged, one)
    treasury = judged.treasury
    enough = treasury.descriptor.threshold
    if len(by_key) < enough:
        raise Refused(Reason.QUORUM_NOT_MET, f"{len(by_key)} of {enough} owners signed")
    used = [by_key[key] for key in treasury.keys if key in by_key][:enough]
    witnesses = tuple(_witness(treasury, used, index) for index in range(len(judged.coins)))
    signed = judged.tx.signed(witnesses)
    return SignedTx(tx_id=signed.tx_id, raw=signed.serialise())


def _witness(treasury: Treasury, used: Sequence[Cosigned], index: int) -> tuple[bytes, ...]:
    if not treasury.is_taproot:
        # An empty element in front: OP_CHECKMULTISIG takes one more than it uses.
        return (b"", *(one.signatures[index] for one in used), treasury.script)
    own = {one.public_key: one.signatures[index] for one in used}
    # The first key of the script takes the last element.
    stack = [own.get(key, b"") for key in reversed(treasury.keys)]
    return (*stack, treasury.script, treasury.proof)


def _check_told(judged: Judged, parts: Parts) -> None:
    """Check everything beside the signatures; devices may leave out what they no longer need."""
    for spent, coin, fields in zip(judged.tx.inputs, judged.coins, parts.inputs, strict=True):
        if one_of_kind(fields, IN_PREVIOUS_TX) is not None:
            proven(spent.outpoint, fields, judged.treasury.output_script)
        told = one_of_kind(fields, IN_OUTPUT)
        if told is not None and parse_output(told) != coin:
            raise Refused(Reason.UNPROVEN_AMOUNT, f"{spent.outpoint.text} came back as another")
        check_input(fields, judged.treasury)
    for output, fields in zip(judged.tx.outputs, parts.outputs, strict=True):
        is_own = output.script == judged.treasury.output_script
        check_output(fields, judged.treasury, is_own=is_own)


def _signatures(fields: Fields, treasury: Treasury) -> Iterable[tuple[bytes, bytes]]:
    if not treasury.is_taproot:
        for key, value in of_kind(fields, IN_SIGNATURE):
            if key not in treasury.keys:
                raise Refused(Reason.NOT_AN_OWNER, key.hex())
            yield key, value
        return
    leaf = leaf_hash(treasury.script)
    by_x = {key[1:]: key for key in treasury.keys}
    for name, value in of_kind(fields, IN_LEAF_SIGNATURE):
        x, signed_leaf = name[:32], name[32:]
        if x not in by_x:
            raise Refused(Reason.NOT_AN_OWNER, x.hex())
        if signed_leaf != leaf:
            raise Refused(Reason.BAD_SIGNATURE, "a signature for another script")
        yield by_x[x], value


def _is_ecdsa(judged: Judged, index: int, key: bytes, signature: bytes) -> bool:
    encoded, scope = signature[:-1], signature[-1:]
    if not is_strict(encoded):
        return False
    message = judged.digest(index, scope=scope[0])
    return bool(coincurve.PublicKey(key).verify(encoded, message, hasher=None))


def _is_schnorr(judged: Judged, index: int, key: bytes, signature: bytes) -> bool:
    scope = DEFAULT
    if len(signature) == _SCHNORR_BYTES + 1:
        scope = signature[-1]
        if scope == DEFAULT:
            return False  # BIP-341: the default is never spelled out
    elif len(signature) != _SCHNORR_BYTES:
        return False
    message = judged.digest(index, scope=scope)
    return coincurve.PublicKeyXOnly(key[1:]).verify(signature[:_SCHNORR_BYTES], message)
