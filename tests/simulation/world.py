"""One seeded run: a story told tick by tick, then a healed world where everything must end well."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from app.bootstrap import account_keys
from chains.base import NATIVE
from chains.fake import FakeWorld, FaultScript
from core.clock import SECOND_NS, ManualClock
from core.errors import Corrupt, Unavailable
from custody import catalogue, chain_state, decided_deposits, deposit_rows, settlement
from custody import funding as funding_rows
from custody.db import Database
from custody.deposit_rows import DepositState
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from custody.ledger.records import Chain
from custody.ledger.transfers import chain_head
from custody.spending import rows
from custody.wallets import addresses
from custody.withdrawals import states
from custody.withdrawals.states import WithdrawalState
from engine.recovery import ReferenceFactory, replay
from tests.simulation import cast, invariants, model
from tests.simulation.coins import coins_equal_chain, coins_once, held_coins
from tests.simulation.counting import closing, note_crash
from tests.simulation.crash import CrashPoints, SimulatedCrash
from tests.simulation.database import fresh_database
from tests.simulation.dice import KeyedRandom
from tests.simulation.invariants import Bench
from tests.simulation.limits import limits
from tests.simulation.machine import CHAIN, ENGINE, WORKERS, Broken, Machine, Odds
from tests.simulation.officers import Officers
from tests.simulation.people import People
from tests.simulation.planted import COIN_BUGS, planted
from tests.simulation.rulers import Rulers
from tests.simulation.trouble import Trouble

STEPS = 300
ROUNDS_MAX = 120
CHEAP_EVERY, DEAR_EVERY = 10, 75
CRASH_PPM = {
    "commit.before": 4_000, "commit.after": 4_000, "sign.before": 30_000, "sign.after": 30_000,
    "broadcast.before": 30_000, "broadcast.after": 30_000, "sync.before": 6_000,
    "sync.after": 6_000, "write.before": 20_000,
}  # fmt: skip
ROUGH = Odds(overtaken=8_000, contended=6_000, unavailable=3_000, answer_lost=2_000)
WEIGHTS = {
    "step": 420, "mine": 120, "deposit": 55, "trade": 80, "withdraw": 45, "withdraw_again": 12,
    "cancel": 16, "resolve": 12, "deep_reorg": 6, "judge": 110, "address": 3,
    "clock": 14, "reorg": 10, "node": 10, "pool": 8,
    "fees": 6, "finality": 3, "tokens": 4, "poison": 2, "disk": 4, "death": 5, "snapshot": 6,
    "price": 16, "deny": 5,
}  # fmt: skip
JOBS = {
    "funding": 6, "fake.follow": 6, "fake.finality": 4, "settlement": 6, "fake.withdrawals.plan": 4,
    "fake.withdrawals.settle_inside": 2,
    "fake.spending.move": 7, "fake.spending.settle": 4, "fake.sweeps.plan": 2,
    "withdrawals.expire": 1, "fake.reconcile": 1, "fake.identity": 1,
    "addresses.fake.attest": 1, "addresses.fake.rederive": 1,
}  # fmt: skip
COIN_JOBS = {**JOBS, "fake.pending": 1}
ENGINE_JOBS = frozenset({"funding", "settlement"})
SELDOM = frozenset({"fake.reconcile", "fake.identity"})
GENTLE = frozenset(
    {"step", "mine", "deposit", "trade", "withdraw", "withdraw_again", "cancel", "judge", "address"}
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run exercised, and its end in one hash."""

    seed: int
    steps: int
    counts: Counter[str]
    state_hash: str
    findings: tuple[str, ...] = ()


