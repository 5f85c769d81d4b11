"""Check a proof-of-reserves report offline: this one file, any Python from 3.11, nothing else.

    python verify.py REPORT.json [FILE.json ...] [--not-before YYYY-MM-DD]

A FILE is a customer's inclusion proof or another report (the one before; or another entity's, that
must share no address). Exit codes: 0 everything holds, 8 something does not (it is named), 2 usage.
Checked: canonical JSON and its hash; the liabilities root; per asset, as equalities, tree total =
customers' liabilities in the books, addresses = custody in the books + in flight, assets −
liabilities = equity; each address signed a challenge that names entity, date, final blocks and a
commitment to all the rest of the report.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

OWED = ("customer_balances", "pending_withdrawals", "unidentified")
CUSTODY = ("unswept", "hot", "warm", "cold")
OWNED = (*CUSTODY, "in_transit", "receivable", "overdrawn")
EARNED, SPENT = ("equity", "fee_income", "rounding"), ("network_fees", "loss")
# In flight: what the addresses hold beyond the books, and what they are short of them.
BEYOND = ("uncredited_deposit", "unattributed_arrival", "unlanded_withdrawal", "fee_after_block")
SHORT = ("unposted_departure", "unbooked_network_fee", "deposit_after_block")
# The shape of the files: every name, and for every text its pattern. There is nothing but text.
LINE, TOKEN, HASH = "[ -~]{1,200}", "[0-9A-Za-z]{1,100}", "[0-9a-f]{64}"
COUNT, DATE = "0|[1-9][0-9]{0,18}", "[0-9]{4}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}Z"
NUMBER, POSITIVE, SIGNED = "0|[1-9][0-9]{0,38}", "[1-9][0-9]{0,38}", "0|-?[1-9][0-9]{0,38}"
SHEET = dict.fromkeys((*OWED, "liabilities", *OWNED, "assets", "on_chain", *EARNED, *SPENT), NUMBER)
SHEET |= dict.fromkeys((*CUSTODY, "in_transit", *EARNED, "loss", "assets", "net"), SIGNED)
AMOUNT = {"asset": NUMBER, "amount": POSITIVE}
BLOCK = {"chain": LINE, "network": LINE, "height": NUMBER, "height_step": POSITIVE, "hash": TOKEN}
ADDRESS = {"chain": LINE, "address": TOKEN, "scheme": TOKEN, "encumbrance": "[ -~]{0,200}"}
HEAD = {"kind": "strongroom/reserves-report/1", "entity": LINE, "snapshot_id": "[0-9a-z_]{1,64}"}
HEAD |= {"number": POSITIVE, "previous": HASH, "date": DATE}
BODY: dict[str, Any] = {
    **HEAD,
    "blocks": [BLOCK],
    "engine": {"epoch": NUMBER, "sequence": NUMBER, "hash": HASH},
    "ledger": [{"chain": "projected|treasury", "position": NUMBER, "hash": HASH}],
    "assets": [{"chain": LINE, "key": LINE, "symbol": LINE, "scale": "[0-9]|[1-7][0-9]"}],
    "tree": {"leaf_count": COUNT, "sums": [NUMBER], "top": HASH, "root": HASH},
    "sheet": [SHEET],
    "overdrawn": [AMOUNT | {"id": HASH}],
    "in_flight": [AMOUNT | {"id": LINE, "kind": "|".join(BEYOND + SHORT)}],
    "addresses": [ADDRESS | {"balances": [AMOUNT]}],
}
REPORT = {"body": BODY, "control": ["([0-9a-f]{2}){1,2000}"], "hash": HASH}
LEAF = {"report": HASH, "customer": COUNT, "salt": HASH, "balances": [NUMBER], "index": COUNT}
PROOF = LEAF | {"kind": "strongroom/reserves-proof/1", "path": [{"hash": HASH, "sums": [NUMBER]}]}
UNPROVABLE = """No such report can prove that the keys are not held for or with others (collusion,
borrowed coins), that there is no other debt, or that a customer who never asks is in the tree.
"""


class Refuted(Exception):
    """Something does not hold; the message says what."""


def require(condition: object, what: str) -> None:
    """Refute with these words unless the condition holds."""
    if not condition:
        raise Refuted(what)


def canonical(value: object) -> bytes:
    """Return the only accepted encoding: ASCII, sorted keys, no spaces, one newline at the end."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def parse(data: bytes, shape: Mapping[str, Any]) -> Any:
    """Read canonical JSON, in which no byte is slack, of a given shape."""
    try:
        value = json.loads(data.decode("ascii"))
        again = canonical(value)
    except (ValueError, RecursionError) as error:
        raise Refuted(f"not JSON in ASCII: {type(error).__name__}") from error
    require(again == data, "not in canonical form")
    check_shape(value, shape)
    return value


