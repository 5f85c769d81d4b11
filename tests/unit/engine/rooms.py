"""A sequencer on a simulated disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.clock import ManualClock
from core.entropy import SeededEntropy
from engine.applied import AppliedBlock
from engine.commands import AddAsset, Command, Credit
from engine.journal import JournalReader
from engine.recovery import recover
from engine.simulated_files import SimulatedStorage
from tests.unit.engine.world import ALICE, BASE, QUOTE, market


def nothing() -> None:
    """Be a lease that is held."""


class Room:
    """A sequencer on a simulated disk."""

    def __init__(
        self, *, lag: int = 1_000, lease: Callable[[], None] = nothing, **more: Any
    ) -> None:
        self.storage = SimulatedStorage(SeededEntropy(1))
        self.clock = ManualClock()
        self.published: list[AppliedBlock] = []
        self.sequencer = recover(
            self.storage,
            epoch=1,
            clock=self.clock,
            lease=lease,
            lag_events_max=lag,
            publish=self.published.append,
            **more,
        )

    def open_market(self) -> None:
        """Add both assets and the market."""
        assets: list[Command] = [AddAsset(asset_no=BASE), AddAsset(asset_no=QUOTE)]
        self.sequencer.execute([*assets, market()])

    def journalled(self) -> int:
        """Return how many commands are in the journal."""
        return sum(block.count for block in JournalReader(self.storage).blocks_from(0))


def credit(number: int, amount: int = 5) -> Credit:
    """Return a credit of Alice's."""
    return Credit(number=number, customer_no=ALICE, asset_no=QUOTE, amount=amount)
