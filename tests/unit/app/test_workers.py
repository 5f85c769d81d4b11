"""The loop around steps: goes on, backs off, stops politely, dies of contradicting records."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from app.metrics import StepMetrics
from app.steps import Home, Step
from app.workers import Heartbeats, Scheduler
from core.clock import SECOND_NS, SystemClock
from core.errors import Corrupt, Unavailable

WAIT_S = 10
FAST_NS = SECOND_NS // 1_000


class Script:
    """A step that does what a list says, then idles; `at` tells when each run began."""

    def __init__(self, *acts: int | Exception, then: int = 0) -> None:
        self._acts = list(acts)
        self._then = then
        self._clock = SystemClock()
        self.at: list[int] = []
        self.done = threading.Event()

    def __call__(self) -> int:
        self.at.append(self._clock.monotonic_ns())
        if not self._acts:
            self.done.set()
            return self._then
        act = self._acts.pop(0)
        if isinstance(act, Exception):
            raise act
        return act


class Room:
    """A scheduler with its witnesses."""

    def __init__(self, *, lane: str | None = None, **steps: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.heartbeats = Heartbeats(SystemClock())
        self.fatal: list[Exception] = []
        self.died = threading.Event()
        self.scheduler = Scheduler(
            [Step(name, Home.ANY, FAST_NS, run) for name, run in steps.items()],
            clock=SystemClock(),
            metrics=StepMetrics(self.registry),
            heartbeats=self.heartbeats,
            on_fatal=self._note,
            lane_of=lambda step: lane or step.name,
            backoff_ns_max=SECOND_NS // 5,
        )

    def _note(self, error: Exception) -> None:
        self.fatal.append(error)
        self.died.set()

    def runs(self, step: str, outcome: str) -> int:
        labels = {"step": step, "outcome": outcome}
        return int(self.registry.get_sample_value("strongroom_step_runs_total", labels) or 0)


@contextmanager
def running(*, lane: str | None = None, **steps: Callable[[], int]) -> Iterator[Room]:
    room = Room(lane=lane, **steps)
    room.scheduler.start()
    try:
        yield room
    finally:
        assert room.scheduler.stop(wait_s=WAIT_S) == []


def test_a_step_with_work_runs_again_at_once_and_an_idle_one_waits() -> None:
    script = Script(*[1] * 200)
    with running(busy=script) as room:
        assert script.done.wait(WAIT_S)
    assert room.runs("busy", "worked") == 200
    assert room.runs("busy", "idle") >= 1
    assert script.at[200] - script.at[0] < 200 * FAST_NS * 50


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(Unavailable("node"), "unavailable"), (ZeroDivisionError("bug"), "error")],
)
def test_a_failing_step_is_tried_again_ever_more_slowly_and_heals(
    error: Exception, outcome: str
) -> None:
    script, other = Script(*[error] * 3), Script()
    with running(weak=script, strong=other) as room:
        assert script.done.wait(WAIT_S)
        assert room.runs("weak", outcome) == 3
        assert room.fatal == []
    (beat,) = [beat for beat in room.heartbeats.all() if beat.step == "weak"]
    assert (beat.outcome, beat.failures) == ("idle", 0)
    assert room.runs("strong", "idle") > 1
    if outcome == "error":
        pauses = [later - earlier for earlier, later in zip(script.at, script.at[1:], strict=False)]
        assert pauses[0] >= SECOND_NS // 10


def test_contradicting_records_stop_the_whole_process_and_are_told_once() -> None:
    broken, other = Script(Corrupt("sums differ")), Script()
    with running(broken=broken, other=other) as room:
        assert room.died.wait(WAIT_S)
    assert [str(error) for error in room.fatal] == ["sums differ"]
    assert len(broken.at) == 1
    (beat,) = [beat for beat in room.heartbeats.all() if beat.step == "broken"]
    assert (beat.outcome, beat.what) == ("corrupt", "sums differ")


def test_stopping_lets_a_run_end_and_names_the_one_that_does_not() -> None:
    release, entered = threading.Event(), threading.Event()

    def slow() -> int:
        entered.set()
        release.wait(WAIT_S)
        return 0

    room = Room(slow=slow)
    room.scheduler.start()
    assert entered.wait(WAIT_S)
    assert room.scheduler.stop(wait_s=0) == ["slow"]
    release.set()
    assert room.scheduler.stop(wait_s=WAIT_S) == []


def test_a_heartbeat_ages_until_the_step_runs_again() -> None:
    script = Script()
    room = Room(one=script)
    assert room.heartbeats.age_ns("one") is None
    room.heartbeats.beat("one", "idle")
    first = room.heartbeats.age_ns("one")
    assert first is not None
    SystemClock().sleep(2 * FAST_NS)
    (health,) = room.heartbeats.health()
    assert health.age_ns >= first + 2 * FAST_NS


def test_steps_of_one_lane_take_turns_and_none_starves() -> None:
    inside = threading.Lock()
    met: list[str] = []

    def alone(script: Script) -> Callable[[], int]:
        def run() -> int:
            if not inside.acquire(blocking=False):
                met.append("two at once")
                return script()
            with contextlib.closing(Releasing(inside)):
                return script()

        return run

    busy, weak, idle = Script(*[1] * 300), Script(*[Unavailable("node")] * 2), Script()
    with running(lane="one", busy=alone(busy), weak=alone(weak), idle=alone(idle)) as room:
        assert busy.done.wait(WAIT_S)
        assert weak.done.wait(WAIT_S)
    assert met == []
    assert room.runs("weak", "unavailable") == 2
    assert len([at for at in idle.at if at < busy.at[-1]]) >= 1


class Releasing:
    """Releases a lock when it is closed."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def close(self) -> None:
        self._lock.release()