def check_shape(value: Any, shape: Any, where: str = "file") -> None:
    """Refute other names than the shape's, and text that its pattern does not match."""
    if isinstance(shape, dict):
        require(type(value) is dict and value.keys() == shape.keys(), f"{where}: other names")
        for name in shape:
            check_shape(value[name], shape[name], f"{where}.{name}")
    elif isinstance(shape, list):
        require(type(value) is list, f"{where}: not a list")
        for index, item in enumerate(value):
            check_shape(item, shape[0], f"{where}[{index}]")
    else:
        fits = type(value) is str and re.fullmatch(shape, value)
        require(fits, f"{where}: not of the form {shape}")


# --- The liabilities tree, as custody/reserves/merkle_sum.py defines it: a node is hash ‖ sums.
def _sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _pack(sums: Sequence[int]) -> bytes:
    require(all(0 <= value < 1 << 128 for value in sums), "a sum outside 0..2^128-1")
    return b"".join([value.to_bytes(16, "big") for value in sums])


def _node(digest: str, sums: Sequence[str]) -> bytes:
    return bytes.fromhex(digest) + _pack([int(each) for each in sums])


def _zeros(context: bytes, width: int, level: int) -> bytes:
    node = _sha256(b"strongroom/zero1", context, width.to_bytes(2, "big")) + bytes(16 * width)
    for height in range(1, level + 1):
        node = _join(height, node, node)
    return node


def _join(level: int, left: bytes, right: bytes) -> bytes:
    require(len(left) == len(right), "children of different widths")
    lanes = range(32, len(left), 16)
    head = b"strongroom/node1" + level.to_bytes(1, "big") + len(lanes).to_bytes(2, "big")
    a, b = ([int.from_bytes(node[at : at + 16], "big") for at in lanes] for node in (left, right))
    return _sha256(head, left, right) + _pack([x + y for x, y in zip(a, b, strict=True)])


# --- Control of addresses: Keccak-256 and public key recovery on secp256k1.
LANE, P = 2**64 - 1, 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int] | None  # None is the point at infinity
Scheme = Callable[[bytes, bytes], str]
# 0x19, then EIP-191's version byte 0x45 and the words it begins, up to the length of the message.
EIP191_PREFIX = bytes.fromhex("19457468657265756d205369676e6564204d6573736167653a0a")


def keccak256(data: bytes) -> bytes:
    """Return the hash that was SHA-3 before its padding changed."""
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % 136))
    padded[-1] |= 0x80
    a = [0] * 25
    for start in range(0, len(padded), 136):
        for lane in range(17):
            a[lane] ^= int.from_bytes(padded[start + 8 * lane :][:8], "little")
        register = 1
        for _ in range(24):
            c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
            d = [c[x - 1] ^ (c[x - 4] << 1 | c[x - 4] >> 63) & LANE for x in range(5)]
            a = [lane ^ d[i % 5] for i, lane in enumerate(a)]
            x, y, b = 1, 0, a[:]
            for t in range(24):
                x, y, moved = y, (2 * x + 3 * y) % 5, a[x + 5 * y]
                by = (t + 1) * (t + 2) // 2 % 64
                b[x + 5 * y] = (moved << by | moved >> (64 - by)) & LANE
            rows = [b[i : i + 5] * 2 for i in range(0, 25, 5)]
            a = [row[i] ^ (~row[i + 1] & row[i + 2]) for row in rows for i in range(5)]
            for j in range(7):
                a[0] ^= (register & 1) << ((1 << j) - 1)
                register = register << 1 ^ (register >> 7) * 0x171
    return b"".join(lane.to_bytes(8, "little") for lane in a[:4])


