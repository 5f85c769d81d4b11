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
    schemes, whole = {"eip191": eip191_signer, **(more_schemes or {})}, parse(data, REPORT)
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
