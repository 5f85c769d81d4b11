"""What the API is handed: the platform, the engine and a few plain values. Made once at start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from prometheus_client import CollectorRegistry

from app.bootstrap import Platform
from core.errors import Corrupt
from custody.keys.passkey_registration import RelyingParty
from engine.marketdata import MarketData
from engine.sequencer import Sequencer

Check = Callable[[], str | None]
"""A readiness check: None when all is well, else what is wrong in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """Everything the API needs. It reads no setting and no environment itself."""

    platform: Platform
    sequencer: Sequencer
    """Its writer thread runs (`start`) while the API answers."""
    market_data: MarketData
    """The one that was handed to the sequencer as `begin` and `publish`."""
    on_corrupt: Callable[[Corrupt], None]
    """Told when a request met contradicting records: the process must stop. Called in a thread."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """Served at /metrics; the API adds its own counters."""
    checks: Mapping[str, Check] = field(default_factory=lambda: MappingProxyType({}))
    """More readiness checks by name (other processes' heartbeats); those of database, engine and
    chains are the API's own."""
    reports_folder: Path | None = None
    """Where `custody.reserves.publish` writes reports; None: no report is served."""
    leaves_folder: Path | None = None
    """Private files of leaves, named like the reports; customers' own proofs come from them."""
    passkeys: RelyingParty = field(default_factory=RelyingParty)
    """For whom officers make passkeys."""
    body_bytes_max: int = 1 << 16
    requests_per_s: int = 500
    """What one API key may ask for in the long run."""
    requests_burst: int = 1_000
    """What it may ask for at once."""
    outcome_wait_ms: int = 2_000
    """How long a request waits for the engine's or the books' answer before it says 202 or 503."""
