"""Where two branches part, decided without any I/O."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chains.base import BlockRef
from indexers.reorg import Reaction, fork_point, plan_rollback


def chain(length: int, *, fork: int) -> list[BlockRef]:
    """Return followed blocks, newest first; those above `fork` are on a branch of our own."""
    return [
        BlockRef(height, f"{'ours' if height > fork else 'both'}{height}")
        for height in range(length, -1, -1)
    ]


@given(length=st.integers(0, 300), data=st.data())
def test_the_fork_is_the_newest_common_block(length: int, data: st.DataObject) -> None:
    fork = data.draw(st.integers(-1, length))
    asked: list[int] = []

    def on_node(height: int) -> str:
        asked.append(height)
        return f"both{height}"

    found = fork_point(chain(length, fork=fork), on_node)
    assert found == (BlockRef(fork, f"both{fork}") if fork >= 0 else None)


def test_a_shallow_fork_costs_few_questions() -> None:
    asked: list[int] = []

    def on_node(height: int) -> str:
        asked.append(height)
        return f"both{height}"

    fork_point(chain(1_000, fork=998), on_node)
    assert len(asked) <= 6


def test_a_fork_above_the_final_block_is_rolled_back() -> None:
    tip, fork = BlockRef(10, "ours10"), BlockRef(8, "both8")
    decided = plan_rollback(tip, fork, final=BlockRef(8, "both8"))
    assert (decided.reaction, decided.depth) == (Reaction.ROLL_BACK, 2)


def test_a_fork_below_the_final_block_freezes() -> None:
    decided = plan_rollback(
        BlockRef(10, "ours10"), BlockRef(8, "both8"), final=BlockRef(9, "ours9")
    )
    assert decided.reaction is Reaction.FREEZE


def test_no_common_block_freezes() -> None:
    assert plan_rollback(BlockRef(10, "x"), None, final=None).reaction is Reaction.FREEZE