def _add(p: Point, q: Point) -> Point:
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and p[1] != q[1]:
        return None
    rise, run = (3 * p[0] * p[0], 2 * p[1]) if p == q else (q[1] - p[1], q[0] - p[0])
    slope = rise * pow(run, -1, P) % P
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def recover(digest: bytes, signature: bytes) -> str:
    """Return the EIP-55 address whose key made r ‖ s ‖ v (65 bytes, low s, v 27 or 28)."""
    require(len(signature) == 65 and signature[64] in (27, 28), "not r, s and v of 27 or 28")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    require(0 < r < N and 0 < s <= N // 2, "r or s out of range, or the high twin of s")
    y = pow(r**3 + 7, (P + 1) // 4, P)
    require((y * y - r**3 - 7) % P == 0, "r is not on the curve")
    at = (r, y if y % 2 == signature[64] - 27 else P - y)
    u, v = -int.from_bytes(digest, "big") * pow(r, -1, N) % N, s * pow(r, -1, N) % N
    table: tuple[Point, ...] = (None, G, at, _add(G, at))
    key: Point = None
    for bit in range(255, -1, -1):
        key = _add(_add(key, key), table[(u >> bit & 1) + 2 * (v >> bit & 1)])
    if key is None:
        raise Refuted("the signature recovers no key")
    digits = keccak256(b"".join(part.to_bytes(32, "big") for part in key))[12:].hex()
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if m > "7" else c for c, m in zip(digits, marks, strict=False))


def eip191_signer(challenge: bytes, proof: bytes) -> str:
    """Return who signed a challenge as a personal message."""
    return recover(keccak256(EIP191_PREFIX + str(len(challenge)).encode() + challenge), proof)


def _multiplied(factor: int, p: Point) -> Point:
    found: Point = None
    for bit in f"{factor:b}":
        found = _add(_add(found, found), p if bit == "1" else None)
    return found


def _ripemd160(data: bytes) -> bytes:
    """Return RIPEMD-160, which the standard library has not everywhere (ISO/IEC 10118-3)."""
    left = [*range(16)]
    rows, rho = [left], [7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8]
    right = [[(9 * i + 5) % 16 for i in left]]
    for _ in range(4):
        rows.append([rho[i] for i in rows[-1]])
        right.append([rho[i] for i in right[-1]])
    shifts = [
        [11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8],
        [12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7],
        [13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9],
        [14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6],
        [15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5],
    ]
    mixes: list[Callable[[int, int, int], int]] = [
        lambda x, y, z: x ^ y ^ z,
        lambda x, y, z: x & y | ~x & z,
        lambda x, y, z: (x | ~y) ^ z,
        lambda x, y, z: x & z | y & ~z,
        lambda x, y, z: x ^ (y | ~z),
    ]
    constants = [0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E]
    others = [0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0]
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, "little")
    for start in range(0, len(padded), 64):
        words = [int.from_bytes(padded[start + 4 * i :][:4], "little") for i in range(16)]
        lines = []
        for order, keys, picks in ((rows, constants, mixes), (right, others, mixes[::-1])):
            a, b, c, d, e = state
            for turn in range(80):
                r, word = turn // 16, order[turn // 16][turn % 16]
                t = (a + picks[r](b, c, d) + words[word] + keys[r]) & 0xFFFFFFFF
                by = shifts[r][word]
                t = ((t << by | t >> (32 - by)) + e) & 0xFFFFFFFF
                a, e, d, c, b = e, d, (c << 10 | c >> 22) & 0xFFFFFFFF, b, t
            lines.append((a, b, c, d, e))
        x, y = lines
        state = [
            (state[(i + 1) % 5] + x[(i + 2) % 5] + y[(i + 3) % 5]) & 0xFFFFFFFF for i in range(5)
        ]
    return b"".join(word.to_bytes(4, "little") for word in state)


