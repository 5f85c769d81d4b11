"""A copy of a book that missed, repeated, swapped or garbled anything says so, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bookclient import BookClient, BookMismatch, Mismatch
from engine.laboratory.weather import DeepQueues, FarPrices, Fine, Rough
from engine.levels import CHECKED_LEVELS, PriceLevel, checksum
from engine.marketfeed import BookDelta
from tests.unit.engine.books import ALL, Story, story

MARKET = 1
PLACES = st.integers(0, 10**9)


@dataclass(frozen=True)
class OldDepth:
    """A depth from the journal: nobody knows which update it belongs to."""

    sequence: int
    checksum: int
    bids: tuple[PriceLevel, ...]
    asks: tuple[PriceLevel, ...]
    update: int | None = None


TOLD: dict[str, Story] = {}


def told(weather: type[Rough]) -> Story:
    """Return a story, told once."""
    if weather.__name__ not in TOLD:
        TOLD[weather.__name__] = story(weather, seed=21, commands=700)
    return TOLD[weather.__name__]


def begun(weather: type[Rough], *, is_old: bool) -> tuple[BookClient, list[BookDelta]]:
    """Return a copy of the empty book, numbered or from the journal, and all deltas."""
    tale = told(weather)
    opened = tale.opened(MARKET)
    depth = tale.data.depth_at(MARKET, opened, ALL)
    assert depth is not None
    old = OldDepth(depth.sequence, depth.checksum, depth.bids, depth.asks)
    return BookClient(old if is_old else depth), tale.deltas(MARKET)


def read(copy: BookClient, deltas: list[BookDelta]) -> None:
    """Apply all."""
    for delta in deltas:
        copy.apply(delta)


def mismatch(copy: BookClient, delta: BookDelta) -> Mismatch | None:
    """Apply one; return what was wrong."""
    try:
        copy.apply(delta)
    except BookMismatch as error:
        return error.why
    return None


def dropped(deltas: list[BookDelta], at: int, _to: int) -> list[BookDelta]:
    """Lose one; the last would only be missed later."""
    at %= len(deltas) - 1
    return deltas[:at] + deltas[at + 1 :]


def repeated(deltas: list[BookDelta], at: int, to: int) -> list[BookDelta]:
    """Bring one again, at once or later."""
    at %= len(deltas)
    to = at + 1 + to % (len(deltas) - at)
    return [*deltas[:to], deltas[at], *deltas[to:]]


def moved(deltas: list[BookDelta], at: int, to: int) -> list[BookDelta]:
    """Bring one earlier than it is due."""
    at = 1 + at % (len(deltas) - 1)
    to %= at
    return [*deltas[:to], deltas[at], *deltas[to:at], *deltas[at + 1 :]]


@pytest.mark.parametrize("weather", [Fine, FarPrices, DeepQueues])
@pytest.mark.parametrize("is_old", [False, True])
def test_what_comes_whole_and_in_order_is_taken(weather: type[Rough], is_old: bool) -> None:
    copy, deltas = begun(weather, is_old=is_old)
    read(copy, deltas)
    tale = told(weather)
    assert (copy.bids(ALL), copy.asks(ALL)) == tale.book(MARKET, tale.engine.sequence)
    assert copy.update == deltas[-1].update


@pytest.mark.parametrize("how", [dropped, repeated, moved])
@given(at=PLACES, to=PLACES, is_old=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_delta_lost_repeated_or_out_of_order_is_always_found(
    how: Callable[[list[BookDelta], int, int], list[BookDelta]], at: int, to: int, is_old: bool
) -> None:
    copy, deltas = begun(Fine, is_old=is_old)
    with pytest.raises(BookMismatch) as raised:
        read(copy, how(deltas, at, to))
    assert raised.value.why in ({Mismatch.GAP} if how is not repeated else {Mismatch.STALE})


def test_every_single_delta_is_missed_even_by_a_copy_without_numbers() -> None:
    tale, deltas = told(Fine), begun(Fine, is_old=True)[1]
    for before, after in zip(deltas, deltas[2:], strict=False):
        depth = tale.data.depth_at(MARKET, before.sequence, ALL)
        assert depth is not None
        copy = BookClient(OldDepth(depth.sequence, depth.checksum, depth.bids, depth.asks))
        assert mismatch(copy, after) is Mismatch.GAP


@given(
    at=PLACES, which=PLACES, price=st.integers(-3, 3), lots=st.integers(-5, 5), is_bid=st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_no_change_of_one_level_ever_reaches_the_best_ten_unseen(
    at: int, which: int, price: int, lots: int, is_bid: bool
) -> None:
    copy, deltas = begun(FarPrices, is_old=False)
    deltas, at = list(deltas), at % len(deltas)
    levels = list(deltas[at].bids if is_bid else deltas[at].asks)
    if not levels:
        return
    old_price, old_lots = levels[which % len(levels)]
    levels[which % len(levels)] = (old_price + price, max(0, old_lots + lots))
    changed = {"bids" if is_bid else "asks": tuple(levels)}
    deltas[at] = replace(deltas[at], **changed)  # type: ignore[arg-type]
    for delta in deltas:
        if (why := mismatch(copy, delta)) is not None:
            assert why is Mismatch.CHECKSUM
            assert delta.sequence >= deltas[at].sequence
            return
        bids, asks = told(FarPrices).book(MARKET, delta.sequence)
        shown = copy.bids(CHECKED_LEVELS), copy.asks(CHECKED_LEVELS)
        assert shown == (bids[:CHECKED_LEVELS], asks[:CHECKED_LEVELS])


def test_every_changed_level_among_the_best_ten_is_found_at_once() -> None:
    tale, found = told(FarPrices), 0
    for market_no in tale.engine.markets():
        for sequence in range(tale.opened(market_no), tale.engine.sequence, 25):
            depth = tale.data.depth_at(market_no, sequence, ALL)
            assert depth is not None
            for side in ("bids", "asks"):
                levels = getattr(depth, side)
                for index, (price, lots) in enumerate(levels[:CHECKED_LEVELS]):
                    gone = () if lots == 1 else ((price, lots - 1),)
                    for other in (((price, lots + 1),), gone, ((price + (1 << 40), lots),)):
                        wrong = (*levels[:index], *other, *levels[index + 1 :])
                        with pytest.raises(BookMismatch, match="checksum"):
                            BookClient(replace(depth, **{side: wrong}))  # type: ignore[arg-type]
                        found += 1
    assert found > 500


def test_a_copy_of_the_upper_part_is_right_until_it_misses_a_level_and_then_says_so() -> None:
    tale = told(FarPrices)
    opened, deltas = tale.opened(MARKET), tale.deltas(MARKET)
    middle = deltas[len(deltas) // 2].sequence
    depth = tale.data.depth_at(MARKET, middle, CHECKED_LEVELS)
    assert depth is not None
    assert opened < middle
    copy, steps = BookClient(depth), 0
    for delta in deltas[len(deltas) // 2 + 1 :]:
        if (why := mismatch(copy, delta)) is not None:
            assert why is Mismatch.CHECKSUM
            break
        bids, asks = tale.book(MARKET, delta.sequence)
        assert copy.bids(CHECKED_LEVELS) == bids[:CHECKED_LEVELS]
        assert copy.asks(CHECKED_LEVELS) == asks[:CHECKED_LEVELS]
        steps += 1
    assert steps


def test_a_lost_copy_answers_nothing_until_it_begins_again() -> None:
    copy, deltas = begun(Fine, is_old=False)
    with pytest.raises(BookMismatch, match="gap"):
        copy.apply(deltas[1])
    for ask in (lambda: copy.bids(1), lambda: copy.asks(1), lambda: copy.apply(deltas[0])):
        with pytest.raises(BookMismatch, match="lost"):
            ask()
    tale = told(Fine)
    copy.begin(tale.data.depth(MARKET, ALL))
    assert copy.bids(ALL) == tale.book(MARKET, tale.engine.sequence)[0]
    assert copy.sequence == tale.engine.sequence


def test_the_checksum_is_the_one_that_is_written_down() -> None:
    assert checksum([(99, 5), (98, 7)], [(101, 3)]) == 0x82305214
    assert checksum([], []) == 0x8BB1D29A
    many = [(price, 1) for price in range(50, 10, -1)]
    assert checksum(many, []) == checksum(many[:10], []) != checksum(many[:9], [])
