"""What the signer's store knows without reading its file: where things are, and sums of 24 hours.

Rebuilt whenever the store is opened. Keys are 16 bytes of a hash, so that a million signatures fit
into memory; whoever follows one reads the entry itself and compares.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chains.base import SpendIntent, SpendKind
from core.ids import ChainId
from custody.keys.limits import SlidingWindow, Sums
from custody.keys.signing_record import BY_MANDATE, Record, nonce_of

_KEY_BYTES = 16


class _Counted(NamedTuple):
    group: str
    amount: int
    fee_max: int


class _Nonces:
    """How many nonces below one were signed for; they come almost in order."""

    __slots__ = ("_above", "_below")

    def __init__(self) -> None:
        self._below = 0
        self._above: set[int] = set()

    def add(self, nonce: int) -> None:
        if nonce < self._below:
            return
        self._above.add(nonce)
        while self._below in self._above:
            self._above.remove(self._below)
            self._below += 1

    def remove(self, nonce: int) -> None:
        if nonce < self._below:
            self._above.update(range(nonce + 1, self._below))
            self._below = nonce
        self._above.discard(nonce)

    def below(self, nonce: int) -> int:
        return min(nonce, self._below) + sum(self._below <= one < nonce for one in self._above)


class Index:
    """Positions by what they are asked for, and the windows."""

    def __init__(self) -> None:
        self._digests: dict[bytes, int] = {}
        self._claims: dict[bytes, tuple[int, ...]] = {}
        self._spends: dict[bytes, tuple[int, ...]] = {}
        self._withdrawals: dict[bytes, tuple[int, ...]] = {}
        self._nonces: dict[bytes, _Nonces] = defaultdict(_Nonces)
        self._windows: dict[tuple[str, ...], SlidingWindow] = defaultdict(SlidingWindow)

    def add(self, record: Record, position: int) -> None:
        """Take note of a record; they come in the order of their positions."""
        self._digests.setdefault(_key(record.chain, record.sender, record.digest.hex()), position)
        for claim in record.claims:
            _note(self._claims, _key(record.chain, claim), position)
            nonce = nonce_of(claim, record.sender)
            if nonce is not None:
                self._nonces[_key(record.chain, record.sender)].add(nonce)
        _note(self._spends, _key(record.spend_id), position)
        for cause in record.causes:
            _note(self._withdrawals, _key(cause), position)
        for window, part in self._windows_of(record):
            window.add(record.signed_at_ns, part.group, part.amount, part.fee_max)

    def remove(self, record: Record, position: int) -> None:
        """Forget the record that was added last."""
        key = _key(record.chain, record.sender, record.digest.hex())
        if self._digests[key] == position:
            del self._digests[key]
        for claim in record.claims:
            _forget(self._claims, _key(record.chain, claim), position)
            nonce = nonce_of(claim, record.sender)
            if nonce is not None and not self.claim(record.chain, claim):
                self._nonces[_key(record.chain, record.sender)].remove(nonce)
        _forget(self._spends, _key(record.spend_id), position)
        for cause in record.causes:
            _forget(self._withdrawals, _key(cause), position)
        for window, _ in self._windows_of(record):
            window.remove_last()

    def _windows_of(self, record: Record) -> Iterator[tuple[SlidingWindow, _Counted]]:
        """Yield every window a record counts in, with what counts there: a batch by its parts."""
        if record.kind != SpendKind.BATCH:  # by far the most: their intents need not be read
            by_mandate = record.authority == BY_MANDATE
            parts = [(_Counted(record.group, record.amount, record.fee_max), by_mandate)]
            kind = record.kind
        else:
            kind = SpendKind.WITHDRAWAL.value
            parts = [
                (_Counted(one.group, one.spend.amount, one.spend.fee_max), one.by_mandate)
                for one in record.parts
            ]
        for counted, by_mandate in parts:
            yield self._windows["limit", record.chain, record.asset_key], counted
            if by_mandate:
                yield self._windows["mandate", record.chain, kind, record.asset_key], counted
                yield self._windows["mandate fees", record.chain, kind], counted

    def digest(self, chain: ChainId, sender: str, digest: bytes) -> int | None:
        """Return the position of a digest, None when it was never signed."""
        return self._digests.get(_key(chain, sender, digest.hex()))

    def claim(self, chain: ChainId, claim: str) -> Sequence[int]:
        """Return the positions of all that hold a claim, oldest first."""
        return self._claims.get(_key(chain, claim), ())

    def spend(self, spend_id: str) -> Sequence[int]:
        """Return the positions of all that was signed for a spend, oldest first."""
        return self._spends.get(_key(spend_id), ())

    def withdrawal(self, withdrawal_id: str) -> Sequence[int]:
        """Return the positions of all that was signed for what was approved, oldest first."""
        return self._withdrawals.get(_key(withdrawal_id), ())

    def nonces_below(self, chain: ChainId, sender: str, nonce: int) -> int:
        """Return how many nonces of a sender below one were ever signed for."""
        known = self._nonces.get(_key(chain, sender))
        return 0 if known is None else known.below(nonce)

    def spent(self, spend: SpendIntent, group: str, now_ns: int) -> tuple[Sums, Sums]:
        """Return what others, and what a spend's group, took of its asset in 24 hours."""
        window = self._windows["limit", spend.chain, spend.asset_key]
        return window.others(now_ns, group), window.of(now_ns, group)

    def usage(self, spend: SpendIntent, group: str, now_ns: int) -> tuple[Sums, Sums]:
        """Return what others, and what a spend's group, took under mandates in 24 hours.

        Of this kind and chain, and the amounts of this asset.
        """
        asset = self._windows["mandate", spend.chain, spend.kind.value, spend.asset_key]
        fees = self._windows["mandate fees", spend.chain, spend.kind.value]
        return (
            Sums(asset.others(now_ns, group).amount, fees.others(now_ns, group).fees),
            Sums(asset.of(now_ns, group).amount, fees.of(now_ns, group).fees),
        )


def _key(*parts: str) -> bytes:
    # All of it is printable, so a line end keeps the parts apart.
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=_KEY_BYTES).digest()


def _note(positions: dict[bytes, tuple[int, ...]], key: bytes, position: int) -> None:
    positions[key] = (*positions.get(key, ()), position)


def _forget(positions: dict[bytes, tuple[int, ...]], key: bytes, position: int) -> None:
    *before, last = positions[key]
    assert last == position, "not what was added last"
    if before:
        positions[key] = tuple(before)
    else:
        del positions[key]
