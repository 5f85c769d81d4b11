"""Blocks as nodes tell them: headers that link, skipped slots, and what a block holds.

A slot without a block is a block without contents, whose hash derives from its parent's and its
slot. A node says the same of a slot that was skipped and of a block that it has lost: only the next
block, which names its parent, tells them apart.

Nothing in an answer proves a block's contents against its hash, so nodes must agree on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from chains.solana.accounts import MalformedAnswer, blob, fields, items, number
from chains.solana.address import decode58, encode58
from chains.solana.wire import VERSION_NEWEST, WireTx, read_transaction
from core.errors import Unavailable

TXS_MAX = 100_000
"""Transactions of one block; real ones hold a few thousand."""
SKIPPED_MAX = 1 << 16
"""Slots skipped in a row, seven hours: more is no network that goes on."""
_SKIPPED = b"strongroom: no block in slot"


class IncompleteBlock(Unavailable):
    """A node's answer contradicts itself: never read as 'no payments'."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"incomplete_block: {detail}")


@dataclass(frozen=True, slots=True)
class Header:
    """A slot of the chain with the hashes of its block and of the slot before."""

    slot: int
    hash: str
    parent_hash: str
    time_s: int = field(compare=False)
    is_skipped: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a node tells of a block that is there."""

    slot: int
    hash: bytes
    parent_slot: int
    parent_hash: bytes
    time_s: int

    def header(self) -> Header:
        """Return it as a link of our chain of slots."""
        parent = self._hash_of(self.slot - 1)
        return Header(self.slot, encode58(self.hash), parent, self.time_s, is_skipped=False)

    def skipped(self, slot: int) -> Header:
        """Return a slot between it and its parent, which has no block."""
        if not self.parent_slot < slot < self.slot:
            raise ValueError("not between a block and its parent")
        ours, parent = self._hash_of(slot), self._hash_of(slot - 1)
        return Header(slot, ours, parent, self.time_s, is_skipped=True)

    def _hash_of(self, slot: int) -> str:
        """Return the hash of a slot below: its parent's, carried over the slots in between."""
        found = self.parent_hash
        for between in range(self.parent_slot + 1, slot + 1):
            found = hashlib.sha256(_SKIPPED + found + between.to_bytes(8, "big")).digest()
        return encode58(found)


def read_told(slot: int, answer: object) -> Told:
    """Read the header of a block. Unavailable: malformed, or it cannot be the block of a slot."""
    page = fields(answer, "block")
    hashes = [decode58(page.get(name), 32) for name in ("blockhash", "previousBlockhash")]
    own, parent = hashes
    if own is None or parent is None or own == parent:
        raise MalformedAnswer("malformed_answer: the hash of a block")
    parent_slot = number(page.get("parentSlot"), "parentSlot")
    if not slot - SKIPPED_MAX < parent_slot < slot:
        raise IncompleteBlock(f"the parent of slot {slot} would be {parent_slot}")
    return Told(slot, own, parent_slot, parent, number(page.get("blockTime"), "blockTime"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction of a block and what the node says it did."""

    wire: WireTx
    raw: bytes
    meta: Mapping[str, object]
    failed: bool

    @property
    def loaded(self) -> tuple[str, ...]:
        """Return the keys that lookup tables gave: writable ones, then others."""
        if not any(self.wire.looked_up):
            return ()
        page = fields(self.meta.get("loadedAddresses"), "loadedAddresses")
        found: list[str] = []
        for name, count in zip(("writable", "readonly"), self.wire.looked_up, strict=True):
            part = items(page.get(name), name, most=256)
            if len(part) != count or not all(isinstance(one, str) for one in part):
                raise IncompleteBlock(f"{count} {name} keys of lookup tables were announced")
            found += map(str, part)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Contents:
    """What one node says that a block holds. Equal ones say the same of everything we use."""

    slot: int
    hash: str
    entries: tuple[Entry, ...] = field(repr=False, compare=False)
    fingerprint: bytes


_EFFECTS = (
    "preBalances", "postBalances", "preTokenBalances", "postTokenBalances", "innerInstructions",
    "loadedAddresses",
)  # fmt: skip


def read_contents(slot: int, answer: object) -> Contents:
    """Read a whole block. Unavailable: malformed, or a transaction that cannot be read."""
    told = read_told(slot, answer)
    page = fields(answer, "block")
    found = items(page.get("transactions"), "transactions", most=TXS_MAX)
    entries = tuple(map(_entry, found))
    digest = hashlib.sha256()
    for entry in entries:
        effects = {name: entry.meta.get(name) for name in _EFFECTS}
        digest.update(hashlib.sha256(entry.raw).digest() + bytes((entry.failed,)))
        digest.update(hashlib.sha256(msgspec.json.encode(_without_decimals(effects))).digest())
    return Contents(slot, encode58(told.hash), entries, digest.digest())


def _entry(answer: object) -> Entry:
    page = fields(answer, "transaction")
    raw, meta = blob(page.get("transaction"), "transaction"), fields(page.get("meta"), "meta")
    wire = read_transaction(raw)
    if page.get("version") != wire.version:
        raise IncompleteBlock(f"version {page.get('version')} of a transaction of {wire.version}")
    if "err" not in meta:
        raise MalformedAnswer("malformed_answer: a transaction without its outcome")
    return Entry(wire, raw, meta, failed=meta["err"] is not None)


def _without_decimals(effects: dict[str, object]) -> dict[str, object]:
    """Return effects without the amounts as floating numbers, which nodes round as they like."""
    for name in ("preTokenBalances", "postTokenBalances"):
        balances = effects[name]
        if isinstance(balances, list):
            effects[name] = [
                [each.get(part) for part in ("accountIndex", "mint", "owner", "programId")]
                + [fields(each.get("uiTokenAmount"), "amount").get("amount")]
                for each in (fields(one, "token balance") for one in balances)
            ]
    return effects


assert VERSION_NEWEST == 1, "read_transaction reads what is asked for"
