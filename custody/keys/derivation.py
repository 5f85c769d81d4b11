"""Public derivation: from an account's xpub to addresses, no private key in reach (BIP-32, 44).

Layout: `m/44'/coin_type'/account'/change/index`. The account step is hardened, so that one leaked
child key together with its xpub betrays one account and no other. A hardened child of a public key
does not exist and is refused. Before an address is first shown its key is derived again by a second
library.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

from coincurve import PublicKey

from core.errors import Corrupt, Reason, Refused
from custody.keys.second import SecondAccount, base58check_decode, base58check_encode, hash160

HARDENED = 1 << 31
XPUB_VERSION = bytes.fromhex("0488b21e")
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SKIPS_MAX = 16
"""Invalid children in a row that are passed over; one alone has a chance of 2^-127."""

_XPUB_TEXT_MAX = 128
_XPUB_BYTES = 78
_HASH_BLOCK_BYTES = 128
_PATH = re.compile(
    r"m/44'/(0|[1-9][0-9]{0,9})'/(0|[1-9][0-9]{0,9})'/([01])/(0|[1-9][0-9]{0,9})", re.ASCII
)

KeyedHash = Callable[[bytes, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Path:
    """One address key: m/44'/coin_type'/account'/change/index, hardened as BIP-44 says."""

    coin_type: int
    account: int
    change: int
    index: int

    def __post_init__(self) -> None:
        numbers = (self.coin_type, self.account, self.change, self.index)
        if not all(type(n) is int and 0 <= n < HARDENED for n in numbers) or self.change > 1:
            raise Refused(Reason.MALFORMED, "a path has numbers below 2^31 and change 0 or 1")

    def __str__(self) -> str:
        return f"m/44'/{self.coin_type}'/{self.account}'/{self.change}/{self.index}"


def parse_path(text: str) -> Path:
    """Parse exactly what str(Path) writes.

    Refused: malformed (other markers, leading zeros, spaces, 2^31 and above).
    """
    match = _PATH.fullmatch(text) if type(text) is str else None
    if match is None:
        raise Refused(Reason.MALFORMED, "a path looks like m/44'/60'/0'/0/7")
    coin_type, account, change, index = (int(part) for part in match.groups())
    return Path(coin_type, account, change, index)


@dataclass(frozen=True, slots=True)
class PublicNode:
    """An extended public key: a point, a chain code and where it stands in the tree."""

    public_key: bytes
    chain_code: bytes
    depth: int
    parent_fingerprint: bytes
    child_number: int


def parse_xpub(text: str) -> PublicNode:
    """Parse a serialised extended public key.

    Refused: malformed (checksum, any version but xpub's, a point that is not on the curve, depth 0
    with a parent).
    """
    if type(text) is not str or len(text) > _XPUB_TEXT_MAX:
        raise _not_an_xpub("not a short text")
    data = base58check_decode(text)
    if data is None:
        raise _not_an_xpub("checksum")
    if len(data) != _XPUB_BYTES or data[:4] != XPUB_VERSION:
        raise _not_an_xpub("version or length")
    node = PublicNode(
        public_key=data[45:],
        chain_code=data[13:45],
        depth=data[4],
        parent_fingerprint=data[5:9],
        child_number=int.from_bytes(data[9:13], "big"),
    )
    _point(node.public_key)
    if node.depth == 0 and (node.child_number or any(node.parent_fingerprint)):
        raise _not_an_xpub("a master key has no parent")
    if format_xpub(node) != text:
        raise _not_an_xpub("not the canonical spelling")
    return node


def format_xpub(node: PublicNode) -> str:
    """Serialise an extended public key; the inverse of parse_xpub."""
    data = XPUB_VERSION + bytes([node.depth]) + node.parent_fingerprint
    data += node.child_number.to_bytes(4, "big") + node.chain_code + node.public_key
    assert len(data) == _XPUB_BYTES
    return base58check_encode(data)


def hmac_sha512(key: bytes, message: bytes) -> bytes:
    """Return the 64 bytes that BIP-32 splits into tweak and chain code."""
    return hmac.digest(key, message, "sha512")


def hmac_sha512_of(key: bytes) -> Callable[[bytes], bytes]:
    """Return hmac_sha512 under one key, which is hashed once for however many messages."""
    block = key.ljust(_HASH_BLOCK_BYTES, b"\0")
    inner, outer = (hashlib.sha512(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))

    def keyed(message: bytes) -> bytes:
        within, around = inner.copy(), outer.copy()
        within.update(message)
        around.update(within.digest())
        return around.digest()

    return keyed


def fingerprint(public_key: bytes) -> bytes:
    """Return the first 4 bytes of HASH160, by which a child names its parent."""
    return hash160(public_key)[:4]


