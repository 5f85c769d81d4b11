"""Orders through the sequencer, with and without the disk; the floor is the engine alone."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from core.clock import ManualClock
from core.entropy import SeededEntropy
from engine.commands import AddAsset, AddMarket, CancelOrder, Command, Credit, PlaceOrder
from engine.enums import Side
from engine.events import OrderAccepted
from engine.files import DiskFile, DiskStorage
from engine.recovery import recover
from engine.reference import ReferenceEngine
from engine.sequencer import Sequencer
from tests.benchmarks.measure import Contest, Run

CUSTOMERS, COMMANDS, BATCH = 100, 4_000, 256
MID, SPREAD = 10_000, 60


class _UnsyncedFile(DiskFile):
    """A journal file that waits for nothing: what the disk costs is the difference."""

    dsync = 0

    def sync(self) -> None:
        """Do nothing."""


class _UnsyncedStorage(DiskStorage):
    """A folder whose journal files do not wait for the disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._here = folder

    def reopen(self, name: str) -> DiskFile:
        """Open a file that never waits."""
        return _UnsyncedFile(self._here / f"{name}.tmp")

    def create(self, name: str) -> DiskFile:
        """Begin a file that never waits."""
        super().create(name).close()
        return self.reopen(name)


def _opening() -> list[Command]:
    commands: list[Command] = [AddAsset(asset_no=1), AddAsset(asset_no=2)]
    commands.append(
        AddMarket(
            market_no=1, base_asset_no=1, quote_asset_no=2, tick_minor=1, lot_minor=1,
            maker_ppm=1_000, taker_ppm=2_000,
        )
    )  # fmt: skip
    number = 0
    for customer_no in range(1, CUSTOMERS + 1):
        for asset_no in (1, 2):
            number += 1
            commands.append(
                Credit(number=number, customer_no=customer_no, asset_no=asset_no, amount=10**15)
            )
    return commands


def _workload(clock: ManualClock) -> list[Command]:
    """Return seeded commands: mostly orders around the mid price, a quarter cancels."""
    entropy = SeededEntropy(1, "orders")
    commands: list[Command] = []
    for n in range(COMMANDS):
        dice = int.from_bytes(entropy.token_bytes(8), "big")
        customer_no = dice % CUSTOMERS + 1
        if n > 300 and dice >> 16 & 3 == 0:
            commands.append(CancelOrder(customer_no=customer_no, order_id=(dice >> 20) % n << 24))
            continue
        side = Side.BUY if dice >> 18 & 1 else Side.SELL
        offset = (dice >> 24) % SPREAD - SPREAD // 6
        commands.append(
            PlaceOrder(
                customer_no=customer_no, client_order_id=n + 1, market_no=1, side=side,
                price_ticks=MID - offset if side is Side.BUY else MID + offset,
                quantity_lots=(dice >> 40) % 90 + 10, issued_ns=clock.now_ns(),
            )
        )  # fmt: skip
    return commands


def _sequencer(stack: contextlib.ExitStack, *, synced: bool, batch: int) -> Run:
    clock = ManualClock()
    work = _workload(clock)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="var")))
    runs = iter(range(1_000))

    def run() -> int:
        here = folder / str(next(runs))
        here.mkdir()
        storage = DiskStorage(here) if synced else _UnsyncedStorage(here)
        sequencer = recover(storage, epoch=1, clock=clock, lease=lambda: None)
        sequencer.execute(_opening())
        count = len(work) if batch > 1 else len(work) // 10
        _feed(sequencer, work[:count], batch)
        sequencer.stop()
        return count

    return run


def _feed(sequencer: Sequencer, work: list[Command], batch: int) -> None:
    accepted = 0
    for start in range(0, len(work), batch):
        for events in sequencer.execute(work[start : start + batch]):
            accepted += isinstance(events[0], OrderAccepted)
    assert accepted > len(work) // 2, "the workload is not accepted"


def contests(stack: contextlib.ExitStack) -> list[Contest]:
    """Return batches with and without fsync, and one command per fsync."""
    clock = ManualClock()
    work = _workload(clock)

    def engine_alone() -> int:
        engine = ReferenceEngine()
        for sequence, command in enumerate((*_opening(), *work), 1):
            engine.apply(command, sequence=sequence, time_ns=clock.now_ns())
        return len(work)

    Path("var").mkdir(exist_ok=True)
    rows = (("fsync", True, BATCH), ("no fsync", False, BATCH), ("fsync each", True, 1))
    return [
        Contest(
            f"orders, {name}", f"commands, {batch} a block",
            _sequencer(stack, synced=synced, batch=batch), floor=engine_alone,
            floor_name="reference engine alone", goal="native engine: issue 3", wall=True,
        )
        for name, synced, batch in rows
    ]  # fmt: skip
