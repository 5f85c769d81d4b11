"""What a process tells Prometheus: strongroom_…, in seconds; no label names a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.bootstrap import Platform
from core.clock import SECOND_NS
from core.errors import StrongroomError
from core.ids import ChainId
from custody import chain_state, funding, settlement
from custody.spending import rows as spends
from custody.wallets import addresses, rederive
from custody.withdrawals import states
from engine.sequencer import Sequencer

BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class StepMetrics:
    """Counts runs of steps."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "strongroom_step_runs", "Runs of a step", ("step", "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "strongroom_step_seconds",
            "Time of one run",
            ("step",),
            buckets=BUCKETS,
            registry=registry,
        )

    def observe(self, step: str, outcome: str, seconds: float) -> None:
        """Note one run."""
        self._runs.labels(step, outcome).inc()
        self._seconds.labels(step).observe(seconds)


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """One chain as the database has it."""

    chain: ChainId
    followed_height: int
    final_height: int
    head_age_s: int
    frozen: bool
    open_incidents: int
    bad_addresses: int
    pending_addresses: int


class PlatformCollector(Collector):
    """Gauges that are read when they are asked for; a database that does not answer gives none."""

    def __init__(self, platform: Platform, sequencer: Sequencer | None = None) -> None:
        self._platform = platform
        self._sequencer = sequencer

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge."""
        up = GaugeMetricFamily("strongroom_database_up", "1 when the database answers")
        try:
            gauges = list(self._gather())
        except StrongroomError:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        yield from gauges

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: names are known only when asked."""
        return iter(())

    def _gather(self) -> Iterator[Metric]:
        with self._platform.db.read() as conn:
            yield from _chains(
                [chain_facts(conn, chain, self._now_s()) for chain in chain_state.registered(conn)]
            )
            yield _gauge(
                "strongroom_funding_pending", "Funding rows not yet booked", funding.pending(conn)
            )
            yield _by_state("strongroom_withdrawals", states.withdrawals.c.state, conn)
            yield _by_state("strongroom_spends", spends.spends.c.state, conn)
            position = settlement.position(conn)
        yield _gauge("strongroom_projector_sequence", "Booked up to", position.sequence)
        if self._sequencer is not None:
            head = self._sequencer.position.sequence
            yield _gauge("strongroom_engine_sequence", "Last durable command", head)
            lag = max(0, head - position.sequence)
            yield _gauge("strongroom_projector_lag", "Commands not yet booked", lag)
            kind = GaugeMetricFamily(
                "strongroom_engine_info", "Which engine matches", labels=("engine",)
            )
            kind.add_metric((self._sequencer.engine_kind,), 1)
            yield kind
            failed = self._sequencer.failure is not None
            yield _gauge("strongroom_engine_failed", "1 when it stopped for good", int(failed))

    def _now_s(self) -> int:
        return self._platform.clock.now_ns() // SECOND_NS


def chain_facts(conn: sa.Connection, chain: ChainId, now_s: int) -> ChainFacts:
    """Return how far a chain is followed."""
    state, cursor = chain_state.state(conn, chain), chain_state.cursor(conn, chain)
    time_s = conn.execute(
        sa.select(sa.func.max(chain_state.blocks.c.time_s)).where(
            chain_state.blocks.c.chain == chain
        )
    ).scalar_one_or_none()
    incidents = conn.execute(
        sa.select(sa.func.count()).where(
            chain_state.incidents.c.chain == chain, chain_state.incidents.c.closed_at_ns.is_(None)
        )
    ).scalar_one()
    return ChainFacts(
        chain=chain,
        followed_height=-1 if cursor is None else cursor.height,
        final_height=-1 if state.final is None else state.final.height,
        head_age_s=-1 if time_s is None else max(0, now_s - time_s),
        frozen=state.frozen,
        open_incidents=incidents,
        bad_addresses=rederive.bad_addresses(conn, chain),
        pending_addresses=addresses.count_pending(conn, chain),
    )


def _chains(facts: list[ChainFacts]) -> Iterator[Metric]:
    for name, about in (
        ("followed_height", "Newest followed block"),
        ("final_height", "Newest final block"),
        ("head_age_s", "Age of the newest followed block; -1: none"),
        ("frozen", "1 when frozen"),
        ("open_incidents", "Incidents nobody closed"),
        ("bad_addresses", "Addresses that do not derive again or were not attested; page on 1"),
        ("pending_addresses", "Addresses that wait for the signer's attestation"),
    ):
        shown = name.removesuffix("_s") + ("_seconds" if name.endswith("_s") else "")
        family = GaugeMetricFamily(f"strongroom_chain_{shown}", about, labels=("chain",))
        for one in facts:
            family.add_metric((one.chain,), int(getattr(one, name)))
        yield family


def _gauge(name: str, about: str, value: int) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _by_state(name: str, column: sa.Column[str], conn: sa.Connection) -> Metric:
    family = GaugeMetricFamily(name, "Rows by state", labels=("state",))
    query = sa.select(column, sa.func.count()).group_by(column).order_by(column)
    for state, count in conn.execute(query):
        family.add_metric((state,), count)
    return family
