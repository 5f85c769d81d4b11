"""Where the engine lives: recovery, what it must be told of what is listed, and its snapshots."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.bootstrap import Platform
from core.clock import Clock
from core.errors import Corrupt
from custody import catalogue, settlement
from custody.catalogue import MarketRow
from custody.lease import Lease
from engine.base import Engine
from engine.factory import EngineKind, engine_factory
from engine.files import Storage
from engine.journal_writer import SEGMENT_BYTES_MAX
from engine.market import Market, market_of
from engine.recovery import recover
from engine.retention import kept_from, prune_journal
from engine.sequencer import BATCH_MAX, LAG_EVENTS_MAX, LINGER_NS, QUEUE_MAX, Sequencer
from engine.snapshot import prune_snapshots
from engine.types import (
    AddAsset,
    AddMarket,
    AppliedBlock,
    Command,
    ConfigRefused,
    RetireMarket,
    SetMarketCollar,
    SetMarketFees,
)

CONFIGURE_BATCH_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKnobs:
    """How the engine process works: its speed and its memory, never what comes of a command."""

    kind: EngineKind = EngineKind.AUTO
    reserve_orders: int = 0
    lag_events_max: int = LAG_EVENTS_MAX
    batch_max: int = BATCH_MAX
    queue_max: int = QUEUE_MAX
    linger_ns: int = LINGER_NS
    segment_bytes_max: int = SEGMENT_BYTES_MAX


def open_engine(
    platform: Platform,
    storage: Storage,
    *,
    lease: Lease,
    knobs: EngineKnobs | None = None,
    begin: Callable[[Engine], None] | None = None,
    publish: Callable[[AppliedBlock], None] | None = None,
) -> Sequencer:
    """Recover the engine behind a lease and tell it what is listed; its thread is not started.

    `begin` sees the recovered engine before `publish` sees its first new block. Corrupt: journal
    and books contradict each other, or a listed market is another one in the journal.
    """
    knobs = knobs or EngineKnobs()
    with platform.db.read() as conn:
        projected = settlement.position(conn)
    sequencer = recover(
        storage,
        epoch=lease.epoch,
        clock=platform.clock,
        lease=lease.check,
        projected=projected,
        factory=engine_factory(knobs.kind, reserve_orders=knobs.reserve_orders),
        lag_events_max=knobs.lag_events_max,
        batch_max=knobs.batch_max,
        queue_max=knobs.queue_max,
        linger_ns=knobs.linger_ns,
        segment_bytes_max=knobs.segment_bytes_max,
        publish=publish,
    )
    if begin is not None:
        with sequencer.reading() as engine:
            begin(engine)
    configure(platform, sequencer)
    return sequencer


def configure(platform: Platform, sequencer: Sequencer) -> int:
    """Submit the difference between what is listed and what the engine knows; return its size."""
    with platform.db.read() as conn:
        assets = [asset.asset_no for asset in catalogue.all_assets(conn)]
        markets = catalogue.all_markets(conn)
    with sequencer.reading() as engine:
        commands = plan_listing(assets, markets, engine.assets(), engine.markets())
    for start in range(0, len(commands), CONFIGURE_BATCH_MAX):
        answers = sequencer.execute(commands[start : start + CONFIGURE_BATCH_MAX])
        for event in itertools.chain.from_iterable(answers):
            if isinstance(event, ConfigRefused):
                raise Corrupt(f"the engine refuses what is listed: {event}")
    return len(commands)


def plan_listing(
    assets: Sequence[int],
    markets: Sequence[MarketRow],
    known_assets: Sequence[int],
    known_markets: Mapping[int, Market],
) -> list[Command]:
    """Return the commands that bring an engine from what it knows to what is listed."""
    commands: list[Command] = [
        AddAsset(asset_no=asset_no) for asset_no in assets if asset_no not in known_assets
    ]
    for row in markets:
        commands += _plan_market(row, known_markets.get(row.market_no))
    return commands


def _plan_market(row: MarketRow, known: Market | None) -> Iterator[Command]:
    if known is None:
        added = AddMarket(
            market_no=row.market_no,
            base_asset_no=row.base_asset_no,
            quote_asset_no=row.quote_asset_no,
            tick_minor=row.tick_minor,
            lot_minor=row.lot_minor,
            maker_ppm=row.maker_ppm,
            taker_ppm=row.taker_ppm,
        )
        yield added
        known = market_of(added)
    units = (known.base_asset_no, known.quote_asset_no, known.tick_minor, known.lot_minor)
    is_other = units != (row.base_asset_no, row.quote_asset_no, row.tick_minor, row.lot_minor)
    if is_other or (known.is_retired and not row.retired):
        raise Corrupt(f"market {row.name} is {known} in the journal and {row} in the books")
    if known.is_retired:
        return
    if row.retired:
        yield RetireMarket(market_no=row.market_no)
        return
    if (known.maker_ppm, known.taker_ppm) != (row.maker_ppm, row.taker_ppm):
        yield SetMarketFees(
            market_no=row.market_no, maker_ppm=row.maker_ppm, taker_ppm=row.taker_ppm
        )
    if known.collar_ppm != row.collar_ppm:
        yield SetMarketCollar(market_no=row.market_no, collar_ppm=row.collar_ppm)


class SnapshotKeeper:
    """Decides when a snapshot is due, and lets go of those nobody can need."""

    def __init__(
        self,
        sequencer: Sequencer,
        storage: Storage,
        *,
        clock: Clock,
        every_commands: int,
        every_ns: int,
        prunes_journal: bool = False,
        archive: Storage | None = None,
        keep_beside: Callable[[], None] | None = None,
    ) -> None:
        """Keep snapshots; `keep_beside` writes what must not stand before the newest one.

        With `prunes_journal` what no book and no backup needs of the journal goes too: to the
        `archive`, or for good.
        """
        self._keep_beside = keep_beside
        self._sequencer = sequencer
        self._storage = storage
        self._clock = clock
        self._every_commands = every_commands
        self._every_ns = every_ns
        self._prunes_journal = prunes_journal
        self._archive = archive
        self._last_sequence = sequencer.log.projected_sequence
        self._last_ns = clock.monotonic_ns()

    def step(self) -> int:
        """Write a snapshot when one is due; return how many were written."""
        sequence, now_ns = self._sequencer.position.sequence, self._clock.monotonic_ns()
        commands = sequence - self._last_sequence
        is_old = now_ns - self._last_ns >= self._every_ns
        if commands < self._every_commands and not (commands and is_old):
            return 0
        self._sequencer.snapshot(self._storage)
        if self._keep_beside is not None:
            self._keep_beside()
        self._last_sequence, self._last_ns = sequence, now_ns
        projected_sequence = self._sequencer.log.projected_sequence
        prune_snapshots(self._storage, behind=kept_from(self._storage, projected_sequence))
        if self._prunes_journal:
            prune_journal(
                self._storage, projected_sequence=projected_sequence, archive=self._archive
            )
        return 1
