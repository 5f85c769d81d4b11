"""Reports as frozen bytes: what is published, the chain they form, and each customer's proof.

    {"body": …, "control": [proof of each address of the body], "hash": …}

Canonical JSON: ASCII, sorted keys, no spaces, one newline at the end, every number a decimal
string, so that equal reports are equal bytes and none is slack. The addresses sign the body by its
commitment; the hash covers body and signatures; the next report names that hash. verify.py holds
the shape of each file and is run over everything that is sealed here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.reserves import verify
from custody.reserves.merkle_sum import Leaf, Tree

PROOF_KIND = "strongroom/reserves-proof/1"
LEAVES_KIND = "strongroom/reserves-leaves/1"
_LEAVES = {
    "kind": LEAVES_KIND,
    "report": verify.HASH,
    "leaves": [{"customer": verify.COUNT, "salt": verify.HASH, "balances": [verify.NUMBER]}],
}
_FILE_NAME = re.compile(r"[0-9]{10}\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Link:
    """Where the chain of reports ends."""

    number: int
    hash: str


NO_REPORT = Link(0, "0" * 64)


@dataclass(frozen=True, slots=True)
class Draft:
    """A planned report, fixed to the byte; only the signatures of its addresses are missing."""

    body: bytes
    tree: Tree

    @property
    def commitment(self) -> bytes:
        """Return the 32 bytes that every challenge names."""
        return hashlib.sha256(self.body).digest()

    def read(self) -> dict[str, Any]:
        """Return a fresh copy of the body."""
        body: dict[str, Any] = json.loads(self.body)
        return body


@dataclass(frozen=True, slots=True)
class Sealed:
    """A report that verifies, as it is published."""

    link: Link
    root: str
    data: bytes


def seal(
    draft: Draft,
    proofs: Sequence[bytes],
    *,
    more_schemes: Mapping[str, verify.Scheme] | None = None,
) -> Sealed:
    """Join a draft and its addresses' proofs, and verify the whole as a stranger would.

    Corrupt when it does not verify: nothing of ours is published that others would refute.
    """
    whole = {"body": draft.read(), "control": [proof.hex() for proof in proofs]}
    digest = hashlib.sha256(verify.canonical(whole)).hexdigest()
    data = verify.canonical({**whole, "hash": digest})
    report = _checked(data, more_schemes)
    if report.context != draft.tree.commitment.context:
        raise Corrupt("the tree was built for another snapshot")
    root = report.body["tree"]["root"]
    assert root == draft.tree.commitment.root.hex(), "two implementations of the tree agree"
    return Sealed(Link(int(report.body["number"]), digest), root, data)


def proof_file(sealed: Sealed, tree: Tree, customer_no: int) -> bytes:
    """Return a customer's inclusion proof. Refused: unknown_customer (nothing owed at the cut)."""
    proof = tree.proof(customer_no)
    return verify.canonical(
        {
            "kind": PROOF_KIND,
            "report": sealed.link.hash,
            "customer": str(customer_no),
            "salt": proof.leaf.salt.hex(),
            "balances": [str(balance) for balance in proof.leaf.balances],
            "index": str(proof.index),
            "path": [
                {"hash": node.hash.hex(), "sums": [str(each) for each in node.sums]}
                for node in proof.path
            ],
        }
    )


def leaves_file(sealed: Sealed, tree: Tree) -> bytes:
    """Return every leaf, for the auditor and for proofs asked for later; never for the public."""
    leaves = [
        {
            "customer": str(leaf.customer_no),
            "salt": leaf.salt.hex(),
            "balances": [str(balance) for balance in leaf.balances],
        }
        for leaf in tree.leaves
    ]
    return verify.canonical({"kind": LEAVES_KIND, "report": sealed.link.hash, "leaves": leaves})


def read_sealed(data: bytes, *, more_schemes: Mapping[str, verify.Scheme] | None = None) -> Sealed:
    """Return a stored report after verifying it. Corrupt when a byte of it changed."""
    report = _checked(data, more_schemes)
    link = Link(int(report.body["number"]), report.hash)
    return Sealed(link, report.body["tree"]["root"], data)


def read_leaves(sealed: Sealed, data: bytes) -> Tree:
    """Rebuild a report's tree from its leaves: what an auditor does with every balance at hand.

    Corrupt when they are another report's, one is missing, changed or there twice.
    """
    try:
        stored = verify.parse(data, _LEAVES)
    except verify.Refuted as error:
        raise Corrupt(f"a file of leaves: {error}") from error
    if stored["report"] != sealed.link.hash:
        raise Corrupt("the leaves belong to another report")
    body = json.loads(sealed.data)["body"]
    leaves = [
        Leaf(int(each["customer"]), bytes.fromhex(each["salt"]), tuple(map(int, each["balances"])))
        for each in stored["leaves"]
    ]
    tree = Tree.build(verify.context_of(body), len(body["assets"]), leaves)
    if tree.commitment.root.hex() != sealed.root:
        raise Corrupt("the leaves do not build the root that was published")
    return tree


def write(folder: Path, sealed: Sealed) -> Path:
    """Publish a report in a folder, durable before its name is there; again is no change.

    Refused: exists_with_other_content (that number is taken), illegal_transition (not the next).
    Unavailable when the disk does not take it.
    """
    path = folder / f"{sealed.link.number:010d}.json"
    if path.exists():
        if path.read_bytes() != sealed.data:
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"report {sealed.link.number}")
        return path
    previous = json.loads(sealed.data)["body"]["previous"]
    if Link(sealed.link.number - 1, previous) != last(folder):
        raise Refused(Reason.ILLEGAL_TRANSITION, "a report follows the last one published")
    beside = path.with_suffix(".partial")
    try:
        with beside.open("wb") as file:
            file.write(sealed.data)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"a report could not be written: {error.strerror}") from error
    return path


def last(folder: Path) -> Link:
    """Return the end of a folder's chain. Corrupt when a report is missing or the links do not fit.

    Each report's own hash and its link are recomputed; signatures are left to read_sealed.
    """
    link = NO_REPORT
    for path in sorted(each for each in folder.iterdir() if _FILE_NAME.fullmatch(each.name)):
        try:
            whole = verify.parse(path.read_bytes(), verify.REPORT)
        except verify.Refuted as error:
            raise Corrupt(f"{path.name}: {error}") from error
        digest, body = whole.pop("hash"), whole["body"]
        if hashlib.sha256(verify.canonical(whole)).hexdigest() != digest:
            raise Corrupt(f"{path.name} is not what its hash says")
        if (int(body["number"]), body["previous"]) != (link.number + 1, link.hash):
            raise Corrupt(f"{path.name} does not follow report {link.number}")
        link = Link(link.number + 1, digest)
    return link


def _checked(data: bytes, more_schemes: Mapping[str, verify.Scheme] | None) -> verify.Report:
    try:
        return verify.check_report(data, more_schemes)
    except verify.Refuted as error:
        raise Corrupt(f"our own report does not verify: {error}") from error
