"""One short story, with a crash at every point of it in turn: each time it ends the same way."""

from __future__ import annotations

import pytest

from tests.simulation.script import Ending, tell

POINTS_MIN = 150
CHUNKS = 16
COIN_CHUNKS = range(0, CHUNKS, 8)
"""An eighth of the points with every test: the story over accounts is told for all of them."""
KINDS = {
    "commit.before", "commit.after", "sign.before", "sign.after", "broadcast.before",
    "broadcast.after", "sync.before", "sync.after",
}  # fmt: skip


def check(ending: Ending, *, coins: bool = False) -> None:
    """Everything was done exactly once."""
    counts = ending.counts
    assert counts["withdrawals confirmed"] == 2, "one by the chain, one to another customer"
    assert counts["withdrawals signed"] == 1
    assert counts["deposits credited"] == 2
    assert counts["sweeps"] == (1 if coins else 2), "coins are gathered together"
    assert counts["top-ups"] == (0 if coins else 1)


@pytest.fixture(scope="module")
def undisturbed() -> Ending:
    return tell(None)


def test_the_story_has_every_kind_of_point_and_ends_well_without_a_crash(
    undisturbed: Ending,
) -> None:
    assert undisturbed.points >= POINTS_MIN
    assert undisturbed.kinds >= KINDS
    check(undisturbed)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_crash_at_any_point_changes_nothing_about_the_end(
    chunk: int, undisturbed: Ending
) -> None:
    for at in range(1 + chunk, undisturbed.points + 1, CHUNKS):
        ending = tell(at)
        assert ending.died_at, f"point {at} was not reached"
        check(ending)


@pytest.fixture(scope="module")
def undisturbed_coins() -> Ending:
    return tell(None, coins=True)


@pytest.mark.parametrize("chunk", COIN_CHUNKS)
def test_a_crash_at_any_point_changes_nothing_where_coins_are_spent(
    chunk: int, undisturbed_coins: Ending
) -> None:
    check(undisturbed_coins, coins=True)
    assert undisturbed_coins.kinds >= KINDS
    for at in range(1 + chunk, undisturbed_coins.points + 1, CHUNKS):
        ending = tell(at, coins=True)
        assert ending.died_at, f"point {at} was not reached"
        check(ending, coins=True)
