"""Addresses and the scripts they stand for.

Own addresses are version-0 witness programs of a key's hash (BIP-84). Paid to is also the hash of
a key or a script (base58), of a witness script, and a taproot key; nothing else. Canonical text of
a witness program is lower case.
"""

from __future__ import annotations

import coincurve

from chains.bitcoin import base58, bech32
from chains.bitcoin.hashes import hash160, tagged
from chains.bitcoin.params import NETWORKS, Network
from core.errors import Reason, Refused

_PUSH_20 = b"\x14"
_PUSH_32 = b"\x20"
_KEY_HASH = (b"\x76\xa9" + _PUSH_20, b"\x88\xac")
_SCRIPT_HASH = (b"\xa9" + _PUSH_20, b"\x87")
_WITNESS_KEY_HASH = b"\x00" + _PUSH_20
_WITNESS_SCRIPT_HASH = b"\x00" + _PUSH_32
_TAPROOT = b"\x51" + _PUSH_32

_HUMAN_PARTS = frozenset(network.human_part for network in NETWORKS.values())
_VERSIONS = frozenset(
    version
    for network in NETWORKS.values()
    for version in (network.key_version, network.script_version)
)
_BURN_PROGRAMS = frozenset(
    map(
        bytes.fromhex,
        (
            # "1BitcoinEaterAddressDontSendf59kuE" and "1CounterpartyXXXXXXXXXXXXXXXUWLpVr":
            # texts that somebody wrote out as addresses, no key was ever there.
            "759d6677091e973b9e9d99f19c68fbf43e3f05f9",
            "818895f3dc2c178629d3d2d8fa3ec4a3f8179821",
            # BIP-341: a point whose discrete logarithm nobody knows.
            "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0",
        ),
    )
)


def script_of(text: object, network: Network) -> bytes:
    """Return the output script that an address stands for.

    Refused: invalid_address (syntax, checksum, checksum of the wrong kind, mixed case),
    wrong_network, forbidden_destination (a program that nobody or everybody can spend).
    """
    if not isinstance(text, str):
        raise Refused(Reason.INVALID_ADDRESS, "an address is a text")
    program = bech32.read_program(text)
    if program is not None:
        human_part, version, data = program
        if human_part != network.human_part:
            raise _of_elsewhere(is_known=human_part in _HUMAN_PARTS)
        script = _program_script(version, data)
    else:
        script = _base58_script(text, network)
    if script is None or is_unspendable(script):
        raise Refused(Reason.FORBIDDEN_DESTINATION, "nobody, or everybody, can spend from this")
    return script


def canonical(text: object, network: Network) -> str:
    """Return the one spelling of an address. Refused: as script_of."""
    address = address_of_script(script_of(text, network), network)
    assert address is not None, "every script that is paid to has an address"
    return address


def address_of_script(script: bytes, network: Network) -> str | None:
    """Return the canonical address of an output script, None where there is none that we pay to."""
    if len(script) == 22 and script.startswith(_WITNESS_KEY_HASH):
        return bech32.write_program(network.human_part, 0, script[2:])
    if len(script) == 34 and script.startswith(_WITNESS_SCRIPT_HASH):
        return bech32.write_program(network.human_part, 0, script[2:])
    if len(script) == 34 and script.startswith(_TAPROOT):
        return bech32.write_program(network.human_part, 1, script[2:])
    if len(script) == 25 and script.startswith(_KEY_HASH[0]) and script.endswith(_KEY_HASH[1]):
        return base58.write(bytes((network.key_version,)) + script[3:23])
    if len(script) == 23 and script.startswith(_SCRIPT_HASH[0]) and script.endswith(b"\x87"):
        return base58.write(bytes((network.script_version,)) + script[2:22])
    return None


def script_of_key(public_key: bytes) -> bytes:
    """Return the script that pays to a compressed public key. Refused: malformed.

    Source: BIP-141, BIP-143 (keys of witness programs are compressed).
    """
    if len(public_key) != 33:
        raise Refused(Reason.MALFORMED, "a public key is a compressed point of 33 bytes")
    try:
        coincurve.PublicKey(public_key)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "the public key is not a point of the curve") from error
    return _WITNESS_KEY_HASH + hash160(public_key)


def taproot_script_of_key(public_key: bytes) -> bytes:
    """Return the taproot script that only a compressed public key spends. Refused: malformed.

    Source: BIP-86; the tweak commits to the key alone, so that there is no script beside it.
    """
    script_of_key(public_key)
    inner = public_key[1:]
    outer = coincurve.PublicKeyXOnly(inner)
    outer.tweak_add(tagged("TapTweak", inner))
    return _TAPROOT + bytes(outer.format())


def is_own_kind(script: bytes) -> bool:
    """Tell whether a script pays to a key's hash as a version-0 witness program."""
    return len(script) == 22 and script.startswith(_WITNESS_KEY_HASH)


def legacy_script_of_hash(key_hash: bytes) -> bytes:
    """Return the old script of a key's hash, which BIP-143 signs in place of the program."""
    return _KEY_HASH[0] + key_hash + _KEY_HASH[1]


def _base58_script(text: str, network: Network) -> bytes | None:
    body = base58.read(text)
    if body is None or len(body) != 21:
        raise Refused(Reason.INVALID_ADDRESS, "neither a witness program nor base58 of 21 bytes")
    if body[0] == network.key_version:
        return legacy_script_of_hash(body[1:])
    if body[0] == network.script_version:
        return _SCRIPT_HASH[0] + body[1:] + _SCRIPT_HASH[1]
    raise _of_elsewhere(is_known=body[0] in _VERSIONS)


def _program_script(version: int, program: bytes) -> bytes | None:
    if version == 0:
        return bytes((0, len(program))) + program
    if version == 1 and len(program) == 32:
        return _TAPROOT + program
    return None  # no rule guards these programs yet: whoever sees the coin can take it


def is_unspendable(script: bytes) -> bool:
    """Tell whether nobody can hold the key of a script that has an address."""
    if script.startswith(_KEY_HASH[0]):
        program = script[3:23]
    elif script.startswith(_SCRIPT_HASH[0]):
        program = script[2:22]
    else:
        program = script[2:]
    if program in _BURN_PROGRAMS or program in (bytes(len(program)), b"\xff" * len(program)):
        return True
    return script.startswith(_TAPROOT) and not _is_on_curve(program)


def _is_on_curve(x: bytes) -> bool:
    try:
        coincurve.PublicKey(b"\x02" + x)
    except ValueError:
        return False
    return True


def _of_elsewhere(*, is_known: bool) -> Refused:
    if is_known:
        return Refused(Reason.WRONG_NETWORK, "the address is of another network")
    return Refused(Reason.INVALID_ADDRESS, "the address is of no network that is known here")