@dataclass(slots=True)
class World:
    """A machine, its people, its troubles and its judges."""

    seed: int
    machine: Machine
    people: People
    officers: Officers
    trouble: Trouble
    rulers: Rulers
    bench: Bench
    ticks: int = 0
    rounds: int = 0
    checking: bool = True
    actions: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        people, trouble, machine = self.people, self.trouble, self.machine
        self.actions = {
            "step": self._step, "mine": trouble.mine, "deposit": people.deposit,
            "trade": people.trade, "withdraw": people.withdraw,
            "withdraw_again": people.withdraw_again, "cancel": people.cancel,
            "judge": self.officers.judge, "address": people.another_address, "clock": trouble.clock,
            "reorg": trouble.reorg, "resolve": self.officers.resolve,
            "deep_reorg": trouble.deep_reorg, "node": trouble.node, "pool": trouble.pool,
            "fees": trouble.fees, "finality": trouble.finality, "tokens": trouble.tokens,
            "price": self.rulers.price,
            "deny": self.rulers.deny, "poison": self._poison, "disk": trouble.disk,
            "death": trouble.death,
            "snapshot": lambda: (machine.run(ENGINE, machine.snapshot, "snapshot"), None)[1],
        }  # fmt: skip

    def live(self, steps: int, weights: dict[str, int]) -> None:
        """Tell so many ticks of the story, judging on the way."""
        for _ in range(steps):
            self.ticks += 1
            dice, clock = self.machine.dice, self.machine.clock
            clock.advance(dice.between("tick", 50, 4_000) * 1_000_000)
            action = dice.weighted("action", weights)
            try:
                self.machine.run(ENGINE, self.machine.renew, "lease")
                self.actions[action]()
            except SimulatedCrash as crash:
                self.machine.died(ENGINE, crash)
            except Unavailable:
                self.machine.counts["nobody_answers"] += 1
            if self.checking and self.ticks % CHEAP_EVERY == 0:
                self.judge((*invariants.CHEAP, coins_once))
            if self.checking and self.ticks % DEAR_EVERY == 0:
                self.judge((*invariants.DEAR, limits, coins_equal_chain))

    def judge(self, questions: tuple[invariants.Question, ...]) -> None:
        """Ask the judges; their findings break the run."""
        armed, self.machine.crash.is_armed = self.machine.crash.is_armed, False
        odds, self.machine.odds = self.machine.odds, Odds()
        try:
            self.people.refresh_addresses_from(self.bench.db)
            findings = invariants.ask(self.bench, questions)
        finally:
            self.machine.crash.is_armed, self.machine.odds = armed, odds
        if findings:
            raise Broken("; ".join(findings[:5]))

    @property
    def jobs(self) -> dict[str, int]:
        """Return the jobs of the processes; what waits is followed where coins are spent."""
        return COIN_JOBS if self.machine.world.laws.spends_coins else JOBS

    def _step(self) -> None:
        job = self.machine.dice.weighted("step/job", self.jobs)
        name = ENGINE
        if job not in ENGINE_JOBS:
            name = self.machine.dice.pick("step/worker", WORKERS)
        for _ in range(2 if self.machine.dice.chance("step/twice", 60_000) else 1):
            self.machine.step(name, job)

    def _poison(self) -> None:
        if self.people.asked:
            asked = self.machine.dice.pick("poison/which", self.people.asked)
            self.trouble.poison(asked.request.destination)

    # ---- the end

    def end_well(self, *, rounds_min: int = 10) -> None:
        """Heal the world, let everything come to rest, and compare with what must be."""
        self.trouble.heal()
        self.machine.power_off()
        who, chain = self.machine.cast, self.machine.world
        for wallet in (who.hot, who.gas):
            chain.fund(wallet, 10**9)
        for key in (who.token, who.odd):
            chain.fund(who.hot, 10**9, key)
        restless: list[str] = []
        self.rulers.publish(())
        for round_ in range(ROUNDS_MAX):
            self.rulers.price_everything()
            self.officers.judge_everything()
            self.officers.resolve()
            self._round()
            restless = self.restless()
            if round_ == ROUNDS_MAX // 3:
                self._bring_gas()
            if not restless and round_ >= rounds_min:
                break
        else:
            raise Broken(f"I18: after {ROUNDS_MAX} rounds: {'; '.join(restless[:8])}")
        self.judge(
            (*invariants.CHEAP, *invariants.DEAR, limits, coins_once, coins_equal_chain, end_books)
        )

    def _round(self) -> None:
        self.machine.run(ENGINE, self.machine.renew, "lease")
        self.rounds += 1
        worker = WORKERS[self.rounds % 2]
        for job in self.jobs:
            if job not in SELDOM or self.rounds % 10 == 0:
                self.machine.step(ENGINE if job in ENGINE_JOBS else worker, job)
        self.machine.world.mine(2)
        self.machine.clock.advance(45 * SECOND_NS)

    def _bring_gas(self) -> None:
        """Do by hand what no step does: an address whose gas fell out of the chain is busy."""
        with self.bench.db.read() as conn:
            stuck = {spend.source for spend in rows.in_states(conn, CHAIN, rows.IN_FLIGHT)}
        for source in sorted(stuck):
            self.machine.world.pay(source, NATIVE, 100_000)
            self.machine.counts["gas brought by hand"] += 1

    def restless(self) -> list[str]:
        """Return what has not come to rest, by id."""
        found = []
        with self.bench.db.read() as conn:
            if pending := funding_rows.pending(conn):
                found.append(f"{pending} funding rows")
            undecided = (DepositState.SEEN, DepositState.COUNTING, DepositState.FINAL)
            found += [
                f"{row.deposit_id} is {row.state}"
                for row in deposit_rows.list_deposits(conn, states=undecided, limit=1_000)
            ]
            found += [
                f"{row.withdrawal_id} is {row.state}"
                for row in states.in_states(conn, states.LIVE, limit=1_000)
            ]
            found += [
                f"{spend.spend_id} ({spend.kind}) is {spend.state}"
                for spend in rows.in_states(conn, CHAIN, rows.IN_FLIGHT, limit=1_000)
            ]
            booked = settlement.position(conn).sequence
            if unattested := addresses.count_pending(conn, CHAIN):
                found.append(f"{unattested} addresses are not attested")
            if chain_state.state(conn, CHAIN).frozen:
                found.append("the chain is frozen")
        if booked != self.machine.sequencer().position.sequence:
            found.append(f"the books are at {booked}")
        return found + [f"{tx_id} waits" for tx_id in self.machine.world.pending()]

    def state_hash(self) -> str:
        """Return one hash over chain, books, signatures, audit log and engine."""
        digest = hashlib.sha256(self.machine.world.digest().encode())
        with self.bench.db.read() as conn:
            for chain in Chain:
                digest.update(chain_head(conn, chain).hash)
            for table in ("audit_records", "withdrawal_events", "deposits", "spends", "funding"):
                for row in conn.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1")):
                    digest.update(repr(tuple(row)).encode())
        for entry in self.machine.shelf.entries():
            digest.update(entry.hash)
        with self.machine.sequencer().reading() as engine:
            digest.update(engine.state_hash())
        digest.update(repr(sorted(self.machine.counts.items())).encode())
        return digest.hexdigest()


