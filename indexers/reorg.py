"""Where our followed blocks and the node's chain part, and what to do about it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chains.base import BlockRef


class Reaction(enum.StrEnum):
    """What a follower does about a fork."""

    ROLL_BACK = "roll_back"
    FREEZE = "freeze"
    """The fork is below what we called final, or below what we still remember."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """A decided fork: keep blocks up to `fork`, drop `depth` above it."""

    reaction: Reaction
    fork: BlockRef | None
    depth: int


def fork_point(
    followed: Sequence[BlockRef], hash_on_node: Callable[[int], str | None]
) -> BlockRef | None:
    """Return the newest followed block that is still on the node's chain, None when none is.

    followed: newest first. Doubles its stride while blocks differ, then walks the last stride, so a
    shallow fork costs two questions and a deep one O(log depth + stride).
    """
    index, stride = 0, 1
    while index < len(followed) and not _same(followed[index], hash_on_node):
        index, stride = index + stride, stride * 2
    low = max(0, index - stride // 2)
    for candidate in followed[low : min(index, len(followed) - 1) + 1]:
        if _same(candidate, hash_on_node):
            return candidate
    return None


def plan_rollback(cursor: BlockRef, fork: BlockRef | None, *, final: BlockRef | None) -> Rollback:
    """Decide about a fork. final: the newest block that we treated as final."""
    if fork is None:
        return Rollback(Reaction.FREEZE, None, cursor.height)
    depth = cursor.height - fork.height
    if final is not None and fork.height < final.height:
        return Rollback(Reaction.FREEZE, fork, depth)
    return Rollback(Reaction.ROLL_BACK, fork, depth)


def _same(block: BlockRef, hash_on_node: Callable[[int], str | None]) -> bool:
    return hash_on_node(block.height) == block.hash
