"""Taproot outputs that several keys spend by a script, and what their signatures sign.

Sources: BIP-341 (outputs, control blocks, the common signature message), BIP-342 (what is added to
it where a script is run), BIP-340 (the hashes' domains). Nothing here holds a private key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import coincurve

from chains.bitcoin.hashes import sha256, tagged
from chains.bitcoin.tx import Tx, TxOut, write_blob
from core.errors import Reason, Refused

NOBODYS_KEY = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""A point whose logarithm nobody knows: where it is the inner key, only the script can spend.

Source: BIP-341, H = lift_x(SHA-256 of the generator)."""
LEAF_VERSION = 0xC0

_CODE_SEPARATOR_NONE = b"\xff\xff\xff\xff"
_KEY_VERSION = b"\x00"
_SPEND_BY_SCRIPT = b"\x02"


@dataclass(frozen=True, slots=True)
class TaprootOutput:
    """An output key and how it came about from an inner key."""

    key: bytes
    """The x coordinate that the output pays to."""
    is_odd: bool


def leaf_hash(script: bytes) -> bytes:
    """Return what names a script in the tree; the whole tree's root where it is the only one."""
    return tagged("TapLeaf", bytes((LEAF_VERSION,)) + write_blob(script))


def tweaked(inner_key: bytes, root: bytes = b"") -> TaprootOutput:
    """Return the output of an inner key, given by its x coordinate, and a tree's root.

    Refused: malformed (no point has this x), unknown_key (the tweak is no scalar: never met).
    """
    try:
        inner = coincurve.PublicKey(b"\x02" + inner_key)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "no point of the curve has this x") from error
    try:
        made = inner.add(tagged("TapTweak", inner_key + root)).format()
    except ValueError as error:
        raise Refused(Reason.UNKNOWN_KEY, "the key cannot be tweaked with this tree") from error
    return TaprootOutput(made[1:], made[0] == 3)


def output_script(key: bytes) -> bytes:
    """Return the script that pays to an output key."""
    return b"\x51\x20" + key


def control_block(script: bytes) -> bytes:
    """Return what proves that a script is the only leaf under nobody's key."""
    output = tweaked(NOBODYS_KEY, leaf_hash(script))
    return bytes((LEAF_VERSION | output.is_odd,)) + NOBODYS_KEY


def script_digest(
    tx: Tx, spent: Sequence[TxOut], index: int, *, script: bytes, scope: int
) -> bytes:
    """Return the 32 bytes that one input's signatures sign, where a leaf is run.

    scope is DEFAULT (0) or ALL (1): both cover every input and every output, no annex. Every spent
    output is given, in the order of the inputs. ValueError: another scope, or not all of them.
    """
    if scope not in (0, 1) or len(spent) != len(tx.inputs):
        raise ValueError("a scope that covers everything, and one spent output per input")
    parts = (
        b"".join(one.outpoint.serialise() for one in tx.inputs),
        b"".join(one.amount.to_bytes(8, "little") for one in spent),
        b"".join(write_blob(one.script) for one in spent),
        b"".join(one.sequence.to_bytes(4, "little") for one in tx.inputs),
        b"".join(one.serialise() for one in tx.outputs),
    )
    return tagged(
        "TapSighash",
        b"\x00"
        + bytes((scope,))
        + tx.version.to_bytes(4, "little")
        + tx.locktime.to_bytes(4, "little")
        + b"".join(map(sha256, parts))
        + _SPEND_BY_SCRIPT
        + index.to_bytes(4, "little")
        + leaf_hash(script)
        + _KEY_VERSION
        + _CODE_SEPARATOR_NONE,
    )
