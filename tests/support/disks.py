"""The journal's disk, made full."""

from __future__ import annotations

import contextlib

from core.errors import Unavailable
from engine.commands import CancelAll
from engine.sequencer import Sequencer
from engine.simulated_files import SimulatedStorage


def fill_disk(storage: SimulatedStorage, sequencer: Sequencer) -> None:
    """Leave no room on the disk, and none in what the journal had made for itself before."""
    storage.capacity_bytes = 0
    with contextlib.suppress(Unavailable):
        while True:
            sequencer.execute([CancelAll(customer_no=1)])
