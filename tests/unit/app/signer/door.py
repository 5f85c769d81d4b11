"""A running server over a stand-in, and what it met."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from app.signer_client import SignerClient, Waits
from app.signer_lanes import SigningLanes
from app.signer_server import DoorRules, SignerServer
from core.clock import ManualClock
from core.errors import Corrupt
from tests.unit.app.signer.stand_in import StandIn

OWN = DoorRules(uids=frozenset({os.geteuid()}), frame_ms=500)
QUICK = Waits(connect_ms=2_000, answer_ms=2_000, frame_ms=500, rest_ms=300)


@dataclass
class Door:
    """A running server over a stand-in, and what it met."""

    path: Path
    service: StandIn
    server: SignerServer
    lanes: SigningLanes
    clock: ManualClock
    registry: CollectorRegistry
    corrupt: list[Corrupt]
    clients: list[SignerClient] = field(default_factory=list)

    def client(self, waits: Waits = QUICK) -> SignerClient:
        """Return a client that is closed with the door."""
        self.clients.append(SignerClient(self.path, waits=waits))
        return self.clients[-1]

    def close(self) -> None:
        self.lanes.stop()
        assert self.server.stop()
        for client in self.clients:
            client.close()


Open = Callable[..., Door]
