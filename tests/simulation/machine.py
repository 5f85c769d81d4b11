"""The platform as three processes over one disk, built and rebuilt by the functions of production.

`engine` holds the sequencer, funding, settlement and what people ask for; `worker-a` and `worker-b`
run the same steps side by side. Whatever is in memory dies with its process. What survives is the
database file, the journal's disk, the chain, the clock, and files of people outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import sqlalchemy as sa

from app.bootstrap import ChainHome, Platform, account_keys, prepare
from app.engine_home import open_engine
from app.steps import Step, engine_steps, worker_steps
from chains.fake import FakeChain, FakeCoinChain, FakeWorld, FaultScript
from core.clock import SECOND_NS, ManualClock
from core.errors import Corrupt, OutcomeUnknown, Reason, Refused, Unavailable
from core.ids import ChainId
from custody import settlement
from custody.db import Contended, TransactionHooks
from custody.keys.desk import Notary, key_desk
from custody.keys.owners import OwnersInMemory
from custody.keys.store import Shelf
from custody.lease import Lease, take
from custody.spending.drive import Patience, Problem
from engine.sequencer import Sequencer
from engine.snapshot import prune_snapshots
from tests.simulation import cast
from tests.simulation.crash import CrashPoints, SimulatedCrash
from tests.simulation.dice import KeyedRandom
from tests.simulation.seams import (
    Gate,
    SeamChain,
    SeamCoinChain,
    SeamDatabase,
    SeamSigner,
    SeamStorage,
)

CHAIN = ChainId("fake")
ENGINE, WORKERS = "engine", ("worker-a", "worker-b")
PROCESSES = (ENGINE, *WORKERS)
PATIENCE = Patience(
    resend_after_ns=15 * SECOND_NS, bump_after_ns=120 * SECOND_NS, give_up_after_ns=900 * SECOND_NS
)
BUSY_MS = 50
STARTS_MAX = 5
TOLERATED = frozenset(
    {Reason.FROZEN, Reason.ILLEGAL_TRANSITION, Reason.IN_PROGRESS, Reason.NOT_FOUND}
)
"""Refusals a worker loop may see because another process was faster; each is retried or moot."""


class Broken(Exception):
    """The platform did what it must never do: the run ends with this finding."""


@dataclass(frozen=True, slots=True)
class Odds:
    """How rough the world is, in ppm per occasion."""

    overtaken: int = 0
    contended: int = 0
    unavailable: int = 0
    answer_lost: int = 0


@dataclass(slots=True)
class Process:
    """One running process: what dies with it."""

    name: str
    platform: Platform
    steps: dict[str, Step] = field(default_factory=dict)
    lease: Lease | None = None
    sequencer: Sequencer | None = None


@dataclass(slots=True)
class Machine:
    """Everything that survives crashes, and the processes that do not."""

    url: str
    dice: KeyedRandom
    clock: ManualClock
    world: FakeWorld
    cast: cast.Cast
    crash: CrashPoints
    faults: FaultScript
    odds: Odds
    storage: SeamStorage = field(init=False)
    signer_storage: SeamStorage = field(init=False)
    shelf: Shelf = field(init=False)
    """The signer's store: one for all processes, because one signer serves them."""
    processes: dict[str, Process] = field(default_factory=dict)
    active: list[str] = field(default_factory=list)
    owners: OwnersInMemory = field(default_factory=OwnersInMemory)
    """The signer's own file of whose each key is."""
    lives: int = 0
    acknowledged: int = 0
    """The highest sequence that anybody was answered with."""
    counts: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    on_death: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.storage = SeamStorage(self.dice.entropy("disk"))
        self.storage.crash_points = self.crash
        self.signer_storage = SeamStorage(self.dice.entropy("signer's disk"))
        self.signer_storage.crash_points = self.crash
        self.shelf = Shelf(self.signer_storage)

    # ---- starting and dying

    def process(self, name: str) -> Process:
        """Return a process, started again when it is dead. Unavailable: it does not start."""
        tries = 0
        while name not in self.processes:
            tries += 1
            try:
                self._start(name)
            except SimulatedCrash as crash:
                self.died(name, crash)
            except (Unavailable, Refused) as error:
                if isinstance(error, Refused) and error.reason is not Reason.FROZEN:
                    raise
                self.counts["failed_starts"] += 1
                if self.storage.capacity_bytes is not None and tries > 1:
                    self.storage.capacity_bytes = None  # somebody was paged, and made room
                    self.counts["disk_freed"] += 1
                if tries >= STARTS_MAX:
                    raise Unavailable(f"{name} does not start: {error}") from error
        return self.processes[name]

    def _start(self, name: str) -> None:
        self.counts[f"start.{name}"] += 1
        gate = Gate(
            crash=self.crash,
            between=lambda: self._between(name),
            refuse_commit=self._refuse_commit,
            lose_answer=self._lose_answer,
        )
        db = SeamDatabase(
            *_engines(self.url),
            TransactionHooks(gate.before_commit, gate.after_commit),
            self.clock,
            self.dice.entropy(f"{name}/database"),
        )
        db.gate = gate
        try:
            platform = self._platform(name, db, gate)
            prepare(platform, assets=self.cast.assets, markets=cast.markets())
            if name == ENGINE:
                lease, sequencer = self._lead(platform)
                jobs = engine_steps(platform, sequencer, sequencer.log, epoch=lease.epoch)
                process = Process(name, platform, lease=lease, sequencer=sequencer)
            else:
                jobs = worker_steps(platform, self._note)
                process = Process(name, platform)
        except BaseException:
            db.close()
            raise
        process.steps = {job.name: job for job in jobs}
        self.processes[name] = process

    def _platform(self, name: str, db: SeamDatabase, gate: Gate) -> Platform:
        seam = SeamCoinChain if self.world.laws.spends_coins else SeamChain
        chain = seam(self.world, faults=self.faults, batch_max=cast.BATCH_MAX)
        chain.gate = gate
        signer = SeamSigner(cast.local_signer(chain.traits), gate)
        notary = Notary(cast.ATTESTATION_KEY, self.owners)
        signers = {CHAIN: (chain, signer)}
        desk = key_desk(
            self.shelf, self.clock, self.cast.roster, signers, notary,
            book=self.cast.book, scales=self.cast.law.scales,
        )  # fmt: skip
        home = ChainHome(
            chain=chain,
            keys=account_keys(signer.account_xpub),
            terms=cast.TERMS,
            sweeps=cast.RULES,
            patience=PATIENCE,
            start_height=0,
        )
        return Platform(
            db=db,
            clock=self.clock,
            entropy=self.dice.entropy(f"{name}/platform"),
            rosters=self.cast.rosters,
            signer=desk,
            chains={CHAIN: home},
        )

    def _lead(self, platform: Platform) -> tuple[Lease, Sequencer]:
        """Take the lease from whoever is dead, and recover the engine behind it."""
        self.lives += 1
        lease = take(
            platform.db,
            holder=f"{ENGINE}-{self.lives}",
            clock=self.clock,
            is_dead=lambda _holder: True,  # there is one engine process at a time
        )
        sequencer = open_engine(platform, self.storage, lease=lease)
        self.counts["recoveries"] += 1
        return lease, sequencer

    def died(self, name: str, crash: SimulatedCrash) -> None:
        """Throw away what was in the memory of a dead process, or of all of them."""
        self.counts["crashes"] += 1
        self.on_death()
        dead = PROCESSES if crash.power else (name,)
        for each in dead:
            gone = self.processes.pop(each, None)
            if gone is not None:
                gone.platform.db.close()
        self.shelf.close()
        if crash.power:
            self.counts["power_losses"] += 1
            if self.storage.crash():
                self.counts["unsynced_bytes_lost"] += 1
            if self.signer_storage.crash():
                self.counts["unsynced_signatures_lost"] += 1
        else:
            self.signer_storage.kill()

    def power_off(self) -> None:
        """Let everything die between two steps."""
        self.died(ENGINE, SimulatedCrash("idle", 0, power=True))

    def kill(self, name: str) -> None:
        """Let one process die between two steps."""
        self.died(name, SimulatedCrash("idle", 0, power=False))

    # ---- running

    def step(self, name: str, job: str) -> int:
        """Run one step of a process as its loop would, and survive what a loop survives."""
        done = self.run(name, lambda process: process.steps[job].run(), job)
        return done or 0

    def run(self, name: str, work: Callable[[Process], int], what: str) -> int | None:
        """Do something in a process; None when it could not be done now.

        Unavailable and tolerated refusals are what a worker loop logs; a crash ends the process
        (a power loss everything); anything else breaks the run.
        """
        try:
            process = self.process(name)
            self.active.append(name)
            try:
                done = work(process)
            finally:
                self.active.remove(name)
            self.counts[f"ran.{what}"] += 1
            self.counts[f"moved.{what}"] += done
            return done
        except SimulatedCrash as crash:
            self.died(name, crash)
            if crash.power and self.active:
                raise
        except OutcomeUnknown as error:
            self._note(Problem(what, f"unknown: {error}"))
            self._restart_if_stopped(name)
        except Unavailable as error:
            self._note(Problem(what, f"unavailable: {error}"))
            self._restart_if_stopped(name)
        except Refused as error:
            if error.reason not in TOLERATED:
                raise Broken(f"{what} was refused: {error}") from error
            self._note(Problem(what, f"refused: {error}"))
        except Corrupt as error:
            raise Broken(f"{what} found records that contradict each other: {error}") from error
        return None

    def _restart_if_stopped(self, name: str) -> None:
        """End an engine process whose sequencer stopped for good, as its supervisor would."""
        process = self.processes.get(name)
        if process is not None and process.sequencer is not None and process.sequencer.failure:
            self.kill(name)

    # ---- what the world does to running processes

    def _between(self, name: str) -> None:
        if len(self.active) != 1 or self.active[0] != name or not self.odds.overtaken:
            return
        if not self.dice.chance("overtaken", self.odds.overtaken):
            return
        others = [each for each in self._running() if each[0] != name]
        if not others:
            return
        other, job = self.dice.pick("overtaken/by", others)
        self.counts["overtaken"] += 1
        self.run(other, lambda process: process.steps[job].run(), job)

    def _running(self) -> list[tuple[str, str]]:
        """Return the jobs of processes that are running now."""
        return [
            (name, job) for name in PROCESSES if name in self.processes
            for job in self.processes[name].steps
        ]  # fmt: skip

    def _refuse_commit(self) -> None:
        if self.odds.contended and self.dice.chance("commit/contended", self.odds.contended):
            self.counts["contended"] += 1
            raise Contended("injected: another transaction was in the way")
        if self.odds.unavailable and self.dice.chance("commit/unavailable", self.odds.unavailable):
            self.counts["database_unavailable"] += 1
            raise Unavailable("injected: the database is gone")

    def _lose_answer(self) -> None:
        if self.odds.answer_lost and self.dice.chance("commit/answer", self.odds.answer_lost):
            self.counts["commit_answers_lost"] += 1
            raise OutcomeUnknown("injected: the connection died during COMMIT")

    def _note(self, problem: Problem) -> None:
        self.problems[problem.why.split(":")[0][:60]] += 1

    # ---- odds and ends

    def honest_chain(self) -> FakeChain:
        """Return a node that tells the truth, for those who judge."""
        honest = FakeCoinChain if self.world.laws.spends_coins else FakeChain
        return honest(self.world)

    def sequencer(self) -> Sequencer:
        """Return the sequencer of the running engine process."""
        sequencer = self.process(ENGINE).sequencer
        assert sequencer is not None
        return sequencer

    def renew(self, process: Process) -> int:
        """Prolong the engine's lease, as its own thread would."""
        assert process.lease is not None
        process.lease.renew()
        return 1

    def snapshot(self, process: Process) -> int:
        """Write a snapshot and delete the ones nobody can need."""
        assert process.sequencer is not None
        process.sequencer.snapshot(self.storage)
        with process.platform.db.read() as conn:
            booked = settlement.position(conn).sequence
        prune_snapshots(self.storage, behind=booked)
        return 1

    def close(self) -> None:
        """Let go of the database's connections."""
        for process in self.processes.values():
            process.platform.db.close()
        self.processes.clear()


@lru_cache(maxsize=4)
def _engines(url: str) -> tuple[sa.Engine, sa.Engine]:
    """Return the pools of a database, kept over crashes: what was compiled once stays true."""
    opened = SeamDatabase.open(url, busy_timeout_ms=BUSY_MS)
    return opened._writer, opened._reader
