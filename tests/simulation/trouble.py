"""What the world does to the platform: forks, silence, lies, fees, dead disks, wrong clocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chains.fake import FaultKind
from core.clock import SECOND_NS
from tests.simulation.machine import PROCESSES, Machine

MINUTE_NS, HOUR_NS = 60 * SECOND_NS, 3_600 * SECOND_NS
DEPTH_MAX = 50
STORM = {
    FaultKind.UNAVAILABLE: 40_000,
    FaultKind.NULL: 10_000,
    FaultKind.LAGGING: 60_000,
    FaultKind.OTHER_BRANCH: 30_000,
    FaultKind.INCOMPLETE: 200_000,
    FaultKind.STALE_NONCE: 50_000,
    FaultKind.ODD_FEE: 50_000,
    FaultKind.LOST: 150_000,
    FaultKind.ANSWER_LOST: 150_000,
    FaultKind.LATE: 150_000,
    FaultKind.FALSE_REJECT: 50_000,
    FaultKind.TRUE_REJECT: 50_000,
}
"""A bad node, in ppm of the calls each kind can befall."""


@dataclass(slots=True)
class Trouble:
    """The weather of one run."""

    machine: Machine
    paused: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    held: Callable[[], frozenset[str]] = frozenset
    """What spends on their way hold of the chain."""

    def mine(self) -> None:
        """Append blocks; sometimes some transactions are passed over."""
        dice, world = self.machine.dice, self.machine.world
        blocks = dice.between("mine/blocks", 1, 3)
        if dice.chance("mine/partial", 250_000):
            world.mine(blocks, include=lambda _tx_id: dice.chance("mine/include", 600_000))
        else:
            world.mine(blocks)

    def reorg(self) -> None:
        """Replace the newest blocks above finality by another branch."""
        dice, world = self.machine.dice, self.machine.world
        room = world.head.ref.height - world.final.ref.height
        if room < 1:
            return
        depth = dice.between("reorg/depth", 1, min(6, room))
        kept_ppm = dice.pick("reorg/kept", (0, 500_000, 900_000))
        world.reorg(
            depth,
            keep=lambda _tx_id: dice.chance("reorg/keep", kept_ppm),
            replacement_blocks=dice.between("reorg/blocks", 1, depth + 2),
            to_pool=dice.chance("reorg/pool", 500_000),
        )
        self.machine.counts["reorgs"] += 1

    def deep_reorg(self) -> None:
        """Let final blocks fall out of the chain, with deposits that were credited.

        Not with payments of ours that had ended, nor with final coins that one on its way is to use
        up: what becomes of those, and of a fork below every block that is remembered, people decide
        outside of the platform.
        """
        dice, world = self.machine.dice, self.machine.world
        final, held = world.final.ref.height, self.held()
        below = 0
        for height in range(final, max(0, final - dice.between("deep/below", 1, 6)), -1):
            receipts = world.block(height).receipts
            made = {f"{paid.tx_id}:{paid.position}" for one in receipts for paid in one.payments}
            if any(receipt.sender is not None for receipt in receipts) or made & held:
                break
            below += 1
        depth = world.head.ref.height - final + below
        if not below or depth > DEPTH_MAX:
            return
        world.reorg(
            depth,
            keep=lambda _tx_id: dice.chance("deep/keep", 400_000),
            replacement_blocks=depth + dice.between("deep/blocks", 0, 2),
            to_pool=dice.chance("deep/pool", 300_000),
            cross_finality=True,
        )

    def node(self) -> None:
        """Make the node bad, or good again."""
        faults, dice = self.machine.faults, self.machine.dice
        if faults._odds_ppm:
            faults._odds_ppm = {}
            return
        kinds = [kind for kind in STORM if dice.chance("storm/kind", 400_000)]
        faults._odds_ppm = {kind: STORM[kind] for kind in kinds}
        self.machine.counts["storms"] += 1

    def pool(self) -> None:
        """Let the mempool forget a transaction."""
        pending = self.machine.world.pending()
        if pending:
            self.machine.world.drop(self.machine.dice.pick("pool/which", pending))

    def fees(self) -> None:
        """Change what a block costs."""
        self.machine.world.set_base_rate(
            self.machine.dice.pick("fees/rate", (3, 10, 10, 20, 60, 150))
        )

    def finality(self) -> None:
        """Stall finality or let it go on."""
        world = self.machine.world
        if world._is_stalled:
            world.resume_finality()
        else:
            world.stall_finality()

    def tokens(self) -> None:
        """Pause or resume a token, or poison somebody's destination."""
        dice, world, who = self.machine.dice, self.machine.world, self.machine.cast
        key = dice.pick("tokens/which", (who.token, who.odd))
        self.paused ^= {key}
        world.pause_token(key, paused=key in self.paused)

    def poison(self, destination: str) -> None:
        """Make every transfer to a destination fail."""
        self.refusing.add(destination)
        self.machine.world.refuse_transfers_to(*sorted(self.refusing))

    def clock(self) -> None:
        """Let time pass, or step the wall clock."""
        dice, clock = self.machine.dice, self.machine.clock
        kind = dice.weighted("clock/kind", {"minutes": 70, "hours": 10, "step": 20})
        if kind == "minutes":
            clock.advance(dice.between("clock/minutes", 1, 5) * MINUTE_NS)
        elif kind == "hours":
            clock.advance(dice.between("clock/hours", 1, 3) * HOUR_NS // 2)
        else:
            clock.step(dice.between("clock/step", -120, 120) * SECOND_NS)
            self.machine.counts["clock_steps"] += 1

    def disk(self) -> None:
        """Make the journal's disk fail or full, or free it."""
        dice, storage = self.machine.dice, self.machine.storage
        kind = dice.weighted("disk/kind", {"sync": 30, "append": 30, "write": 15, "full": 25})
        if storage.capacity_bytes is not None:
            storage.capacity_bytes = None
        elif kind == "full":
            used = sum(len(storage.read(name)) for name in storage.names())
            storage.capacity_bytes = used + dice.between("disk/room", 0, 700)
        elif kind != "write" and dice.chance("disk/signer", 300_000):
            self.machine.signer_storage.fail(kind)
            self.machine.counts["signer_disk_failures"] += 1
        else:
            storage.fail(kind, dice.between("disk/times", 1, 2))
        self.machine.counts[f"disk.{kind}"] += 1

    def death(self) -> None:
        """Kill a process or the whole machine between two steps."""
        if self.machine.dice.chance("death/power", 300_000):
            self.machine.power_off()
        else:
            self.machine.kill(self.machine.dice.pick("death/who", PROCESSES))

    def heal(self) -> None:
        """End every trouble: from here on the world is kind."""
        machine = self.machine
        machine.crash.is_armed = False
        machine.odds = type(machine.odds)()
        machine.faults.heal()
        machine.storage.capacity_bytes = None
        machine.storage._failures.clear()
        machine.signer_storage._failures.clear()
        machine.world.resume_finality()
        machine.world.set_base_rate(10)
        machine.world.refuse_transfers_to()
        for key in sorted(self.paused):
            machine.world.pause_token(key, paused=False)
        self.paused.clear()
