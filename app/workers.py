"""A process is a loop around steps: at their intervals, backing off on errors.

Steps of one lane take turns in one thread: they touch the same rows, and side by side they would
only abort each other. Lanes do not wait for each other.

This is the only place that catches what it cannot name: one broken step must not stop the others.
Corrupt is different: our own records contradict each other, so the whole process stops and a person
must look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from app.metrics import StepMetrics
from app.steps import Step
from core.clock import SECOND_NS, Clock
from core.errors import Corrupt, Unavailable
from custody.heartbeats import StepHealth

BACKOFF_NS_MAX = 15 * SECOND_NS
BURST_MAX = 1_000
"""Runs without a pause while there is work, before others are let in."""
STOP_WAIT_S = 30
MILLISECOND_NS = 1_000_000

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Beat:
    """How a step did last."""

    step: str
    at_ns: int
    """Monotonic time of the end of its last run, whatever its outcome."""
    outcome: str
    failures: int
    """Runs in a row that failed; 0 after a good one."""
    what: str = ""


class Heartbeats:
    """Last runs by step; written by the loops, read by health checks. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._beats: dict[str, Beat] = {}

    def beat(self, step: str, outcome: str, *, failures: int = 0, what: str = "") -> None:
        """Note the end of a run."""
        with self._lock:
            self._beats[step] = Beat(step, self._clock.monotonic_ns(), outcome, failures, what)

    def all(self) -> list[Beat]:
        """Return the last run of every step, by name."""
        with self._lock:
            return [self._beats[name] for name in sorted(self._beats)]

    def health(self) -> tuple[StepHealth, ...]:
        """Return every step as other processes may know it."""
        now_ns = self._clock.monotonic_ns()
        return tuple(
            StepHealth(one.step, now_ns - one.at_ns, one.outcome, one.failures, one.what)
            for one in self.all()
        )

    def age_ns(self, step: str) -> int | None:
        """Return how long ago a step ended a run; None: never."""
        with self._lock:
            found = self._beats.get(step)
        return None if found is None else self._clock.monotonic_ns() - found.at_ns


@dataclass(slots=True)
class _Turn:
    """A step and when it is due."""

    step: Step
    due_ns: int = 0
    failures: int = 0
    burst: int = 0


class Scheduler:
    """Runs steps until it is told to stop, or until one of them finds our records corrupt."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        clock: Clock,
        metrics: StepMetrics,
        heartbeats: Heartbeats,
        on_fatal: Callable[[Exception], None],
        lane_of: Callable[[Step], str] = lambda step: step.name,
        backoff_ns_max: int = BACKOFF_NS_MAX,
    ) -> None:
        """`on_fatal` is called once, from a step's thread, with what stops the process."""
        self._lanes: dict[str, list[_Turn]] = {}
        for step in steps:
            self._lanes.setdefault(lane_of(step), []).append(_Turn(step))
        self._clock = clock
        self._metrics = metrics
        self._heartbeats = heartbeats
        self._on_fatal = on_fatal
        self._backoff_ns_max = backoff_ns_max
        self._stopping = threading.Event()
        self._fatal = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start one thread per lane."""
        assert not self._threads, "started twice"
        self._threads = [
            threading.Thread(target=self._loop, args=(turns,), name=lane, daemon=True)
            for lane, turns in self._lanes.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, *, wait_s: int = STOP_WAIT_S) -> list[str]:
        """Let every step end its run; return the lanes that did not in time."""
        self._stopping.set()
        deadline_ns = self._clock.monotonic_ns() + wait_s * SECOND_NS
        for thread in self._threads:
            left_ns = max(0, deadline_ns - self._clock.monotonic_ns())
            thread.join(left_ns / SECOND_NS)
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _loop(self, turns: list[_Turn]) -> None:
        while not self._stopping.is_set():
            turn = min(turns, key=lambda one: one.due_ns)
            wait_ns = turn.due_ns - self._clock.monotonic_ns()
            if wait_ns > 0:
                self._stopping.wait(wait_ns / SECOND_NS)
            else:
                pause_ns = self._run(turn)
                turn.due_ns = self._clock.monotonic_ns() + pause_ns

    def _run(self, turn: _Turn) -> int:
        """Run a step once; return how long it rests."""
        step, started_ns = turn.step, self._clock.monotonic_ns()
        try:
            done = step.run()
        except Corrupt as error:
            self._note(step, "corrupt", started_ns, turn.failures + 1, str(error))
            self._die(step, error)
        except Unavailable as error:
            turn.failures += 1
            self._note(step, "unavailable", started_ns, turn.failures, error.what)
            asked_ns = error.retry_after_ms * MILLISECOND_NS
            return min(self._backoff(turn), max(asked_ns, step.interval_ns))
        except Exception as error:
            turn.failures += 1
            self._note(step, "error", started_ns, turn.failures, repr(error))
            _log.exception("step failed", step=step.name, failures=turn.failures)
            return self._backoff(turn)
        else:
            turn.failures = 0
            turn.burst = turn.burst + 1 if done else 0
            self._note(step, "worked" if done else "idle", started_ns, 0, "")
            if turn.burst % BURST_MAX:
                return 0
        return step.interval_ns

    def _note(self, step: Step, outcome: str, started_ns: int, failures: int, what: str) -> None:
        took_ns = self._clock.monotonic_ns() - started_ns
        self._metrics.observe(step.name, outcome, took_ns / SECOND_NS)
        self._heartbeats.beat(step.name, outcome, failures=failures, what=what)
        if outcome == "unavailable" and failures & (failures - 1) == 0:
            _log.warning("step waits", step=step.name, failures=failures, what=what)

    def _backoff(self, turn: _Turn) -> int:
        first_ns = max(turn.step.interval_ns, SECOND_NS // 10)
        return min(self._backoff_ns_max, first_ns << min(turn.failures, 16))

    def _die(self, step: Step, error: Corrupt) -> None:
        _log.critical("step found contradicting records", step=step.name, what=str(error))
        self._stopping.set()
        if self._fatal.acquire(blocking=False):
            self._on_fatal(error)
