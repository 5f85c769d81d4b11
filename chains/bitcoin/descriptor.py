"""Descriptors: the stored truth of a wallet, one text from which all its addresses follow.

Own strict code for exactly the forms that are used here, each with its checksum:

    wpkh(KEY)                                one key (BIP-84)
    tr(KEY)                                  one key, taproot (BIP-86)
    wsh(sortedmulti(M,KEY,...))              M of several owners (BIP-48, BIP-67)
    tr(NOBODY,multi_a(M,KEY,...))            the same by a taproot script; NOBODY is BIP-341's point

KEY is `[fingerprint/48h/.../2h]xpub.../0/*`: hardened steps whose number and last step are those
that the extended key states, then the receiving branch and any index. A private key, a second
spelling and a key that stands there twice are refused.

Sources: BIP-380 (checksum), BIP-381, BIP-382, BIP-383, BIP-386, BIP-387; BIP-32 (child keys).
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import coincurve

from chains.bitcoin import base58
from chains.bitcoin.address import address_of_script
from chains.bitcoin.hashes import hash160, sha256
from chains.bitcoin.params import Network
from chains.bitcoin.tapscript import NOBODYS_KEY, leaf_hash, output_script, tweaked
from chains.bitcoin.tx import write_blob
from core.errors import Reason, Refused

OWNERS_MAX = 15
"""Owners of one wallet; all forms could take a little more. Source: BIP-383 (16 as one byte)."""
TEXT_MAX = 3_000
INDEX_MAX = (1 << 31) - 1

_CHARS = (
    "0123456789()[],'/*abcdefgh@:$%{}"
    "IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~"
    'ijklmnopqrstuvwxyzABCDEFGH`#"\\ '
)
_CHECKSUM_CHARS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_XPUB_VERSIONS = {True: bytes.fromhex("0488b21e"), False: bytes.fromhex("043587cf")}
"""By whether the network's coins have a price. Source: BIP-32."""
_XPUB_BYTES = 78
_HARDENED = 1 << 31
_STEP = r"(?:0|[1-9][0-9]{0,9})h"
_KEY = re.compile(
    rf"\[([0-9a-f]{{8}})((?:/{_STEP}){{1,10}})\]([1-9A-HJ-NP-Za-km-z]{{100,120}})/0/\*", re.ASCII
)
_FORMS = re.compile(
    r"(?P<wpkh>wpkh\()(?P<one>[^(){},]+)\)|(?P<tr>tr\()(?P<inner>[^(){},]+)\)"
    r"|wsh\(sortedmulti\((?P<wsh_m>[1-9][0-9]?),(?P<wsh>[^(){}]+)\)\)"
    rf"|tr\({NOBODYS_KEY.hex()},multi_a\((?P<tr_m>[1-9][0-9]?),(?P<leaf>[^(){{}}]+)\)\)",
    re.ASCII,
)
_CHECK_MULTI_SIG = b"\xae"
_CHECK_SIG = b"\xac"
_CHECK_SIG_ADD = b"\xba"
_NUM_EQUAL = b"\x9c"


class Form(enum.StrEnum):
    """What kind of output a wallet is paid to."""

    KEY_HASH = "wpkh"
    TAPROOT_KEY = "tr"
    SCRIPT_HASH = "wsh"
    TAPROOT_SCRIPT = "tr_script"


