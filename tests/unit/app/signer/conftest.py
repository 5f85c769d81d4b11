"""A door of the signer over a stand-in, opened for a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.signer_clerk import Clerk, SignerMetrics
from app.signer_lanes import SigningLanes
from app.signer_server import DoorRules, SignerServer
from core.clock import ManualClock
from core.errors import Corrupt
from tests.unit.app.signer.door import OWN, Door, Open
from tests.unit.app.signer.stand_in import ALPHA, BETA, StandIn


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[Open]:
    """Open doors that are closed again when the test ends."""
    with contextlib.ExitStack() as stack:

        def opening(
            service: StandIn | None = None, *, rules: DoorRules = OWN, name: str = "sock"
        ) -> Door:
            corrupt: list[Corrupt] = []
            service, clock = service or StandIn(), ManualClock()
            registry = CollectorRegistry()
            lanes = SigningLanes(service, [ALPHA, BETA], waiting_max=64)
            clerk = Clerk(service, lanes, clock, SignerMetrics(registry), corrupt.append)
            server = SignerServer(tmp_path / name, clerk.answer, rules=rules)
            lanes.start()
            server.start()
            door = Door(tmp_path / name, service, server, lanes, clock, registry, corrupt)
            stack.callback(door.close)
            return door

        yield opening


@pytest.fixture
def door(open_door: Open) -> Door:
    return open_door()
