"""Fixtures of the guard's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.entropy import SeededEntropy
from custody.keys.store import Shelf
from engine.simulated_files import SimulatedStorage
from tests.unit.custody.keys.guardroom import Guardroom, guardroom


def shelf_in_memory() -> Shelf:
    """Return an empty store on a simulated disk."""
    return Shelf(SimulatedStorage(SeededEntropy(1, "signer's disk")))


@pytest.fixture
def room() -> Guardroom:
    """Return a guardroom on a simulated disk."""
    return guardroom(shelf_in_memory())


@pytest.fixture
def other_room() -> Guardroom:
    """Return a second guard of the same keys and officers, which knows nothing of the first."""
    return guardroom(shelf_in_memory())


@pytest.fixture(params=("memory", "disk"))
def any_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guardroom]:
    """Return a guardroom, once on a simulated and once on a real disk."""
    shelf = shelf_in_memory() if request.param == "memory" else Shelf(tmp_path / "signer")
    yield guardroom(shelf)
    shelf.close()
