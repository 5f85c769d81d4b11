"""Seeds that lie on disk sealed by something outside this process.

One box, whole seed:

    line 1   strongroom-sealed-seed
    line 2   the header, JSON: version, wallet, identity
    line 3   hex of what the box made of the seed

Two boxes, both needed. The seed is the exclusive-or of two halves of its own length: one is random,
and so by itself is the other. Whoever opens one box alone, with any amount of computing, has noise:
no cipher stands between, and neither box ever sees the seed. (Two layers, one around the other,
would hand the seed to the inner box, and lean on its cipher alone once the outer one is open.)

    line 1   strongroom-split-seed
    line 2   the header, JSON: version, wallet, identity, pair (random: no two seals' halves mix)
    line 3   hex of what the first box made of its half
    line 4   hex of what the second box made of its half

The exact bytes of lines 1 and 2 (and for halves `first` or `second`) are every box's associated
data, so that a seal opens for its own wallet in its own place only. `identity` is a hash of the
public key of the seed's root, as public as the addresses: a box that hands out another seed is
found out. Files are made once, mode 0600, and never written again: a resealed seed is a new file.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.entropy import Entropy
from core.errors import Corrupt, Reason, Refused
from custody.keys.bip32 import PrivateNode
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.secret import Secret
from custody.keys.signers.keystore import SEED_BYTES

WHOLE = b"strongroom-sealed-seed"
SPLIT = b"strongroom-split-seed"
VERSION = 1
PAIR_BYTES = 16
FIRST, SECOND = b"first", b"second"
_WALLET = re.compile(r"[a-z0-9][a-z0-9._/-]{0,63}", re.ASCII)


class SealedBox(Protocol):
    """Something that seals and opens a few bytes with a key it keeps to itself."""

    def seal(self, content: Secret, associated: bytes) -> bytes:
        """Return the sealed bytes. Unavailable, Refused (forbidden, wrong_pin, …)."""
        ...

    def open(self, sealed: bytes, associated: bytes) -> Secret:
        """Return the content.

        Refused: undecodable (another key, other associated data, changed bytes). Unavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class SealedFile:
    """What stands in a file of a sealed seed; nothing of it is secret without the boxes."""

    wallet: str
    identity: str
    head: bytes
    """Lines 1 and 2 with their ends: the associated data."""
    parts: tuple[bytes, ...]


def seal_seed(path: Path, wallet: str, seed: Secret, box: SealedBox) -> None:
    """Write a seed sealed by one box, after opening it again.

    Refused: malformed (wallet, size of the seed), exists_with_other_content, and as the box.
    Corrupt when the box does not give back what it was given.
    """
    head = _head(WHOLE, wallet, seed)
    sealed = _sealed(box, seed, head)
    write_private_file(path, head + sealed.hex().encode("ascii") + b"\n")


def open_seed(path: Path, wallet: str, box: SealedBox) -> Secret:
    """Return a wallet's seed.

    Refused: undecodable (another wallet's, another box's, changed), malformed, unknown_version,
    forbidden (file mode), not_found. Unavailable as the box. Corrupt: the box gave another seed.
    """
    file = read_sealed(path, WHOLE, parts=1)
    _check_wallet(file, wallet, path)
    seed = box.open(file.parts[0], file.head)
    return _checked(seed, file, path)


def reseal_seed(path: Path, new_path: Path, wallet: str, box: SealedBox) -> None:
    """Write the seed of one file to another, sealed by the newest key of its box.

    Vault's own rewrap takes no associated data (hashicorp/vault#29532, #31791), so a seed that is
    bound to its wallet is opened and sealed again, in the signer's memory only. Errors as open_seed
    and seal_seed.
    """
    seal_seed(new_path, wallet, open_seed(path, wallet, box), box)


