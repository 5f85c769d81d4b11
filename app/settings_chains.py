"""What is set per chain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core.ids import ChainId


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """See sweeper.policy.SweepRules. Amounts are native minor units."""

    cost_multiple: int = 5
    fee_max: int = 10**16
    top_up_max: int = 2 * 10**16
    top_up_percent: int = 120
    rate_max: int = 200 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class PatienceSettings:
    """See custody.spending.drive.Patience."""

    resend_after_ms: int = 15_000
    bump_after_ms: int = 120_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """One chain; its name is the table's. Rates and fees are native minor units."""

    kind: str
    node_urls: tuple[str, ...] = ()
    node_urls_file: Path | None = None
    """One URL per line, for URLs that carry an access key; instead of node_urls."""
    quorum: int = 1
    chain_number: int
    genesis_hash: str
    fee_floor: int
    fee_cap: int
    tip: int
    units_cap: int = 500_000
    batch_max: int = 0
    """Most withdrawals of one asset that go into one transaction; 0 or 1: each has its own.

    Where accounts run code for it, the hot wallet has to be delegated to a contract of the roster.
    """
    confirmations: int = 6
    """Blocks, its own included, that make one final where no rule of the chain says it."""
    bands: tuple[str, ...] = ()
    """Larger payments wait longer: "amount:confirmations" in minor units, rising."""
    purpose: int = 0
    """First step of the keys' paths, on chains with several kinds of own addresses; 0: the usual
    one. It is chosen once: another one means other addresses."""
    tickets: tuple[str, ...] = ()
    """Accounts that hold the one-time values of our own senders, where the chain has such."""
    reorg_limit: int = 128
    timeout_ms: int = 10_000
    start_height: int | None = None
    """First block to follow on an empty database; None: the final one at the first start."""
    network_fee_max: int
    """Most that the platform pays the chain for one withdrawal."""
    approval_expiry_s: int = 24 * 3600
    sweeps: SweepSettings = SweepSettings()
    patience: PatienceSettings = PatienceSettings()


def problems_of_chain(name: ChainId, chain: ChainSettings) -> list[str]:
    """Return what is wrong with a chain's settings."""
    problems = []
    if bool(chain.node_urls) == (chain.node_urls_file is not None):
        problems.append(f"chains.{name}: either node_urls or node_urls_file")
    problems += [
        f"chains.{name}.node_urls: a URL with a password stands in node_urls_file"
        for url in chain.node_urls
        if urlsplit(url).password is not None
    ]
    return problems