class PublicParent:
    """A node whose children are derived many times (CKDpub of BIP-32); its point is cached."""

    def __init__(self, node: PublicNode, *, keyed_hash: KeyedHash = hmac_sha512) -> None:
        self.node = node
        self._point = _point(node.public_key)
        if keyed_hash is hmac_sha512:
            self._keyed_hash = hmac_sha512_of(node.chain_code)
        else:
            self._keyed_hash = partial(keyed_hash, node.chain_code)

    def child_key(self, index: int) -> bytes:
        """Return the compressed public key of a child. Refused: as `child`."""
        return self._child(index)[0]

    def child(self, index: int) -> PublicNode:
        """Return a child with its chain code.

        Refused: malformed (hardened, which needs the private key), unknown_key (the child that
        BIP-32 calls invalid: its tweak is not below the curve order, or the sum is the point at
        infinity).
        """
        public_key, chain_code = self._child(index)
        return PublicNode(
            public_key, chain_code, self.node.depth + 1, fingerprint(self.node.public_key), index
        )

    def _child(self, index: int) -> tuple[bytes, bytes]:
        if type(index) is not int or not 0 <= index < HARDENED:
            raise Refused(
                Reason.MALFORMED, "a public parent has children 0..2^31-1, no hardened ones"
            )
        message = self.node.public_key + index.to_bytes(4, "big")
        digest = self._keyed_hash(message)
        try:
            return self._sum(digest[:32]).format(), digest[32:]
        except ValueError as error:
            raise Refused(Reason.UNKNOWN_KEY, f"child {index} is invalid by BIP-32") from error

    def _sum(self, tweak: bytes) -> PublicKey:
        try:
            # The base point has tables, so this and a sum of two points are the shorter way.
            return PublicKey.combine_keys([self._point, PublicKey.from_valid_secret(tweak)])
        except ValueError:
            # libsecp256k1 refuses a tweak >= n and the point at infinity, the two cases of BIP-32,
            # and takes 0, which is no secret.
            return self._point.add(tweak)


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A child's number and compressed public key;

    the number is above the asked one after a skip.
    """

    index: int
    public_key: bytes


class PublicKeys(Protocol):
    """The public keys of one account, wherever they come from."""

    def public_key(self, index: int) -> bytes:
        """Return the key of an index. Refused: malformed, unknown_key (there is none)."""
        ...

    def public_key_checked(self, index: int) -> bytes:
        """Return the key of an index after it was looked at twice. Corrupt when that differs."""
        ...

    def public_key_again(self, index: int) -> bytes:
        """Return the key of an index, found in another way. Refused: malformed, unknown_key."""
        ...


class ListedKeys:
    """Keys that derive from nothing public: made inside a token, or on Ed25519.

    There is no second way to them; what stands for it is the signer's attestation to the list.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def public_key(self, index: int) -> bytes:
        """Return the key of an index. Refused: unknown_key (not exported yet)."""
        if type(index) is not int or not 0 <= index < len(self._keys):
            raise Refused(
                Reason.UNKNOWN_KEY, f"key {index}: the signer exported {len(self._keys)} of these"
            )
        return self._keys[index]

    public_key_checked = public_key_again = public_key


class AccountKeys:
    """The addresses of one account (BIP-44 depth 3), from its xpub alone."""

    def __init__(self, xpub: str, *, keyed_hash: KeyedHash = hmac_sha512) -> None:
        node = parse_xpub(xpub)
        if node.depth != 3 or node.child_number < HARDENED:
            raise Refused(Reason.MALFORMED, "an account's xpub has depth 3 and a hardened number")
        self.xpub = xpub
        account = PublicParent(node, keyed_hash=keyed_hash)
        self._external = PublicParent(account.child(0), keyed_hash=keyed_hash)

    def public_key(self, index: int) -> bytes:
        """Return the key at .../0/index. Refused: malformed, unknown_key (invalid child)."""
        return self._external.child_key(index)

    def public_key_checked(self, index: int) -> bytes:
        """Return the key at .../0/index after a second library derived the same.

        Corrupt when it did not.
        """
        public_key = self.public_key(index)
        if self.public_key_again(index) != public_key:
            raise Corrupt(f"two implementations disagree about child {index} of {self.xpub}")
        return public_key

    def public_key_again(self, index: int) -> bytes:
        """Return the key at .../0/index as the second library alone derives it.

        Refused: malformed (no such index).
        """
        if type(index) is not int or not 0 <= index < HARDENED:
            raise Refused(Reason.MALFORMED, "an index lies in 0..2^31-1")
        return self._second.public_key(index)

    @cached_property
    def _second(self) -> SecondAccount:
        return SecondAccount(self.xpub)


def derive_checked(account: AccountKeys, index: int) -> DerivedKey:
    """Return the first valid key at or after index, derived by a second library too.

    BIP-32 says to proceed with the next number when a child is invalid. Corrupt when the libraries
    disagree.
    """
    for candidate in range(index, index + SKIPS_MAX):
        try:
            account.public_key(candidate)
        except Refused as refused:
            if refused.reason is not Reason.UNKNOWN_KEY:
                raise
            continue
        return DerivedKey(candidate, account.public_key_checked(candidate))
    raise Corrupt(f"{SKIPS_MAX} invalid children in a row do not happen by chance")


def _point(public_key: bytes) -> PublicKey:
    if len(public_key) != 33 or public_key[0] not in (2, 3):
        raise _not_an_xpub("not a compressed point")
    try:
        return PublicKey(public_key)
    except ValueError as error:
        raise _not_an_xpub("not on the curve") from error


def _not_an_xpub(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, f"extended public key: {detail}")
