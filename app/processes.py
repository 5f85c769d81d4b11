"""The two processes: the engine with its API, and the worker with everything else.

Each runs until SIGTERM or SIGINT, or until it must not go on; app.ending has the exit codes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from app.api.context import ApiContext, Check
from app.bootstrap import Platform
from app.data_folder import JOURNAL_NAME, claim
from app.ending import EXIT_AGAIN, Stop, die, ending
from app.engine_home import EngineKnobs, SnapshotKeeper, open_engine
from app.logs import configure_logs
from app.metrics import PlatformCollector, StepMetrics
from app.migrating import require_current
from app.opening import list_everything, open_platform
from app.serving import serve
from app.settings import Settings
from app.settings_passkeys import party_of
from app.steps import Home, Step, engine_steps, worker_steps
from app.workers import Heartbeats, Scheduler
from core.clock import SECOND_NS
from core.errors import Corrupt, Refused, Unavailable
from custody import chain_state, heartbeats, lease
from custody.lease import Lease, LeaseLost
from custody.spending.drive import Problem
from engine import tapes
from engine.base import Engine
from engine.factory import EngineKind, engine_factory
from engine.files import DiskStorage
from engine.marketdata import MarketData
from engine.sequencer import Sequencer

MILLISECOND_NS = 1_000_000
WATCH_NS = SECOND_NS // 10
LEASE_RENEWALS = 4
"""Renewals within the life of a lease."""
PREPARE_PAUSE_S = 1
HEARTBEAT_NS = 2 * SECOND_NS
SILENCE_NS_MAX = 15 * SECOND_NS
"""A worker that has not reported for so long counts as dead."""
FAILURES_MAX = 5
"""A step that failed so often in a row makes the process unready."""
SIGNER_STEP = "signer.check"
SIGNER_NS = 5 * SECOND_NS
BOOKS_LANE = "books"
REPORTS_NAME, LEAVES_NAME = "reports", "leaves"

_log = structlog.get_logger("process")


def run_engine(settings: Settings) -> int:
    """Be the engine process until told to stop; return the exit code."""
    configure_logs(process="engine", level=settings.logs.level)
    stop = Stop()
    stop.on_signals()
    with ending(stop), contextlib.ExitStack() as stack:
        platform = open_platform(settings)
        stack.callback(platform.close)
        require_current(platform.db)
        identity = stack.enter_context(claim(settings.data.folder, entropy=platform.entropy))
        held = lease.take(
            platform.db,
            holder=identity,
            clock=platform.clock,
            duration_ns=settings.engine.lease_ms * MILLISECOND_NS,
            wait_ns=2 * settings.engine.lease_ms * MILLISECOND_NS,
            is_dead=lambda holder: holder == identity,
        )
        stack.callback(_release, held)
        stack.enter_context(_renewing(held, stop, settings))
        if _prepare(settings, platform, stop):
            _lead(settings, platform, held, stop)
    return stop.code


def run_worker(settings: Settings) -> int:
    """Be the worker process until told to stop; return the exit code."""
    configure_logs(process="worker", level=settings.logs.level)
    stop = Stop()
    stop.on_signals()
    with ending(stop), contextlib.ExitStack() as stack:
        platform = open_platform(settings)
        stack.callback(platform.close)
        require_current(platform.db)
        if _prepare(settings, platform, stop):
            registry, beats = _registry(platform), Heartbeats(platform.clock)
            steps = [*worker_steps(platform, _note), _report_step(platform, "worker", beats)]
            scheduler = _scheduler(platform, steps, registry, beats, stop)
            if settings.worker.metrics_port:
                start_http_server(settings.worker.metrics_port, settings.http.host, registry)
            scheduler.start()
            _log.info("worker runs", steps=len(steps))
            stop.wait()
            _say_late(scheduler.stop())
    return stop.code


def _lead(settings: Settings, platform: Platform, held: Lease, stop: Stop) -> None:
    """Recover the engine, run its steps and serve the API until stop is set."""
    storage = DiskStorage(settings.data.folder / JOURNAL_NAME)
    market_data = MarketData()

    def begin(engine: Engine) -> None:
        market_data.begin(engine)
        tapes.recall(storage, market_data, factory=engine_factory(_knobs(settings).kind))

    sequencer = open_engine(
        platform,
        storage,
        lease=held,
        knobs=_knobs(settings),
        begin=begin,
        publish=market_data.apply,
    )
    _log.info(
        "engine recovered",
        engine=sequencer.engine_kind,
        epoch=held.epoch,
        sequence=sequencer.position.sequence,
    )
    archive = settings.engine.journal_archive
    keeper = SnapshotKeeper(
        sequencer,
        storage,
        clock=platform.clock,
        every_commands=settings.engine.snapshot_commands,
        every_ns=settings.engine.snapshot_s * SECOND_NS,
        prunes_journal=settings.engine.journal_keep == "needed",
        archive=None if archive is None else DiskStorage(archive),
        keep_beside=lambda: tapes.keep(storage, market_data),
    )
    sequencer.start()
    registry, beats = _registry(platform, sequencer), Heartbeats(platform.clock)
    scheduler = _scheduler(
        platform,
        _all_engine_steps(platform, sequencer, keeper, held, beats, stop),
        registry,
        beats,
        stop,
    )
    scheduler.start()
    context = ApiContext(
        platform=platform,
        sequencer=sequencer,
        market_data=market_data,
        on_corrupt=lambda error: die(error, stop),
        registry=registry,
        checks=_checks(platform, beats),
        reports_folder=settings.data.folder / REPORTS_NAME,
        leaves_folder=settings.data.folder / LEAVES_NAME,
        passkeys=party_of(settings.passkeys),
    )
    # Imported here, because the worker has no use for a web framework.
    from app.api.app import create_app

    host, port = settings.http.host, settings.http.port
    try:
        serve(
            create_app(context), host=host, port=port, stop=stop,
            ready=lambda: _log.info("api listens", url=f"http://{host}:{port}"),
        )  # fmt: skip
    finally:
        stop.set(EXIT_AGAIN)
        _say_late(scheduler.stop())
        sequencer.stop()


def _knobs(settings: Settings) -> EngineKnobs:
    engine = settings.engine
    return EngineKnobs(
        kind=EngineKind(engine.kind),
        reserve_orders=engine.reserve_orders,
        lag_events_max=engine.lag_events_max,
        batch_max=engine.batch_max,
        queue_max=engine.queue_max,
        linger_ns=engine.linger_us * 1_000,
        segment_bytes_max=engine.segment_bytes,
    )


def _all_engine_steps(
    platform: Platform,
    sequencer: Sequencer,
    keeper: SnapshotKeeper,
    held: Lease,
    beats: Heartbeats,
    stop: Stop,
) -> list[Step]:
    def watch() -> int:
        failure = sequencer.failure
        if isinstance(failure, Corrupt):
            raise failure
        if failure is not None and not stop.is_set:
            _log.error("the sequencer stopped", what=str(failure))
            stop.set(EXIT_AGAIN)
        return 0

    def ask_signer() -> int:
        try:
            platform.signer.check()
        except Refused as refused:
            raise Unavailable(str(refused)) from refused
        return 0

    return [
        *engine_steps(platform, sequencer, sequencer.log, epoch=held.epoch),
        Step("engine.watch", Home.ENGINE, WATCH_NS, watch),
        Step("engine.snapshot", Home.ENGINE, SECOND_NS, keeper.step),
        Step(SIGNER_STEP, Home.ENGINE, SIGNER_NS, ask_signer),
        _report_step(platform, "engine", beats),
    ]


def _scheduler(
    platform: Platform,
    steps: list[Step],
    registry: CollectorRegistry,
    beats: Heartbeats,
    stop: Stop,
) -> Scheduler:
    return Scheduler(
        steps,
        clock=platform.clock,
        metrics=StepMetrics(registry),
        heartbeats=beats,
        on_fatal=lambda error: die(error, stop),
        lane_of=lambda step: _lane_of(step, platform),
    )


def _lane_of(step: Step, platform: Platform) -> str:
    """Return the lane of a step: the steps of a chain take turns, and so do those of the books."""
    first = step.name.partition(".")[0]
    if first in platform.chains:
        return first
    return BOOKS_LANE if step.name in ("funding", "settlement") else step.name


def _checks(platform: Platform, beats: Heartbeats) -> dict[str, Check]:
    """Return the readiness checks that know of processes and steps."""

    def worker() -> str | None:
        with platform.db.read() as conn:
            found = heartbeats.processes(conn, now_ns=platform.clock.now_ns())
        ages = [one.age_ns for one in found if one.process == "worker"]
        if not ages:
            return "no worker ever reported"
        return None if min(ages) < SILENCE_NS_MAX else f"silent for {min(ages) // SECOND_NS} s"

    def steps() -> str | None:
        failing = [
            beat.step
            for beat in beats.all()
            if beat.failures >= FAILURES_MAX and beat.step != SIGNER_STEP
        ]
        return f"failing: {', '.join(failing)}" if failing else None

    def signer() -> str | None:
        found = [beat for beat in beats.all() if beat.step == SIGNER_STEP]
        if not found:
            return "not asked yet"
        return found[0].what if found[0].failures else None

    return {"worker": worker, "signer": signer, "steps": steps}


def _registry(platform: Platform, sequencer: Sequencer | None = None) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(PlatformCollector(platform, sequencer))
    return registry


def _report_step(platform: Platform, process: str, beats: Heartbeats) -> Step:
    def report() -> int:
        now_ns = platform.clock.now_ns()
        heartbeats.report(platform.db, process, beats.health(), now_ns=now_ns)
        return 0

    return Step(f"{process}.heartbeat", Home.ANY, HEARTBEAT_NS, report)


def _prepare(settings: Settings, platform: Platform, stop: Stop) -> bool:
    """List what the data files say; False when the process was told to stop meanwhile.

    A dead node holds up only the very first start: afterwards trading goes on without it.
    """
    while not stop.is_set:
        try:
            list_everything(settings, platform)
            return True
        except Unavailable as error:
            _log.warning("not everything could be prepared", what=error.what)
        with contextlib.suppress(Unavailable), platform.db.read() as conn:
            if set(platform.chains) <= set(chain_state.registered(conn)):
                return True
        stop.wait(PREPARE_PAUSE_S)
    return False


@contextlib.contextmanager
def _renewing(held: Lease, stop: Stop, settings: Settings) -> Iterator[None]:
    """Renew the lease in a thread of its own until the block ends; losing it ends the process."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(settings.engine.lease_ms / 1_000 / LEASE_RENEWALS):
            try:
                held.renew()
            except LeaseLost as error:
                _log.error("the lease is lost", what=error.what)
                stop.set(EXIT_AGAIN)
                return
            except Unavailable as error:
                _log.warning("the lease was not renewed", what=error.what)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _release(held: Lease) -> None:
    with contextlib.suppress(Unavailable):
        held.release()


def _note(problem: Problem) -> None:
    _log.warning("a spend waits", spend=problem.spend_id, why=problem.why)


def _say_late(names: list[str]) -> None:
    if names:
        _log.warning("steps still run while the process ends", steps=names)
