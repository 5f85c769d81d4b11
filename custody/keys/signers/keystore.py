"""The encrypted keystore: one seed under a passphrase.

    line 1   strongroom-keystore line 2   the header, JSON: version, kdf (argon2id: memory_kib,
    passes, lanes, salt), cipher, nonce line 3   hex of ChaCha20-Poly1305 of the seed, with the
    exact bytes of lines 1 and 2 as associated data

The cost of the passphrase stands in the header, between a floor and a ceiling. The file is made
once with mode 0600 and never written again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from core.entropy import Entropy
from core.errors import Reason, Refused
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.second import mnemonic_seed
from custody.keys.secret import Secret

MAGIC = b"strongroom-keystore"
VERSION = 1
CIPHER = "chacha20-poly1305"
SEED_BYTES = (16, 64)
"""Least and most bytes of a BIP-32 seed."""
FRESH_SEED_BYTES = 32
PASSPHRASE_BYTES_MIN = 8
_MEMORY_KIB = (8 * 1024, 4 * 1024 * 1024)
_PASSES = (1, 64)
_LANES = (1, 16)


@dataclass(frozen=True, slots=True)
class KdfCost:
    """What one guess at the passphrase costs.

    Refused: malformed, outside floor (8 MiB, 1 pass) and ceiling.
    """

    memory_kib: int = 256 * 1024
    passes: int = 3
    lanes: int = 1

    def __post_init__(self) -> None:
        for value, (least, most) in (
            (self.memory_kib, _MEMORY_KIB),
            (self.passes, _PASSES),
            (self.lanes, _LANES),
        ):
            if type(value) is not int or not least <= value <= most:
                raise Refused(Reason.MALFORMED, f"a KDF cost lies in {least}..{most}")


CHEAP = KdfCost(memory_kib=_MEMORY_KIB[0], passes=1)
"""The floor: for tests and demos, where the passphrase protects nothing."""


def seed_from_mnemonic(mnemonic: Secret, *, extra_word: Secret | None = None) -> Secret:
    """Return the BIP-39 seed of an English mnemonic.

    Refused: malformed (words, count or checksum).
    """
    seed = _mnemonic_seed(mnemonic, extra_word)
    if seed is None:
        raise Refused(Reason.MALFORMED, "not a BIP-39 mnemonic in English")
    return seed


def fresh_seed(entropy: Entropy) -> Secret:
    """Return a new seed of 256 random bits."""
    seed = entropy.token_bytes(FRESH_SEED_BYTES)
    assert len(seed) == FRESH_SEED_BYTES
    return Secret(seed)


def create_keystore(
    path: Path, passphrase: Secret, seed: Secret, *, entropy: Entropy, cost: KdfCost | None = None
) -> None:
    """Write a keystore file.

    Refused: exists_with_other_content, malformed (short passphrase, size of the seed).
    """
    cost = KdfCost() if cost is None else cost
    if len(passphrase.reveal()) < PASSPHRASE_BYTES_MIN:
        raise Refused(Reason.MALFORMED, f"a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes")
    if not SEED_BYTES[0] <= len(seed.reveal()) <= SEED_BYTES[1]:
        raise Refused(Reason.MALFORMED, "a seed has 16 to 64 bytes")
    salt, nonce = entropy.token_bytes(16), entropy.token_bytes(12)
    header = {
        "version": VERSION,
        "kdf": {
            "name": "argon2id",
            "memory_kib": cost.memory_kib,
            "passes": cost.passes,
            "lanes": cost.lanes,
            "salt": salt.hex(),
        },
        "cipher": CIPHER,
        "nonce": nonce.hex(),
    }
    head = MAGIC + b"\n" + json.dumps(header, sort_keys=True).encode("ascii") + b"\n"
    sealed = _cipher(passphrase, cost, salt).encrypt(nonce, seed.reveal(), head)
    write_private_file(path, head + sealed.hex().encode("ascii") + b"\n")


def open_keystore(path: Path, passphrase: Secret) -> Secret:
    """Return the seed.

    Refused: wrong_passphrase (or a changed file), malformed, unknown_version, forbidden, not_found.
    """
    lines = read_private_file(path).split(b"\n")
    if len(lines) != 4 or lines[0] != MAGIC or lines[3]:
        raise Refused(Reason.MALFORMED, f"{path} is not a keystore")
    cost, salt, nonce = _parse_header(lines[1])
    try:
        sealed = bytes.fromhex(lines[2].decode("ascii"))
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"{path} is not a keystore") from error
    head = lines[0] + b"\n" + lines[1] + b"\n"
    seed = _unseal(_cipher(passphrase, cost, salt), nonce, sealed, head)
    if seed is None:
        raise Refused(Reason.WRONG_PASSPHRASE, f"{path} does not open with this passphrase")
    return seed


def _parse_header(line: bytes) -> tuple[KdfCost, bytes, bytes]:
    try:
        header = cast("dict[str, object]", json.loads(line))
        kdf = cast("dict[str, object]", header["kdf"])
        version, names = header["version"], (kdf["name"], header["cipher"])
        cost = KdfCost(
            cast("int", kdf["memory_kib"]), cast("int", kdf["passes"]), cast("int", kdf["lanes"])
        )
        salt, nonce = bytes.fromhex(str(kdf["salt"])), bytes.fromhex(str(header["nonce"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(Reason.MALFORMED, "the header of the keystore") from error
    if version != VERSION or names != ("argon2id", CIPHER):
        raise Refused(Reason.UNKNOWN_VERSION, "the header of the keystore")
    if len(salt) != 16 or len(nonce) != 12:
        raise Refused(Reason.MALFORMED, "the header of the keystore")
    return cost, salt, nonce


def _cipher(passphrase: Secret, cost: KdfCost, salt: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(
        hash_secret_raw(
            passphrase.reveal(),
            salt,
            time_cost=cost.passes,
            memory_cost=cost.memory_kib,
            parallelism=cost.lanes,
            hash_len=32,
            type=Type.ID,
        )
    )


def _unseal(cipher: ChaCha20Poly1305, nonce: bytes, sealed: bytes, head: bytes) -> Secret | None:
    try:
        return Secret(cipher.decrypt(nonce, sealed, head))
    except InvalidTag:
        return None


def _mnemonic_seed(mnemonic: Secret, extra_word: Secret | None) -> Secret | None:
    # No error leaves this frame: the words must not stand in a traceback.
    extra = "" if extra_word is None else extra_word.reveal().decode("utf-8", "replace")
    seed = mnemonic_seed(mnemonic.reveal().decode("utf-8", "replace"), extra)
    return None if seed is None else Secret(seed)