@dataclass(frozen=True, slots=True)
class KeyExpression:
    """One owner's extended public key and where it comes from."""

    fingerprint: bytes
    """Of his root key."""
    path: tuple[int, ...]
    """Hardened steps from the root to this key."""
    xpub: str
    public_key: bytes
    chain_code: bytes

    @property
    def text(self) -> str:
        """Return the one spelling."""
        steps = "".join(f"/{step - _HARDENED}h" for step in self.path)
        return f"[{self.fingerprint.hex()}{steps}]{self.xpub}/0/*"

    def at(self, index: int) -> bytes:
        """Return the compressed key of the receiving branch at an index below 2^31."""
        if not 0 <= index <= INDEX_MAX:
            raise Refused(Reason.MALFORMED, "an index below 2^31")
        branch = _child(self.public_key, self.chain_code, 0)
        return _child(*branch, index)[0]

    def path_at(self, index: int) -> tuple[int, ...]:
        """Return the steps from the root to that key."""
        return (*self.path, 0, index)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A wallet. threshold is 1 where one key spends."""

    form: Form
    threshold: int
    keys: tuple[KeyExpression, ...]

    @property
    def text(self) -> str:
        """Return the text with its checksum."""
        keys = ",".join(key.text for key in self.keys)
        body = {
            Form.KEY_HASH: f"wpkh({keys})",
            Form.TAPROOT_KEY: f"tr({keys})",
            Form.SCRIPT_HASH: f"wsh(sortedmulti({self.threshold},{keys}))",
            Form.TAPROOT_SCRIPT: f"tr({NOBODYS_KEY.hex()},multi_a({self.threshold},{keys}))",
        }[self.form]
        return f"{body}#{checksum(body)}"

    @property
    def has_owners(self) -> bool:
        """Tell whether several owners sign."""
        return self.form in (Form.SCRIPT_HASH, Form.TAPROOT_SCRIPT)

    def public_keys(self, index: int) -> tuple[bytes, ...]:
        """Return the compressed keys at an index, in the order in which the script has them."""
        keys = tuple(key.at(index) for key in self.keys)
        return tuple(sorted(keys)) if self.form is Form.SCRIPT_HASH else keys

    def script(self, index: int) -> bytes:
        """Return the script that owners satisfy; nothing where one key spends."""
        keys = self.public_keys(index)
        if self.form is Form.SCRIPT_HASH:
            pushes = b"".join(map(write_blob, keys))
            return _small(self.threshold) + pushes + _small(len(keys)) + _CHECK_MULTI_SIG
        if self.form is Form.TAPROOT_SCRIPT:
            checks = (_CHECK_SIG, *[_CHECK_SIG_ADD] * (len(keys) - 1))
            parts = [write_blob(key[1:]) + check for key, check in zip(keys, checks, strict=True)]
            return b"".join(parts) + _small(self.threshold) + _NUM_EQUAL
        return b""

    def output_script(self, index: int) -> bytes:
        """Return the script that pays to the wallet at an index."""
        if self.form is Form.SCRIPT_HASH:
            return b"\x00\x20" + sha256(self.script(index))
        if self.form is Form.TAPROOT_SCRIPT:
            return output_script(tweaked(NOBODYS_KEY, leaf_hash(self.script(index))).key)
        (key,) = self.public_keys(index)
        if self.form is Form.TAPROOT_KEY:
            return output_script(tweaked(key[1:]).key)
        return b"\x00\x14" + hash160(key)

    def address(self, index: int, network: Network) -> str:
        """Return the address at an index."""
        address = address_of_script(self.output_script(index), network)
        assert address is not None, "every form has an address"
        return address


@lru_cache(maxsize=256)
def read(text: str, network: Network) -> Descriptor:
    """Read a descriptor of one network in its one spelling.

    Refused: malformed (syntax, checksum, another form, a threshold above the owners, a key twice),
    wrong_network, too_large.
    """
    if len(text) > TEXT_MAX:
        raise Refused(Reason.TOO_LARGE, "no wallet's descriptor is that long")
    body, mark, given = text.partition("#")
    if not mark or any(char not in _CHARS for char in body) or given != checksum(body):
        raise _malformed("a descriptor ends with its own checksum")
    match = _FORMS.fullmatch(body)
    if match is None:
        raise _malformed("none of the forms that are used here")
    if one := match["one"]:
        found = Descriptor(Form.KEY_HASH, 1, (read_key(one, network),))
    elif inner := match["inner"]:
        found = Descriptor(Form.TAPROOT_KEY, 1, (read_key(inner, network),))
    else:
        form = Form.SCRIPT_HASH if match["wsh"] else Form.TAPROOT_SCRIPT
        keys = tuple(read_key(one, network) for one in (match["wsh"] or match["leaf"]).split(","))
        found = of_owners(form, int(match["wsh_m"] or match["tr_m"]), keys)
    assert found.text == text, "there is one spelling"
    return found


def of_owners(form: Form, threshold: int, keys: Sequence[KeyExpression]) -> Descriptor:
    """Return the wallet of several owners. Refused: malformed (threshold, number, a key twice)."""
    if form not in (Form.SCRIPT_HASH, Form.TAPROOT_SCRIPT):
        raise _malformed("one key spends from this form")
    if not 1 <= threshold <= len(keys) <= OWNERS_MAX:
        raise _malformed(f"a threshold of at most all owners, of whom there are <= {OWNERS_MAX}")
    if len({key.public_key[1:] for key in keys}) != len(keys):
        raise _malformed("an owner stands there twice")
    return Descriptor(form, threshold, tuple(keys))


def read_key(text: str, network: Network) -> KeyExpression:
    """Read one key with its origin. Refused: malformed, wrong_network."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise _malformed("a key is [fingerprint/steps]xpub/0/*")
    data = base58.read(match[3], length_max=120)
    if data is None or len(data) != _XPUB_BYTES:
        raise _malformed("no extended key, or its checksum is wrong")
    is_main = network.name == "main"
    if data[:4] == _XPUB_VERSIONS[not is_main]:
        raise Refused(Reason.WRONG_NETWORK, "the key is of another network")
    if data[:4] != _XPUB_VERSIONS[is_main]:
        raise _malformed("no extended public key")
    path = tuple(int(step[:-1]) + _HARDENED for step in match[2][1:].split("/"))
    if max(path) > 2 * _HARDENED - 1 or data[4] != len(path):
        raise _malformed("the steps are not as many as the key says")
    if int.from_bytes(data[9:13], "big") != path[-1]:
        raise _malformed("the last step is not the one that the key names")
    try:
        coincurve.PublicKey(data[45:])
    except ValueError as error:
        raise _malformed("the key is not a point of the curve") from error
    return KeyExpression(bytes.fromhex(match[1]), path, match[3], data[45:], data[13:45])


def checksum(body: str) -> str:
    """Return the eight characters after a descriptor's `#`. Source: BIP-380."""
    groups: list[int] = []
    symbols: list[int] = []
    for char in body:
        value = _CHARS.index(char)
        symbols.append(value & 31)
        groups.append(value >> 5)
        if len(groups) == 3:
            symbols.append(groups[0] * 9 + groups[1] * 3 + groups[2])
            groups = []
    if groups:
        symbols.append(groups[0] if len(groups) == 1 else groups[0] * 3 + groups[1])
    state = 1
    for value in (*symbols, *[0] * 8):
        top = state >> 35
        state = (state & 0x7FFFFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            state ^= generator if top >> bit & 1 else 0
    state ^= 1
    return "".join(_CHECKSUM_CHARS[state >> 5 * (7 - place) & 31] for place in range(8))


def _child(public_key: bytes, chain_code: bytes, index: int) -> tuple[bytes, bytes]:
    """Return a key's child and its chain code. Refused: unknown_key (never met). Source: BIP-32."""
    digest = hmac.new(chain_code, public_key + index.to_bytes(4, "big"), hashlib.sha512).digest()
    try:
        return coincurve.PublicKey(public_key).add(digest[:32]).format(), digest[32:]
    except ValueError as error:
        raise Refused(Reason.UNKNOWN_KEY, f"child {index} is invalid by BIP-32") from error


def _small(number: int) -> bytes:
    return bytes((0x50 + number,))


def _malformed(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, detail)
