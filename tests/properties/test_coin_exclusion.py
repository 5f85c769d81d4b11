"""I7 on coins: whatever is asked in whatever order, what was signed excludes each other rightly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from btclib.tx import tx as library
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.bitcoin.params import COIN
from core.errors import Refused
from custody.keys.signers import KeyRef
from tests.support.bitcoin import (
    CHANGE,
    STRANGER,
    address_of,
    coin_of,
    draft_of,
    funding,
    intent_of,
)
from tests.unit.custody.keys.coinroom import Asked, Coinroom

KEYS = tuple(KeyRef("hot", number) for number in range(6))
COINS = tuple(coin_of(funding(address_of(key), 5 * COIN)) for key in KEYS)
PAID = 4 * COIN


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to pay a withdrawal: under which name, with which coins, at which fee."""

    withdrawal: int
    spend: int
    coins: frozenset[int]
    fee: int
    is_cancelling: bool


attempts = st.builds(
    Attempt,
    withdrawal=st.integers(0, 2),
    spend=st.integers(0, 1),
    coins=st.frozensets(st.integers(0, len(COINS) - 1), min_size=1, max_size=3),
    fee=st.integers(1, 14).map(lambda number: number * 2_000),
    is_cancelling=st.integers(0, 5).map(lambda number: number == 5),
)


def sign(room: Coinroom, attempt: Attempt) -> bytes:
    """Ask for an attempt; return the transaction. Refused: whatever the guard says."""
    numbers = sorted(attempt.coins)
    coins, keys = [COINS[n] for n in numbers], tuple(KEYS[n] for n in numbers)
    held = 5 * COIN * len(coins) - attempt.fee
    if attempt.is_cancelling:
        draft = draft_of(coins, (address_of(KEYS[0]), held))
        return room.joined(room.cancellation(draft, _spend(attempt), keys)).raw
    draft = draft_of(coins, (STRANGER, PAID), (address_of(CHANGE), held - PAID))
    intent = intent_of(
        STRANGER, PAID, spend_id=_spend(attempt), cause_id=f"withdrawal-{attempt.withdrawal}"
    )
    return room.sign(Asked(draft, intent, input_keys=keys))


def _spend(attempt: Attempt) -> str:
    return f"spend-{attempt.withdrawal}-{attempt.spend}"


def coins_of(raw: bytes) -> frozenset[tuple[str, int]]:
    """Return the coins that a transaction spends, as another library reads it."""
    spent = (one.prev_out for one in library.Tx.parse(raw).vin)
    return frozenset((one.tx_id.hex(), one.vout) for one in spent)


@settings(max_examples=60)
@given(st.lists(attempts, min_size=2, max_size=14))
def test_all_that_is_signed_excludes_each_other_as_it_must(asked: list[Attempt]) -> None:
    room = Coinroom()
    paid: list[tuple[Attempt, frozenset[tuple[str, int]]]] = []
    cancelled: list[tuple[Attempt, frozenset[tuple[str, int]]]] = []
    for attempt in asked:
        try:
            raw = sign(room, attempt)
        except Refused:
            continue
        (cancelled if attempt.is_cancelling else paid).append((attempt, coins_of(raw)))
    for (first, mine), (second, theirs) in combinations(paid, 2):
        if first.withdrawal == second.withdrawal:
            assert mine & theirs, "both could land: paid twice"
        else:
            assert not mine & theirs, "two withdrawals depend on one coin"
    for (one, mine), (other, theirs) in combinations([*paid, *cancelled], 2):
        if _spend(one) != _spend(other) and one.withdrawal != other.withdrawal:
            assert not mine & theirs
    assert room.findings() == []