def seal_split_seed(
    path: Path, wallet: str, seed: Secret, *, first: SealedBox, second: SealedBox, entropy: Entropy
) -> None:
    """Write a seed that needs both boxes, after opening it again. Errors as seal_seed."""
    head = _head(SPLIT, wallet, seed, pair=entropy.token_bytes(PAIR_BYTES).hex())
    noise = Secret(entropy.token_bytes(len(seed.reveal())))
    parts = (
        _sealed(first, noise, head + FIRST),
        _sealed(second, _either_or(seed, noise), head + SECOND),
    )
    lines = b"".join(part.hex().encode("ascii") + b"\n" for part in parts)
    write_private_file(path, head + lines)


def open_split_seed(path: Path, wallet: str, *, first: SealedBox, second: SealedBox) -> Secret:
    """Return a wallet's seed by opening both boxes. Errors as open_seed."""
    file = read_sealed(path, SPLIT, parts=2)
    _check_wallet(file, wallet, path)
    one = first.open(file.parts[0], file.head + FIRST)
    other = second.open(file.parts[1], file.head + SECOND)
    if len(one.reveal()) != len(other.reveal()):
        raise Corrupt(f"{path}: the halves of the seed differ in length")
    return _checked(_either_or(one, other), file, path)


def read_sealed(path: Path, magic: bytes, *, parts: int) -> SealedFile:
    """Read a file without opening it.

    Refused: malformed, unknown_version, forbidden, not_found, too_large.
    """
    lines = read_private_file(path).split(b"\n")
    if len(lines) != parts + 3 or lines[0] != magic or lines[-1]:
        raise Refused(Reason.MALFORMED, f"{path} is no {magic.decode()}")
    try:
        header = json.loads(lines[1])
        sealed = tuple(bytes.fromhex(line.decode("ascii")) for line in lines[2:-1])
        version, wallet, identity = (header[name] for name in ("version", "wallet", "identity"))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(Reason.MALFORMED, f"{path} is no {magic.decode()}") from error
    if version != VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, f"{path}")
    if not isinstance(wallet, str) or not isinstance(identity, str):
        raise Refused(Reason.MALFORMED, f"{path} is no {magic.decode()}")
    return SealedFile(wallet, identity, lines[0] + b"\n" + lines[1] + b"\n", sealed)


def identity_of(seed: Secret) -> str:
    """Return 32 hex digits that name a seed and tell no more of it than an address does."""
    return hashlib.sha256(PrivateNode.master(seed).public_key).hexdigest()[:32]


def _head(magic: bytes, wallet: str, seed: Secret, **more: str) -> bytes:
    if type(wallet) is not str or not _WALLET.fullmatch(wallet):
        raise Refused(Reason.MALFORMED, "a wallet is named by 1..64 of a-z 0-9 . _ / -")
    if not SEED_BYTES[0] <= len(seed.reveal()) <= SEED_BYTES[1]:
        raise Refused(Reason.MALFORMED, "a seed has 16 to 64 bytes")
    header = {"version": VERSION, "wallet": wallet, "identity": identity_of(seed), **more}
    return magic + b"\n" + json.dumps(header, sort_keys=True).encode("ascii") + b"\n"


def _sealed(box: SealedBox, content: Secret, associated: bytes) -> bytes:
    sealed = box.seal(content, associated)
    if box.open(sealed, associated) != content:
        raise Corrupt("a box does not give back what it was given")
    return sealed


def _check_wallet(file: SealedFile, wallet: str, path: Path) -> None:
    if file.wallet != wallet:
        raise Refused(Reason.UNDECODABLE, f"{path} is the seed of {file.wallet!r}, not {wallet!r}")


def _checked(seed: Secret, file: SealedFile, path: Path) -> Secret:
    size = len(seed.reveal())
    if not SEED_BYTES[0] <= size <= SEED_BYTES[1] or identity_of(seed) != file.identity:
        raise Corrupt(f"{path}: what the boxes gave is not the seed that was sealed")
    return seed


def _either_or(one: Secret, other: Secret) -> Secret:
    return Secret(bytes(a ^ b for a, b in zip(one.reveal(), other.reveal(), strict=True)))
