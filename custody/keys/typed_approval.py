"""A wallet key's signature over typed data, as EIP-712 defines it, checked with own hashing.

    domain    EIP712Domain(string name,string version): "Strongroom", "1"; no chain and no contract,
              since what is approved may be on any chain; the network is one of the fields
    message   <purpose>(<its fields>,bytes32 messageHash)

messageHash is SHA-256 of the canonical bytes, so that the signature is for those and no others;
the fields before it are what a wallet's screen shows. A signature is r · s · v with the lower s
(EIP-2) and v 27 or 28; the key is an address, recovered from it.

Source: EIP-712 "Typed structured data hashing and signing"; EIP-55 for the spelling of addresses.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from core.errors import Reason, Refused
from custody.keys.signable import Signable, TypedField

DOMAIN_NAME = "Strongroom"
DOMAIN_VERSION = "1"
ADDRESS_BYTES = 20
SIGNATURE_BYTES = 65
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DOMAIN_TYPE = (("name", "string"), ("version", "string"))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}", re.ASCII)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


def digest_of(signable: Signable) -> bytes:
    """Return the 32 bytes that a wallet signs. Refused: malformed."""
    domain = _struct_hash(
        "EIP712Domain",
        (
            TypedField("name", "string", DOMAIN_NAME),
            TypedField("version", "string", DOMAIN_VERSION),
        ),
    )
    return keccak(b"\x19\x01" + domain + _struct_hash(signable.purpose, _fields(signable)))


def typed_data(signable: Signable) -> dict[str, object]:
    """Return what a wallet takes for eth_signTypedData_v4. Refused: malformed.

    Integers are decimal texts, because JSON's numbers are not exact everywhere.
    """
    fields = _fields(signable)
    _struct_hash(signable.purpose, fields)  # what cannot be hashed is not shown
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": type_} for name, type_ in _DOMAIN_TYPE],
            signable.purpose: [{"name": one.name, "type": one.type} for one in fields],
        },
        "primaryType": signable.purpose,
        "domain": {"name": DOMAIN_NAME, "version": DOMAIN_VERSION},
        "message": {one.name: _shown(one.value) for one in fields},
    }


def check_typed(address: bytes, signable: Signable, signature: bytes) -> None:
    """Return when the wallet at an address signed exactly this. Refused: bad_signature."""
    if len(signature) != SIGNATURE_BYTES or signature[64] not in {27, 28}:
        raise _bad("a wallet's signature has 65 bytes and ends with 27 or 28")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not (0 < r < CURVE_ORDER and 0 < s <= CURVE_ORDER // 2):
        raise _bad("a wallet's signature out of range, or with the higher s")
    recoverable = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest_of(signable), hasher=None)
    except ValueError as error:
        raise _bad("a wallet's signature of nobody") from error
    if not hmac.compare_digest(address_of(key), address):
        raise _bad("not this wallet's signature over this")


def sign_typed(private_key: PrivateKey, signable: Signable) -> bytes:
    """Sign with a wallet key; runs where the officer is, never in the platform."""
    made = private_key.sign_recoverable(digest_of(signable), hasher=None)
    signature = made[:64] + bytes([27 + made[64]])
    check_typed(address_of(private_key.public_key), signable, signature)
    return signature


def one_spelling(signature: bytes) -> bytes:
    """Return a wallet's signature with v 27 or 28, where some wallets write 0 or 1."""
    if len(signature) == SIGNATURE_BYTES and signature[64] in {0, 1}:
        return signature[:64] + bytes([27 + signature[64]])
    return signature


def address_of(key: PublicKey) -> bytes:
    """Return the 20 bytes of a key's address."""
    return keccak(key.format(compressed=False)[1:])[12:]


def address_text(address: bytes) -> str:
    """Return an address in its one spelling, with the checksum of EIP-55."""
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    pairs = zip(digits, marks, strict=False)
    return "0x" + "".join(one.upper() if int(mark, 16) > 7 else one for one, mark in pairs)


def read_address(text: str) -> bytes:
    """Return the bytes of an address spelled with its checksum. Refused: malformed."""
    if not _ADDRESS.fullmatch(text) or address_text(bytes.fromhex(text[2:])) != text:
        raise Refused(Reason.MALFORMED, "not an address with the checksum of EIP-55")
    return bytes.fromhex(text[2:])


def _fields(signable: Signable) -> tuple[TypedField, ...]:
    hashed = hashlib.sha256(signable.message).digest()
    return (*signable.fields, TypedField("messageHash", "bytes32", hashed))


def _struct_hash(name: str, fields: tuple[TypedField, ...]) -> bytes:
    names = [field.name for field in fields]
    if len(set(names)) != len(names) or not all(map(_NAME.fullmatch, [name, *names])):
        raise Refused(Reason.MALFORMED, "names of typed data")
    kinds = ",".join(f"{field.type} {field.name}" for field in fields)
    words = b"".join(map(_word, fields))
    return keccak(keccak(f"{name}({kinds})".encode("ascii")) + words)


def _word(field: TypedField) -> bytes:
    """Return the 32 bytes that stand for a value (EIP-712 `encodeData`)."""
    value = field.value
    if field.type == "string" and type(value) is str:
        return keccak(value.encode("utf-8"))
    if field.type == "uint256" and type(value) is int and 0 <= value < 1 << 256:
        return value.to_bytes(32, "big")
    if field.type == "bytes32" and type(value) is bytes and len(value) == 32:
        return value
    raise Refused(Reason.MALFORMED, f"{field.name} of typed data")


def _shown(value: str | int | bytes) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def _bad(detail: str) -> Refused:
    return Refused(Reason.BAD_SIGNATURE, detail)