def _witness_address(human: str, program: bytes) -> str:
    """Return the address of a version-0 witness program (BIP-173)."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    number, bits = int.from_bytes(program, "big"), 8 * len(program)
    groups = -(-bits // 5)
    number <<= 5 * groups - bits
    values = [0, *(number >> 5 * (groups - 1 - i) & 31 for i in range(groups))]
    spread = [*(ord(c) >> 5 for c in human), 0, *(ord(c) & 31 for c in human)]
    check = 1
    for value in (*spread, *values, 0, 0, 0, 0, 0, 0):
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for i, part in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= part if top >> i & 1 else 0
    sums = [(check ^ 1) >> 5 * (5 - i) & 31 for i in range(6)]
    return human + "1" + "".join(letters[value] for value in (*values, *sums))


def bip322_signer(human: str, challenge: bytes, proof: bytes) -> str:
    """Return whose key's hash signed a challenge (BIP-322, simple), of a network's addresses."""
    require(len(proof) > 2 and proof[0] == 2, "a witness has a signature and a key")
    size = proof[1]
    encoded, key = proof[2 : 2 + size], proof[2 + size :]
    require(len(key) == 34 and key[0] == 33 and key[1] in (2, 3), "a key has 33 bytes")
    program = _ripemd160(hashlib.sha256(key[1:]).digest())
    r, s = _numbers(encoded)
    x = int.from_bytes(key[2:], "big")
    y = pow(x**3 + 7, (P + 1) // 4, P)
    require(x < P and (y * y - x**3 - 7) % P == 0, "the key is not on the curve")
    at = (x, y if y % 2 == key[1] - 2 else P - y)
    inverse = pow(s, -1, N)
    digest = int.from_bytes(_bip322_digest(challenge, program), "big")
    found = _add(_multiplied(digest * inverse % N, G), _multiplied(r * inverse % N, at))
    require(found is not None and found[0] % N == r, "the signature is not the key's")
    return _witness_address(human, program)


def _numbers(encoded: bytes) -> tuple[int, int]:
    """Return r and s of a strict encoding (BIP-66) whose scope is ALL, s low."""
    require(8 < len(encoded) < 73 and encoded[-1] == 1 and encoded[0] == 0x30, "no signature")
    size = encoded[3]
    require(encoded[1] == len(encoded) - 3 and size + 6 < len(encoded), "no signature")
    r, s = encoded[4 : 4 + size], encoded[6 + size : -1]
    require(encoded[2] == encoded[4 + size] == 2 and encoded[5 + size] == len(s), "no signature")
    for part in (r, s):
        require(bool(part) and part[0] < 128, "a number is negative")
        require(part[0] > 0 or (len(part) > 1 and part[1] > 127), "a number has spare zeros")
    found = int.from_bytes(r, "big"), int.from_bytes(s, "big")
    require(0 < found[0] < N and 0 < found[1] <= N // 2, "r or s out of range, or the high twin")
    return found


def _bip322_digest(challenge: bytes, program: bytes) -> bytes:
    """Return the BIP-143 digest of the transaction that commits to a challenge."""

    def twice(data: bytes) -> bytes:
        return hashlib.sha256(hashlib.sha256(data).digest()).digest()

    tag = hashlib.sha256(b"BIP0322-signed-message").digest()
    words = hashlib.sha256(tag + tag + challenge).digest()
    zero, script = bytes(4), b"\x00\x14" + program
    spent = zero + b"\x01" + bytes(32) + b"\xff" * 4 + b"\x22\x00\x20" + words + zero
    coin = twice(spent + b"\x01" + bytes(8) + b"\x16" + script + zero) + zero
    code = b"\x19\x76\xa9\x14" + program + b"\x88\xac"
    made = twice(bytes(8) + b"\x01\x6a")
    whole = zero + twice(coin) + twice(zero) + coin + code + bytes(8) + zero + made + zero
    return twice(whole + b"\x01\x00\x00\x00")


Q, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, Q) % Q
Twisted = tuple[int, int]


def _unpacked(data: bytes) -> Twisted:
    """Return a point of edwards25519 (RFC 8032, 5.1.3)."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number % 2**255
    require(y < Q, "a point is out of range")
    square = (y * y - 1) * pow(D * y * y + 1, -1, Q) % Q
    x = pow(square, (Q + 3) // 8, Q)
    if (x * x - square) % Q:
        x = x * pow(2, (Q - 1) // 4, Q) % Q
    require((x * x - square) % Q == 0 and (x or not sign), "not on the curve")
    return (Q - x if x % 2 != sign else x), y


def _joined(p: Twisted, q: Twisted) -> Twisted:
    product = D * p[0] * q[0] * p[1] * q[1] % Q
    x = (p[0] * q[1] + q[0] * p[1]) * pow(1 + product, -1, Q) % Q
    return x, (p[1] * q[1] + p[0] * q[0]) * pow(1 - product, -1, Q) % Q


def _times(factor: int, p: Twisted) -> Twisted:
    found = (0, 1)
    for bit in f"{factor:b}":
        found = _joined(found, found)
        found = _joined(found, p) if bit == "1" else found
    return found


# What an off-chain message begins with, up to the address that signs it: 0xff and the words,
# version, our application's domain, the format of the text, one signer.
OFFCHAIN = bytes.fromhex("ff736f6c616e61206f6666636861696e00")
OFFCHAIN += hashlib.sha256(b"strongroom/control/v1").digest() + b"\x00\x01"


def ed25519_signer(challenge: bytes, proof: bytes) -> str:
    """Return whose key (its base58 text) signed a challenge: key ‖ R ‖ S (RFC 8032, 5.1.7)."""
    require(len(proof) == 96, "a key and a signature have 96 bytes")
    key, r, s = proof[:32], proof[32:64], int.from_bytes(proof[64:], "little")
    require(s < L, "S is out of range")
    text = challenge.hex().encode()
    message = OFFCHAIN + key + len(text).to_bytes(2, "little") + text
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    base = _unpacked((4 * pow(5, -1, Q) % Q).to_bytes(32, "little"))
    point = _unpacked(key)
    require(_times(8, point) != (0, 1), "anybody signs for such a key")
    whose = _times(k, point)
    require(_times(s, base) == _joined(_unpacked(r), whose), "the signature is not the key's")
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, found = int.from_bytes(key, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        found = letters[digit] + found
    return "1" * (len(key) - len(key.lstrip(b"\0"))) + found


SCHEMES: dict[str, Scheme] = {
    "eip191": eip191_signer,
    "bip322bc": lambda challenge, proof: bip322_signer("bc", challenge, proof),
    "bip322tb": lambda challenge, proof: bip322_signer("tb", challenge, proof),
    "bip322bcrt": lambda challenge, proof: bip322_signer("bcrt", challenge, proof),
    "ed25519": ed25519_signer,
}


@dataclass(frozen=True, slots=True)
class Report:
    """A report that holds."""

    hash: str
    body: dict[str, Any]
    context: bytes
    leaf_count: int
    top: bytes


def context_of(body: Mapping[str, Any]) -> bytes:
    """Return what binds a tree to its snapshot, its cut and the list of assets."""
    unbound = ("addresses", "in_flight", "overdrawn", "sheet", "tree")
    bound = {name: value for name, value in body.items() if name not in unbound}
    return _sha256(b"strongroom/tree1", canonical(bound))


def challenge_of(body: Mapping[str, Any], commitment: bytes, line: Mapping[str, str]) -> bytes:
    """Return what the holder of an address signs; nobody could know it before the final blocks."""
    blocks = [f"final block: {b['chain']} {b['height']} {b['hash']}" for b in body["blocks"]]
    words = ["strongroom proof of control v1", f"entity: {body['entity']}"]
    words += [f"snapshot: {body['snapshot_id']}", f"date: {body['date']}", *blocks]
    words += [f"commitment: {commitment.hex()}", f"address: {line['chain']} {line['address']}"]
    return "\n".join([*words, f"pledged: {line['encumbrance'] or 'no'}"]).encode("ascii")


def check_report(data: bytes, more_schemes: Mapping[str, Scheme] | None = None) -> Report:
    """Return a report of which everything holds. A scheme names who proved a challenge."""
    schemes, whole = {**SCHEMES, **(more_schemes or {})}, parse(data, REPORT)
    sealed, body, control = whole.pop("hash"), whole["body"], whole["control"]
    require(_sha256(canonical(whole)).hex() == sealed, "the report's hash is another")
    require((body["number"] == "1") == (body["previous"] == "0" * 64), "only report 1 is the first")
    _check_lists(body)
    context, width, tree = context_of(body), len(body["assets"]), body["tree"]
    leaf_count, top = int(tree["leaf_count"]), _node(tree["top"], tree["sums"])
    require(len(tree["sums"]) == len(body["sheet"]) == width, "not one line per asset")
    require(len(control) == len(body["addresses"]), "not one proof of control per address")
    count = leaf_count.to_bytes(8, "big") + width.to_bytes(2, "big")
    root = _sha256(b"strongroom/root1", context, count, top).hex()
    require(root == tree["root"], "the root is another")
    require(leaf_count or top == _zeros(context, width, 0), "sums without leaves")
    _check_equations(body)
    commitment = _sha256(canonical(body))
    for line, proof in zip(body["addresses"], control, strict=True):
        require(line["scheme"] in schemes, f"unknown scheme {line['scheme']}")
        challenge = challenge_of(body, commitment, line)
        signer = schemes[line["scheme"]](challenge, bytes.fromhex(proof))
        require(signer == line["address"], f"{line['address']} did not sign this challenge")
    return Report(sealed, body, context, leaf_count, top)


def check_proof(report: Report, data: bytes) -> dict[str, Any]:
    """Return a customer's proof that holds under a report that does."""
    proof: dict[str, Any] = parse(data, PROOF)
    require(proof["report"] == report.hash, "the proof belongs to another report")
    customer, index, width = int(proof["customer"]), int(proof["index"]), len(report.body["assets"])
    require(len(proof["balances"]) == width, "not one balance per asset")
    require(index < report.leaf_count, "a place outside the tree")
    require(len(proof["path"]) == (report.leaf_count - 1).bit_length(), "another number of levels")
    sums = _pack([int(each) for each in proof["balances"]])
    owner = customer.to_bytes(8, "big") + bytes.fromhex(proof["salt"])
    head = b"strongroom/leaf1" + report.context + width.to_bytes(2, "big")
    node = _sha256(head, owner, sums) + sums
    for level, each in enumerate(proof["path"]):
        sibling, place = _node(each["hash"], each["sums"]), index >> level
        if (place ^ 1) << level >= report.leaf_count:
            require(sibling == _zeros(report.context, width, level), "not empty behind the last")
        node = _join(level + 1, *((sibling, node) if place & 1 else (node, sibling)))
    require(node == report.top, "the leaf is not under the report's root")
    return proof


def check_other(report: Report, other: Report) -> str:
    """Check a second report: the one before of the same entity, or one of another entity."""
    new, old = report.body, other.body
    if new["entity"] != old["entity"]:
        require(not _places(new) & _places(old), "an address is in both reports")
        return f"shares no address with {old['entity']}, report {other.hash}"
    require(new["previous"] == other.hash, "the report before is another")
    require(int(new["number"]) == int(old["number"]) + 1, "a report is missing between")
    require(new["date"] > old["date"], "the report before is not dated before")
    now, then = _clocks(new), _clocks(old)
    require(all(now.get(k, -1) >= then[k] for k in then), "the cut went backwards")
    return f"follows report {old['number']}, {other.hash}"


def _clocks(body: Any) -> dict[str, int]:
    clocks = {f"block {each['network']}": int(each["height"]) for each in body["blocks"]}
    clocks |= {each["chain"]: int(each["position"]) for each in body["ledger"]}
    return clocks | {"engine": int(body["engine"]["sequence"])}


def _places(body: Any) -> set[tuple[str, str]]:
    networks = {block["chain"]: block["network"] for block in body["blocks"]}
    return {(networks[line["chain"]], line["address"]) for line in body["addresses"]}


def _check_lists(body: Any) -> None:
    blocks, assets, lines = body["blocks"], body["assets"], body["addresses"]
    chains, networks = ({block[name] for block in blocks} for name in ("chain", "network"))
    require(len(chains) == len(networks) == len(blocks), "one network twice")
    require(
        not any(int(b["height"]) % int(b["height_step"]) for b in blocks), "height off the rule"
    )
    require([each["chain"] for each in body["ledger"]] == ["projected", "treasury"], "ledger")
    keys = {(asset["chain"], asset["key"]) for asset in assets}
    require(0 < len(keys) == len(assets) < 1 << 16, "no asset, or one twice")
    require(all(each["chain"] in chains for each in assets + lines), "a chain without a block")
    require(len(_places(body)) == len(lines), "an address is listed twice")


def _totals(lines: Sequence[Mapping[str, str]], width: int) -> list[int]:
    totals = [0] * width
    for line in lines:
        require(int(line["asset"]) < width, "an asset outside the list")
        sign = -1 if line.get("kind") in SHORT else 1
        totals[int(line["asset"])] += sign * int(line["amount"])
    require(len({(line["asset"], line.get("id")) for line in lines}) == len(lines), "a line twice")
    return totals


def _check_equations(body: Any) -> None:
    width, held = len(body["assets"]), [0] * len(body["assets"])
    for line in body["addresses"]:
        for asset, amount in enumerate(_totals(line["balances"], width)):
            held[asset] += amount
            at_home = body["assets"][asset]["chain"] == line["chain"]
            require(at_home or not amount, "a balance of another chain's asset")
    overdrawn, in_flight = (_totals(body[name], width) for name in ("overdrawn", "in_flight"))
    for i, line in enumerate(body["sheet"]):
        s = {name: int(word) for name, word in line.items()}
        parts = (CUSTODY, OWNED, OWED, EARNED, SPENT)
        custody, assets, liabilities, earned, spent = (sum(s[n] for n in part) for part in parts)
        for left, right, what in (
            (int(body["tree"]["sums"][i]), liabilities - s["unidentified"], "tree = customers"),
            (held[i], s["on_chain"], "addresses = on chain"),
            (s["on_chain"], custody + in_flight[i], "on chain = custody in the books + in flight"),
            (overdrawn[i], s["overdrawn"], "overdrawn customers = their line"),
            (s["assets"], assets, "assets = their lines"),
            (s["liabilities"], liabilities, "liabilities = their lines"),
            (s["net"], earned - spent, "equity = its lines"),
            (s["assets"] - s["liabilities"], s["net"], "assets − liabilities = equity"),
        ):
            require(left == right, f"asset {i}: {what}? {left} is not {right}")


def describe(report: Report) -> str:
    """Return what a report says, line by line."""
    body = report.body
    lines = [f"{body['entity']}, report {body['number']} of {body['date']}, hash {report.hash}"]
    lines += [f"root {body['tree']['root']} over {report.leaf_count} customers"]
    lines += [f"final block of {b['chain']}: {b['height']} {b['hash']}" for b in body["blocks"]]
    lines += [f"signed: {a['address']} {a['encumbrance']}".rstrip() for a in body["addresses"]]
    lines += [f"in flight: {' '.join(f[name] for name in sorted(f))}" for f in body["in_flight"]]
    for asset, sheet in zip(body["assets"], body["sheet"], strict=True):
        verdict = "SHORT" if sheet["net"].startswith("-") else "covered"
        lines += ["", f"{asset['symbol']} ({asset['key']} on {asset['chain']}): {verdict}"]
        shown = [(name, Decimal(f"{sheet[name]}e-{asset['scale']}")) for name in SHEET]
        lines += [f"  {name:20}{amount:>50f}" for name, amount in shown if amount]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Check the files named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(usage="verify.py REPORT [FILE ...] [--not-before YYYY-MM-DD]")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--not-before", default="0000-00-00")
    options = parser.parse_args(arguments)
    try:
        first, *others = [path.read_bytes() for path in options.files]
        report = check_report(first)
        require(report.body["date"] >= options.not_before, "the report is too old")
        lines = [describe(report)]
        for data in others:
            if b'"kind":"strongroom/reserves-proof/' in data:
                proof = check_proof(report, data)
                lines += [f"customer {proof['customer']}, included: {' '.join(proof['balances'])}"]
            else:
                lines += [check_other(report, check_report(data))]
    except OSError as error:
        parser.error(str(error))
    except Refuted as error:
        sys.stdout.write(f"REFUTED: {error}\n")
        return 8
    sys.stdout.write("\n".join(["VERIFIED", *lines, "", UNPROVABLE]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
