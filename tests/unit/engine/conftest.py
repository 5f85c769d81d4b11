"""The facts about orders and money hold for every engine."""

from __future__ import annotations

import pytest

from engine.factory import EngineKind
from tests.unit.engine.world import World


@pytest.fixture(params=[EngineKind.REFERENCE, EngineKind.NATIVE])
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test once with worlds of each kind of engine."""
    monkeypatch.setattr(World, "kind", request.param)
