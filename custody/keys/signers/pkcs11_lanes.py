"""A few threads that talk to a token, so that no caller waits longer than it wants to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

from core.errors import Corrupt, StrongroomError, Unavailable

T = TypeVar("T")


class Lane:
    """A thread's session and the handles that it found; they end with the session."""

    def __init__(self) -> None:
        self.opened: tuple[int, int] | None = None
        self.session: Any = None
        self.handles: dict[str, Any] = {}
        self.unwrapped: dict[bytes, Any] = {}
        """Session objects by what they were unwrapped from, the one used longest ago first."""


class Job(Generic[T]):
    """One piece of work, on its way from a caller to a lane and back."""

    def __init__(self, work: Callable[[Lane], T]) -> None:
        self.work = work
        self.result: list[T] = []
        self.error: StrongroomError | None = None
        self.state = threading.Lock()
        self.is_begun = self.is_given_up = self.is_done = False
        self.done = threading.Lock()
        self.done.acquire()

    def begin(self) -> bool:
        """Return whether the caller still waits."""
        with self.state:
            self.is_begun = not self.is_given_up
            return self.is_begun

    def give_up(self) -> bool:
        """Say that nobody waits any more; return whether the work is under way."""
        with self.state:
            self.is_given_up = not self.is_done
            return self.is_begun and not self.is_done

    def is_under_way(self) -> bool:
        """Return whether it has not come back."""
        with self.state:
            return self.is_begun and not self.is_done

    def end(self) -> bool:
        """Let the caller go on; return whether it still waits."""
        with self.state:
            self.is_done = True
        self.done.release()
        return not self.is_given_up


Attempt: TypeAlias = Callable[[Callable[[Lane], Any], Lane], Any]
"""What does work in a lane and raises a StrongroomError when it cannot."""


class Lanes:
    """The threads of one token and the queue before them."""

    def __init__(
        self, name: str, count: int, attempt: Attempt, when_late: Callable[[], None]
    ) -> None:
        self._name, self._count = name, count
        self._attempt, self._when_late = attempt, when_late
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._hiring = threading.Lock()
        self._late: Job[Any] | None = None
        self._is_closed = False

    def run_each(self, works: Iterable[Callable[[Lane], T]], *, patience_ms: int) -> Iterator[T]:
        """Yield what each work returns, in order, after drawing and beginning all of them.

        Unavailable: an answer took longer than patience_ms, or an earlier one still does.
        """
        if self._is_closed:
            raise Unavailable("the token was closed")
        late = self._late
        if late is not None:
            if late.is_under_way():
                raise Unavailable("the token has not answered an earlier call", patience_ms)
            self._late = None
        self._hire()
        return self._results(works, patience_ms)

    def _results(self, works: Iterable[Callable[[Lane], T]], patience_ms: int) -> Iterator[T]:
        jobs: list[Job[T]] = []
        try:
            for work in works:
                jobs.append(Job(work))
                self._jobs.put(jobs[-1])
            for job in jobs:
                if not job.done.acquire(timeout=patience_ms / 1_000):
                    if job.give_up():
                        self._late = job
                    raise Unavailable("the token does not answer", patience_ms)
                if job.error is not None:
                    raise job.error
                if not job.result:
                    raise Corrupt("a thread that talks to the token ended by a fault of ours")
                yield job.result[0]
        finally:
            for job in jobs:
                job.give_up()

    def close(self, patience_ms: int) -> None:
        """End the threads after what they are doing."""
        self._is_closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(patience_ms / 1_000)

    def _hire(self) -> None:
        if len(self._threads) == self._count:
            return
        with self._hiring:
            while len(self._threads) < self._count:
                name = f"{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self) -> None:
        lane, jobs = Lane(), self._jobs
        while (job := jobs.get()) is not None:
            if not job.begin():
                continue
            try:
                if self._is_closed:
                    raise Unavailable("the token was closed")
                job.result.append(self._attempt(job.work, lane))
            except StrongroomError as error:
                job.error = error
            finally:
                if not job.end():
                    self._when_late()
