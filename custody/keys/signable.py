"""What officers sign, whichever credential they hold: bytes, and the same as readable fields.

An Ed25519 key signs the bytes, a passkey a challenge made of them (custody.keys.passkey), a wallet
key a typed message whose fields its screen shows and whose last field is the hash of the bytes
(custody.keys.typed_approval). So a signature on any rail is for these bytes and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

FieldType: TypeAlias = Literal["string", "uint256", "bytes32"]


@dataclass(frozen=True, slots=True)
class TypedField:
    """One field as a wallet shows it: a text, an integer, or 32 bytes."""

    name: str
    type: FieldType
    value: str | int | bytes


@dataclass(frozen=True, slots=True)
class Signable:
    """One thing to sign."""

    message: bytes
    """Canonical bytes; whoever can read them needs nothing else."""
    purpose: str
    """What a wallet calls it, a word like Approval; no two kinds of message share one."""
    fields: tuple[TypedField, ...] = ()
    """What a wallet shows of it."""