def end_books(bench: Bench):  # type: ignore[no-untyped-def]
    """Compare the books with the independent model; at rest, everything is in them."""
    machine, people = bench.machine, bench.people
    _, log, _ = replay(machine.storage, factory=ReferenceFactory())
    events = [event for block in log.blocks_after(0, 1 << 30) for event in block.events]
    with bench.db.read() as conn:
        fees = {asset.asset_no: asset.spec.withdrawal_fee for asset in catalogue.all_assets(conn)}
        listed = {asset.spec.key: int(asset.asset_no) for asset in catalogue.all_assets(conn)}
        booked = {
            (int(row.customer_no), int(row.asset_no)): row.total
            for row in balances.all_customer_balances(conn)
        }
        for account in balances.all_accounts(conn):
            if account.key.kind is AccountKind.RECEIVABLE:
                key = int(account.key.owner.removeprefix("customer:")), account.key.asset_no
                booked[key] = booked.get(key, 0) - account.balance
        back = [
            row
            for row in deposit_rows.list_deposits(
                conn, states=[DepositState.REVERSED], limit=100_000
            )
            if row.reason == decided_deposits.REAPPEARED
        ]
        dust: dict[tuple[int, int], int] = {}
        for row in deposit_rows.list_deposits(conn, states=[DepositState.DUST], limit=100_000):
            assert row.customer_no is not None
            assert row.asset_no is not None
            key = int(row.customer_no), int(row.asset_no)
            dust[key] = dust.get(key, 0) + row.amount
    must = model.expected(
        machine.world,
        owners={address: int(no) for address, no in people.addresses.items()},
        listed=listed,
        own=invariants.own_addresses(bench),
        outgoing=[
            model.Outgoing(
                int(asked.request.customer_no), int(asked.request.asset_no),
                asked.request.destination, asked.request.amount, fees[asked.request.asset_no],
            )
            for asked in people.asked
            if asked.request.destination not in people.addresses
        ],
        events=events,
        prices=model.Prices(
            int(cast.TOKEN_NO), int(cast.NATIVE_NO), cast.TICK_MINOR, cast.LOT_MINOR
        ),
    )  # fmt: skip
    with bench.db.read() as conn:
        for asked in people.asked:
            to, ask = people.addresses.get(asked.request.destination), asked.request
            made = states.by_client_id(conn, ask.customer_no, ask.client_withdrawal_id)
            if to is not None and made is not None and made.state is WithdrawalState.CONFIRMED:
                must[int(ask.customer_no), int(ask.asset_no)] -= ask.amount
                must[int(to), int(ask.asset_no)] += ask.amount
    for row in back:  # taken back, and in the chain again: a person decides whose it is
        if row.customer_no is not None and row.asset_no is not None:
            must[int(row.customer_no), int(row.asset_no)] -= row.amount
    for key in sorted({*must, *booked}):
        kept = dust.get(key, 0)
        if not 0 <= kept < 100:
            yield f"model: {kept} kept as dust of customer, asset {key}"
        if booked.get(key, 0) != must.get(key, 0) - kept:
            yield (
                f"model: customer, asset {key} must have {must.get(key, 0)} less dust {kept},"
                f" the books say {booked.get(key, 0)}"
            )


