"""One run: real processes over a real node are killed at random while customers use them."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from app.children import PROCESSES
from app.devsetup import DevSetup, fund_wallets, make_dev
from app.opening import open_database
from core.entropy import SeededEntropy
from custody import deposit_rows, funding
from custody.db import Database
from custody.spending import rows as spending_rows
from custody.withdrawals import states
from custody.withdrawals.states import LIVE
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode, start_anvil
from infra.devnet.servers import free_port
from infra.devnet.solidity import artifacts
from tests.support.killing.client import Tally
from tests.support.killing.customers import TOKEN, Customer, Ledger, World
from tests.support.killing.forge import Forge
from tests.support.killing.signer_gate import SignerGate
from tests.support.killing.victim import Victim

BLOCK_PAUSE_S = 0.2
LOOP_PAUSE_S = 0.03
WALLET_TOKENS = 10**12
STARTING_PERCENT = 20
STARTING_S = 2.0
"""So many of a hundred lives end within so many seconds of their start, ready or not."""
LIFE_S = {"engine": 1.0, "worker": 2.5, "signer": 3.0}
"""Most seconds that a process lives after it is ready, beside as long as it took to start."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is."""

    seed: int
    kills: int
    customers: int = 10
    rounds: int = 10
    time_s_max: int = 300
    database_url: str | None = None
    fork: bool = True


@dataclass(slots=True)
class Outcome:
    """What a run left behind."""

    setup: DevSetup
    node: AnvilNode
    ledger: Ledger
    tally: Tally
    seconds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    """By process, and by what was under way in that moment."""
    unexpected: list[str] = field(default_factory=list)
    last_codes: dict[str, int | None] = field(default_factory=dict)


def run(plan: Plan, folder: Path) -> Outcome:
    """Run to the end and stop everything but the node; call only in the main thread."""
    node = start_anvil(no_mining=True, extra=("--preserve-historical-states",))
    node.call("evm_setAutomine", True)
    setup = make_dev(
        folder,
        node,
        http_port=free_port(),
        database_url=plan.database_url,
        customers=[f"c{n}" for n in range(plan.customers)],
        overrides={
            "engine": {"lease_ms": 3_000, "snapshot_commands": 20},
            "chain": {"patience": {"resend_after_ms": 1_000, "bump_after_ms": 8_000}},
        },
        entropy=SeededEntropy(plan.seed, "dev"),
    )
    deployer = Deployer(node)
    token = _token(setup, node)
    wallets = fund_wallets(setup, node)
    token.send("mint", wallets["hot"], WALLET_TOKENS)
    node.call("evm_setAutomine", False)
    outcome = Outcome(setup, node, Ledger(), Tally())
    world = World(
        setup, deployer, token, outcome.ledger, outcome.tally, threading.Event(), threading.Event()
    )
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        forge = stack.enter_context(Forge()) if plan.fork else None
        stack.enter_context(_mining(node))
        db = open_database(setup.settings())
        stack.callback(db.close)
        stack.callback(world.is_over.set)
        socket = setup.settings().signer.socket
        gate = SignerGate(setup.folder / GATE, socket, seed=plan.seed)
        stack.callback(gate.close)
        _Killer(plan, outcome, world, db, forge, gate).run()
    outcome.seconds = int(time.monotonic() - began)
    return outcome


GATE = "gate.sock"
KILLS_FACTOR_MAX = 3
LATE_LIFE_FACTOR = 4
"""Past the planned kills processes live longer, so that what is still missing can happen."""


