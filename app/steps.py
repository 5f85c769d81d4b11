"""Every background job as a named step.

One bounded unit of work, driven by threads, Celery or the simulator.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from app.bootstrap import ChainHome, Platform, release_of
from app.engine_home import configure
from app.wallet_steps import wallet_jobs
from core.clock import SECOND_NS
from core.errors import Unavailable
from core.ids import ChainId
from custody import funding, pending, publishing_step, settlement, stops
from custody.screening import cases
from custody.settlement import EventLog
from custody.spending import drive
from custody.spending.drive import Note, Problem
from custody.wallets.rederive import AddressWatch, Completion
from custody.withdrawals import batching, execute, inside, workflow
from custody.withdrawals.releasing import Gate
from engine.sequencer import Sequencer
from indexers import finality, follow, reconcile
from sweeper import run as sweeps

FOLLOW_BURST = 64
"""Blocks that one run of the follower may read before it lets others work."""


class Home(enum.StrEnum):
    """Where a step may run: beside the engine, or in any worker."""

    ENGINE = "engine"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Step:
    """A job. run() returns how much it did; 0 means that there was nothing to do."""

    name: str
    home: Home
    interval_ns: int
    run: Callable[[], int]


def engine_steps(
    platform: Platform, sequencer: Sequencer, log: EventLog, *, epoch: int | None = None
) -> list[Step]:
    """Return the steps that need the engine: funding and settlement, which books for an epoch."""
    return [
        Step(
            "funding",
            Home.ENGINE,
            SECOND_NS // 50,
            lambda: funding.step(
                platform.db, sequencer, list_assets=lambda: configure(platform, sequencer)
            ),
        ),
        Step(
            "settlement",
            Home.ENGINE,
            SECOND_NS // 50,
            lambda: settlement.step(platform.db, log, epoch=epoch),
        ),
    ]


def worker_steps(platform: Platform, note: Note) -> list[Step]:
    """Return the steps of every configured chain, and the chain-less ones."""
    steps = [
        Step("policies.publish", Home.ANY, SECOND_NS, lambda: _publish(platform)),
        Step("withdrawals.expire", Home.ANY, 5 * SECOND_NS, lambda: _expire(platform)),
        Step("stops.tell", Home.ANY, SECOND_NS, lambda: _tell_stops(platform, note)),
    ]
    if platform.providers:
        steps.append(
            Step("screening.ask", Home.ANY, SECOND_NS, lambda: _screen(platform, note)),
        )
    for chain_id, home in platform.chains.items():
        steps += _chain_steps(platform, chain_id, home, note)
        steps += _address_steps(platform, chain_id, home)
    return steps


def _chain_steps(platform: Platform, chain_id: ChainId, home: ChainHome, note: Note) -> list[Step]:
    db, clock, chain = platform.db, platform.clock, home.chain
    release = release_of(platform)
    fast, slow = SECOND_NS // 4, 5 * SECOND_NS
    jobs: list[tuple[str, int, Callable[[], int]]] = [
        ("follow", fast, lambda: _follow(platform, home)),
        ("finality", fast, lambda: finality.step(db, chain, clock=clock)),
        ("pending", slow, lambda: pending.step(db, chain, clock=clock)),
        (
            "withdrawals.plan",
            fast,
            lambda: _plan(platform, home, note),
        ),
        ("withdrawals.settle_inside", fast, lambda: _settle_inside(platform, chain_id, note)),
        (
            "spending.move",
            fast,
            lambda: drive.step(
                db, chain, release=release, clock=clock, note=note, patience=home.patience
            ),
        ),
        ("spending.settle", fast, lambda: drive.settle_step(db, chain, clock=clock, note=note)),
        (
            "sweeps.plan",
            slow,
            lambda: sweeps.step(db, chain, rules=home.sweeps, clock=clock, note=note),
        ),
        ("reconcile", 6 * slow, lambda: _reconcile(platform, home)),
        ("identity", 12 * slow, lambda: _identity(home)),
        *wallet_jobs(platform, home, note),
    ]
    return [Step(f"{chain_id}.{name}", Home.ANY, every, run) for name, every, run in jobs]


def _address_steps(platform: Platform, chain_id: ChainId, home: ChainHome) -> list[Step]:
    """Return the steps over a chain's own addresses; they take no turns with the chain's."""
    db, clock = platform.db, platform.clock

    def key() -> bytes:
        return platform.attestation_key

    def judge() -> int:
        watch.step(db, clock=clock)
        return 0  # the pace is the interval's, whatever is found

    def second(account: str, index: int) -> bytes:
        if not home.makes_keys:
            return home.public_key_again(account, index)
        with db.read() as conn:  # made one by one: there is the signer's proof, and no other road
            return platform.keys_in(home, conn)(account, index)

    def contracts() -> dict[str, str]:
        return {row.wallet: row.address for row in platform.roster.wallets_of(chain_id)}

    watch = AddressWatch(home.chain, key, second, contracts=contracts)
    stock = platform.stock_of(home)
    completion = Completion(home.chain, platform.signer, key)
    every = 5 * SECOND_NS
    jobs: dict[str, Callable[[], int]] = {
        "attest": lambda: completion.step(db, clock=clock),
        "rederive": judge,
    }
    if home.makes_keys:
        jobs["make_keys"] = lambda: stock.step(db, clock=clock)
    return [
        Step(f"addresses.{chain_id}.{name}", Home.ANY, every, run) for name, run in jobs.items()
    ]


def _plan(platform: Platform, home: ChainHome, note: Note) -> int:
    """Plan what waits: together where the chain has batches, the rest one by one."""
    return sum(
        plan(
            platform.db, home.chain, roster=platform.roster, terms=home.terms,
            clock=platform.clock, note=note,
        )
        for plan in (batching.step, execute.step)
    )  # fmt: skip


def _follow(platform: Platform, home: ChainHome) -> int:
    moved = 0
    for _ in range(FOLLOW_BURST):
        done = follow.step(
            platform.db, home.chain, clock=platform.clock, start_height=home.start_height
        )
        if done.progress in (follow.Progress.IDLE, follow.Progress.FROZEN):
            break
        moved += 1
    return moved


def _publish(platform: Platform) -> int:
    return publishing_step.step(platform.db, platform.signer, clock=platform.clock)


def _expire(platform: Platform) -> int:
    return platform.db.run(lambda conn: workflow.expire(conn, now_ns=platform.clock.now_ns()))


def _tell_stops(platform: Platform, note: Note) -> int:
    return stops.step(
        platform.db, platform.signer, platform.roster, clock=platform.clock,
        note=lambda stop_id, why: note(Problem(stop_id, why)),
    )  # fmt: skip


def _reconcile(platform: Platform, home: ChainHome) -> int:
    try:
        result = reconcile.step(platform.db, home.chain, clock=platform.clock)
    except Unavailable:
        return 0
    return len(result.unexplained)


def _settle_inside(platform: Platform, chain_id: ChainId, note: Note) -> int:
    return inside.step(
        platform.db,
        chain_id,
        may=Gate(platform.roster, platform.home(chain_id).terms, platform.clock),
        attestation_key=lambda: platform.attestation_key,
        clock=platform.clock,
        note=note,
    )


def _screen(platform: Platform, note: Note) -> int:
    return cases.step(
        platform.db,
        platform.providers,
        clock=platform.clock,
        note=lambda withdrawal_id, why: note(Problem(withdrawal_id, why)),
    )


def _identity(home: ChainHome) -> int:
    home.chain.check_identity()
    return 0
