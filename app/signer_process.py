"""The signer process: keys and guards behind a socket, and nothing of the platform beside them.

It runs until SIGTERM or SIGINT, or until it must not go on (app.ending). Stopping it stops
signatures at once: what waits is told so, what is being signed is still answered, and nothing is
lost, because asking again is always safe.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from app.ending import Stop, die, ending
from app.logs import configure_logs
from app.settings import Settings
from app.signer_clerk import Clerk, SignerMetrics
from app.signer_home import SignerHome, open_signer
from app.signer_lanes import SigningLanes
from app.signer_server import DoorRules, SignerServer
from core.clock import SystemClock
from core.errors import Refused, Unavailable

PR_SET_DUMPABLE = 4
PREPARE_PAUSE_S = 1
WATCH_S = 15
"""How often keys must really sign and nodes must still be on the pinned network."""

_log = structlog.get_logger("signer")


def run_signer(settings: Settings) -> int:
    """Be the signer process until told to stop; return the exit code.

    Refused: the keys do not open. SettingsError: something that only the signer needs is missing.
    """
    harden()
    configure_logs(process="signer", level=settings.logs.level)
    stop = Stop()
    stop.on_signals()
    with ending(stop), contextlib.ExitStack() as stack:
        home = open_signer(settings)
        stack.callback(home.close)
        if _identified(home, stop):
            _serve(settings, home, stop)
    return stop.code


def harden() -> None:
    """Keep this process's memory out of core dumps and away from other processes' debuggers."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process's memory stays readable")


def _serve(settings: Settings, home: SignerHome, stop: Stop) -> None:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = SignerMetrics(registry)
    on_corrupt = partial(die, stop=stop)
    lanes = SigningLanes(
        home.desk,
        list(home.chains),
        waiting_max=settings.signer.waiting_max,
        on_batch=metrics.batch,
    )
    clerk = Clerk(home.desk, lanes, SystemClock(), metrics, on_corrupt)
    clerk.check()
    uids = frozenset({os.geteuid(), *map(int, settings.signer.client_uids)})
    rules = DoorRules(uids=uids, connections_max=settings.signer.connections_max)
    server = SignerServer(settings.signer.socket, clerk.answer, rules=rules)
    if settings.signer.metrics_port:
        start_http_server(settings.signer.metrics_port, settings.http.host, registry)
    lanes.start()
    server.start()
    status = home.desk.status()
    _log.info("signer serves", socket=str(settings.signer.socket), position=status.position)
    try:
        while not stop.wait(WATCH_S):
            _watch(clerk, home)
    finally:
        lanes.stop()
        if not server.stop():
            _log.warning("questions were still open when the signer stopped")


def _watch(clerk: Clerk, home: SignerHome) -> None:
    try:
        clerk.check()
    except (Unavailable, Refused) as error:
        _log.error("the keys do not sign", what=str(error))
    for name, chain in home.chains.items():
        try:
            chain.check_identity()
        except Unavailable as error:
            _log.warning("an own node does not answer", chain=name, what=error.what)


def _identified(home: SignerHome, stop: Stop) -> bool:
    """Wait until every own node has said that it is on the pinned network; False: told to stop."""
    for name, chain in home.chains.items():
        while True:
            try:
                chain.check_identity()
                break
            except Unavailable as error:
                _log.warning("an own node does not answer yet", chain=name, what=error.what)
            if stop.wait(PREPARE_PAUSE_S):
                return False
    return not stop.is_set