def furnish(
    seed: int, url: str, *, crash_ppm: dict[str, int], begins: bool = True, coins: bool = False
) -> World:
    """Build a world: an empty database, a young chain, people who have arrived."""
    dice = KeyedRandom(seed)
    clock = ManualClock()
    chain_world = FakeWorld(clock=clock, spends_coins=coins)
    who = cast.gather(chain_world)
    judge_db = Database.open(url, clock=clock, entropy=dice.entropy("judges"))
    judge_db.create_all()
    machine = Machine(
        url=url, dice=dice, clock=clock, world=chain_world, cast=who,
        crash=CrashPoints(dice, crash_ppm), faults=FaultScript(entropy=dice.entropy("node")),
        odds=Odds(),
    )  # fmt: skip
    people = People(machine)
    trouble = Trouble(machine)
    honest = machine.honest_chain()
    keys = account_keys(cast.local_signer(honest.traits).account_xpub)
    officers = Officers(machine)
    rulers = Rulers(machine)
    bench = Bench(machine, people, officers, rulers, judge_db, honest, keys)
    world = World(seed, machine, people, officers, trouble, rulers, bench)

    def on_death() -> None:
        with judge_db.read() as conn:
            note_crash(machine.counts, conn)

    machine.on_death = on_death
    if coins:
        trouble.held = partial(held_coins, judge_db)
    people.arrive()
    rulers.begin(judge_db)
    for wallet in (who.hot, who.gas):
        chain_world.fund(wallet, 3_000_000)
    if begins:
        people.begin()
    return world


def run(
    seed: int,
    steps: int = STEPS,
    *,
    gentle: bool = False,
    bug: str | None = None,
    crash_factor: int = 1,
    coins: bool = False,
) -> Result:
    """Run one seed to its end. A broken invariant is in `findings`, with nothing swallowed.

    coins: the chain spends coins, as for a bug that lives there only.
    """
    crash_ppm = {point: 0 if gentle else ppm * crash_factor for point, ppm in CRASH_PPM.items()}
    weights = WEIGHTS if not gentle else {k: v for k, v in WEIGHTS.items() if k in GENTLE}
    coins = coins or bug in COIN_BUGS
    with fresh_database() as url, planted(bug):
        world = furnish(seed, url, crash_ppm=crash_ppm, coins=coins)
        try:
            world.machine.crash.is_armed = not gentle
            world.machine.odds = Odds() if gentle else ROUGH
            world.live(steps, weights)
            world.end_well()
            return Result(seed, steps, closing(world.bench), world.state_hash())
        except (Broken, AssertionError, Corrupt, sa.exc.SQLAlchemyError) as error:
            finding = f"seed {seed} tick {world.ticks}: {type(error).__name__}: {error}"
            return Result(seed, steps, world.machine.counts, "", (finding,))
        finally:
            world.machine.close()
            world.bench.db.close()