class _Killer:
    """The main thread of a run: starts, kills, starts again, and knows when it is enough."""

    def __init__(
        self,
        plan: Plan,
        outcome: Outcome,
        world: World,
        db: Database,
        forge: Forge | None,
        gate: SignerGate,
    ) -> None:
        self._plan = plan
        self._gate = gate
        self._outcome = outcome
        self._world = world
        self._db = db
        self._random = random.Random(plan.seed)
        setup, clients = outcome.setup, through_the_gate(outcome.setup)
        self._victims = [
            Victim(name, setup, forge, setup.config_file if name == "signer" else clients)
            for name in PROCESSES
        ]
        self._due: dict[str, float] = {}
        """When each process is killed; absent until that is chosen."""
        self._patient: dict[str, bool] = {}
        """Whether it may become ready before its end is chosen; absent before that is thrown."""
        self._deadline = time.monotonic() + plan.time_s_max

    def run(self) -> None:
        plan, outcome = self._plan, self._outcome
        customers = [
            Customer(self._world, f"c{n}", rounds=plan.rounds, seed=plan.seed)
            for n in range(plan.customers)
        ]
        for victim in self._victims:
            victim.start(fork=plan.fork)
        try:
            for customer in customers:
                customer.start()
            while any(customer.is_alive() for customer in customers):
                self._look()
                if self._is_enough():
                    self._world.is_enough.set()
            self._settle()
        finally:
            self._world.is_over.set()
            for victim in self._victims:
                if victim.is_running and victim.name not in outcome.last_codes:
                    victim.kill()
            for customer in customers:
                customer.join(20)

    def _is_enough(self) -> bool:
        """Return whether the plan is done and payments were hit on their way, or never will be.

        On a slow machine a worker seldom lives until it sends; the killing goes on until one did.
        """
        kills, planned = self._outcome.kills, self._plan.kills
        hit = kills["while a spend is signed"] + kills["while a spend is broadcast"]
        return kills["all"] >= planned and (hit > 0 or kills["all"] >= KILLS_FACTOR_MAX * planned)

    def _look(self) -> None:
        now = time.monotonic()
        if self._gate.wanted.is_set():
            (signer,) = [victim for victim in self._victims if victim.name == "signer"]
            self._outcome.kills["after signing, before answering"] += 1
            self._kill(signer)
            self._gate.killed()
        if now > self._deadline:
            raise TimeoutError(f"not done: {self._outcome.kills} {self._outcome.tally.counts}")
        for victim in self._victims:
            if not victim.is_running:
                self._outcome.unexpected.append(f"{victim.name}: {victim.log()[-2_000:]}")
                self._begin(victim)
            elif victim.name not in self._due and self._plan.kills:
                self._choose_end(victim, now)
            elif now >= self._due.get(victim.name, now + 1):
                self._kill(victim)
        time.sleep(LOOP_PAUSE_S)

    def _choose_end(self, victim: Victim, now: float) -> None:
        if victim.name not in self._patient:
            self._patient[victim.name] = self._random.random() * 100 >= STARTING_PERCENT
            if not self._patient[victim.name]:
                self._due[victim.name] = victim.started + self._random.random() * STARTING_S
        elif victim.is_ready:
            # It lives about as long as it took to start, so that a slow machine gets on too.
            life_s_max = LIFE_S[victim.name] + now - victim.started
            if self._outcome.kills["all"] >= self._plan.kills:
                life_s_max *= LATE_LIFE_FACTOR
            self._due[victim.name] = now + self._random.random() * life_s_max

    def _begin(self, victim: Victim) -> None:
        victim.start(fork=self._plan.fork)
        self._due.pop(victim.name, None)
        self._patient.pop(victim.name, None)

    def _kill(self, victim: Victim) -> None:
        kills = self._outcome.kills
        for what in under_way(self._db):
            kills[f"while {what}"] += 1
        kills["starting" if not victim.is_ready else "ready"] += 1
        victim.kill()
        kills["all"] += 1
        kills[victim.name] += 1
        self._begin(victim)

    def _settle(self) -> None:
        """Let everything end, then stop all processes politely."""
        self._gate.quieten()
        if self._gate.wanted.is_set():
            self._gate.killed()
        while still_open(self._db):
            if time.monotonic() > self._deadline:
                raise TimeoutError(f"not settled: {still_open(self._db)}")
            for victim in self._victims:
                if not victim.is_running:
                    self._outcome.unexpected.append(f"{victim.name}: {victim.log()[-2_000:]}")
                    victim.start(fork=self._plan.fork)
            time.sleep(10 * LOOP_PAUSE_S)
        for victim in self._victims:
            victim.kill()
            victim.starts = 0  # the last start is a whole program, stopped by a polite signal
            victim.start(fork=False)
            while not victim.is_ready:
                assert victim.is_running, victim.log()
                time.sleep(10 * LOOP_PAUSE_S)
        while still_open(self._db):
            time.sleep(10 * LOOP_PAUSE_S)
        for victim in self._victims:
            self._outcome.last_codes[victim.name] = victim.stop()


def through_the_gate(setup: DevSetup) -> Path:
    """Return a copy of the settings whose signer is asked through the gate."""
    text = setup.config_file.read_text("utf-8")
    file = setup.folder / "clients.toml"
    file.write_text(text.replace('socket = "signer.sock"', f'socket = "{GATE}"'), "utf-8")
    return file


def under_way(db: Database) -> list[str]:
    """Return what money is doing at this moment."""
    with db.read() as conn:
        found = [f"a deposit is {state}" for state in _deposit_states(conn)]
        found += [f"a withdrawal is {state}" for state in _withdrawal_states(conn)]
        found += [f"a spend is {state}" for state in _spend_states(conn)]
        if funding.pending(conn):
            found.append("the engine owes the books an answer")
    return found


def still_open(db: Database) -> list[str]:
    """Return what has not come to its end."""
    ended = {"a deposit is credited", "a deposit is own_wallet"}
    return [what for what in under_way(db) if what not in ended]


def _deposit_states(conn: sa.Connection) -> list[str]:
    table = deposit_rows.deposits
    credited = deposit_rows.DepositState.CREDITED.value
    query = (
        sa.select(table.c.state)
        .distinct()
        .where(table.c.state != credited, table.c.account == "deposits")
    )
    return list(conn.execute(query).scalars())


def _withdrawal_states(conn: sa.Connection) -> list[str]:
    live = [state.value for state in LIVE]
    query = sa.select(states.withdrawals.c.state).distinct()
    return list(conn.execute(query.where(states.withdrawals.c.state.in_(live))).scalars())


def _spend_states(conn: sa.Connection) -> list[str]:
    flying = [state.value for state in spending_rows.IN_FLIGHT]
    query = sa.select(spending_rows.spends.c.state).distinct()
    return list(conn.execute(query.where(spending_rows.spends.c.state.in_(flying))).scalars())


@contextlib.contextmanager
def _mining(node: AnvilNode) -> Iterator[None]:
    """Make a block a few times a second until the block ends."""
    ended = threading.Event()

    def mine() -> None:
        while not ended.wait(BLOCK_PAUSE_S):
            node.mine()

    thread = threading.Thread(target=mine, name="miner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def demo_token(outcome: Outcome) -> Contract:
    """Return the contract of the token that the customers of a run used."""
    return _token(outcome.setup, outcome.node)


def _token(setup: DevSetup, node: AnvilNode) -> Contract:
    return Contract(
        node=node,
        artifact=artifacts()["DemoToken"],
        address=setup.asset(TOKEN).key,
        creator=Deployer(node).accounts[0],
    )
