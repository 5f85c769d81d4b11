"""What a signature of an input signs.

`WitnessV0` is BIP-143, `TaprootKeyPath` BIP-341 without annex. Both know every scope a signature
can have, so that they can be held to the published vectors; the decoder accepts only ALL (and, for
taproot, DEFAULT), which cover every input and every output.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from chains.bitcoin.address import legacy_script_of_hash
from chains.bitcoin.hashes import sha256, sha256_twice, tagged
from chains.bitcoin.tx import Tx, TxOut, write_blob

DEFAULT = 0
ALL = 1
NONE = 2
SINGLE = 3
ANYONE_CAN_PAY = 0x80

_NOTHING = bytes(32)


class WitnessV0:
    """The digests of one transaction's version-0 inputs; what they share is hashed once."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def key_digest(self, index: int, *, key_hash: bytes, amount: int) -> bytes:
        """Return what ALL signs for a coin that pays to a key's hash."""
        return self.digest(index, legacy_script_of_hash(key_hash), amount=amount)

    def digest(self, index: int, script_code: bytes, *, amount: int, scope: int = ALL) -> bytes:
        """Return the 32 bytes of one input, of any script and scope. Source: BIP-143."""
        tx, spent = self._tx, self._tx.inputs[index]
        kind, is_alone = scope & 0x1F, bool(scope & ANYONE_CAN_PAY)
        if kind in (NONE, SINGLE):
            has_partner = kind == SINGLE and index < len(tx.outputs)
            outputs = sha256_twice(tx.outputs[index].serialise()) if has_partner else _NOTHING
        else:
            outputs = self._outputs
        return sha256_twice(
            tx.version.to_bytes(4, "little")
            + (_NOTHING if is_alone else self._outpoints)
            + (_NOTHING if is_alone or kind in (NONE, SINGLE) else self._sequences)
            + spent.outpoint.serialise()
            + write_blob(script_code)
            + amount.to_bytes(8, "little")
            + spent.sequence.to_bytes(4, "little")
            + outputs
            + tx.locktime.to_bytes(4, "little")
            + scope.to_bytes(4, "little")
        )

    @cached_property
    def _outpoints(self) -> bytes:
        return sha256_twice(b"".join(one.outpoint.serialise() for one in self._tx.inputs))

    @cached_property
    def _sequences(self) -> bytes:
        return sha256_twice(b"".join(one.sequence.to_bytes(4, "little") for one in self._tx.inputs))

    @cached_property
    def _outputs(self) -> bytes:
        return sha256_twice(b"".join(one.serialise() for one in self._tx.outputs))


class TaprootKeyPath:
    """The digests of one transaction's taproot inputs that are spent by their key.

    Every spent output of the transaction is given, in the order of the inputs: each digest covers
    all their amounts and scripts.
    """

    def __init__(self, tx: Tx, spent: Sequence[TxOut]) -> None:
        if len(spent) != len(tx.inputs):
            raise ValueError("one spent output per input")
        self._tx = tx
        self._spent = tuple(spent)

    def digest(self, index: int, *, scope: int = DEFAULT) -> bytes:
        """Return the 32 bytes of one input. Source: BIP-341, common signature message.

        ValueError: a scope that does not exist, SINGLE without an output of the same number.
        """
        tx, own = self._tx, self._tx.inputs[index]
        kind, is_alone = scope & 3, bool(scope & ANYONE_CAN_PAY)
        if scope not in (0, 1, 2, 3, 0x81, 0x82, 0x83):
            raise ValueError("no such scope")
        if kind == SINGLE and index >= len(tx.outputs):
            raise ValueError("no output has this input's number")
        message = b"\x00" + bytes((scope,))
        message += tx.version.to_bytes(4, "little") + tx.locktime.to_bytes(4, "little")
        if not is_alone:
            message += self._of_all_inputs
        if kind not in (NONE, SINGLE):
            message += sha256(b"".join(one.serialise() for one in tx.outputs))
        message += b"\x00"  # key path, no annex
        if is_alone:
            message += own.outpoint.serialise() + self._spent[index].serialise()
            message += own.sequence.to_bytes(4, "little")
        else:
            message += index.to_bytes(4, "little")
        if kind == SINGLE:
            message += sha256(tx.outputs[index].serialise())
        return tagged("TapSighash", message)

    @cached_property
    def _of_all_inputs(self) -> bytes:
        inputs, spent = self._tx.inputs, self._spent
        return b"".join(
            sha256(b"".join(parts))
            for parts in (
                [one.outpoint.serialise() for one in inputs],
                [one.amount.to_bytes(8, "little") for one in spent],
                [write_blob(one.script) for one in spent],
                [one.sequence.to_bytes(4, "little") for one in inputs],
            )
        )
