"""Requests that wait together are judged together: one lane per chain, one durable write per turn.

While the guard of a chain works on one batch, the next one gathers; nobody waits for a batch to
fill. Lanes do not wait for each other: a node that is slow holds up its own chain alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from app.shielded import Unexpected, shielded
from core.errors import Reason, Refused, StrongroomError, Unavailable
from core.ids import ChainId
from custody.keys.guard import SignRequest
from custody.keys.service import REQUESTS_MAX, Answer, KeyService

STOPPING = "the signer stops"
BUSY = "the signer has more requests than it can take"
BUSY_MS = 500


class SigningLanes:
    """Batches what arrives at the same time. Thread-safe."""

    def __init__(
        self,
        service: KeyService,
        chains: Sequence[ChainId],
        *,
        waiting_max: int,
        on_batch: Callable[[ChainId, int], None] = lambda _chain, _size: None,
    ) -> None:
        self._lanes = {chain: _Lane(service, chain, waiting_max, on_batch) for chain in chains}

    def start(self) -> None:
        """Start one thread per chain."""
        for lane in self._lanes.values():
            lane.start()

    def stop(self) -> None:
        """Sign nothing more once the batches under way have ended; who waits is told so."""
        for lane in self._lanes.values():
            lane.refuse()
        for lane in self._lanes.values():
            lane.join()

    def sign(self, requests: Sequence[SignRequest]) -> list[Answer]:
        """Return an answer for each request; see KeyService.sign. Unavailable: too many wait."""
        if len(requests) > REQUESTS_MAX:
            raise Refused(Reason.TOO_LARGE, f"at most {REQUESTS_MAX} requests at once")
        answers: list[Answer | None] = [
            None if request.intent.chain in self._lanes
            else Refused(Reason.UNKNOWN_CHAIN, request.intent.chain)
            for request in requests
        ]  # fmt: skip
        waiting = []
        for chain, lane in self._lanes.items():
            places = [n for n, request in enumerate(requests) if request.intent.chain == chain]
            if places:
                waiting.append((places, lane.put([requests[n] for n in places])))
        for places, future in waiting:
            for place, answer in zip(places, future.result(), strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]


@dataclass(slots=True)
class _Job:
    requests: list[SignRequest]
    future: Future[list[Answer]] = field(default_factory=Future)


class _Lane:
    def __init__(
        self,
        service: KeyService,
        chain: ChainId,
        waiting_max: int,
        on_batch: Callable[[ChainId, int], None],
    ) -> None:
        self._service = service
        self._chain = chain
        self._waiting: deque[_Job] = deque()
        self._waiting_max = waiting_max
        self._changed = threading.Condition()
        self._is_ending = False
        self._on_batch = on_batch
        self._thread = threading.Thread(target=self._run, name=f"sign.{chain}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def refuse(self) -> None:
        with self._changed:
            self._is_ending = True
            for job in self._waiting:
                job.future.set_exception(Unavailable(STOPPING))
            self._waiting.clear()
            self._changed.notify()

    def join(self) -> None:
        self._thread.join()

    def put(self, requests: list[SignRequest]) -> Future[list[Answer]]:
        """Let requests wait. Unavailable: too many do, or the signer stops."""
        job = _Job(requests)
        with self._changed:
            if self._is_ending:
                raise Unavailable(STOPPING)
            if len(self._waiting) >= self._waiting_max:
                raise Unavailable(BUSY, BUSY_MS)
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def _run(self) -> None:
        while jobs := self._take():
            self._answer(jobs)

    def _take(self) -> list[_Job]:
        """Wait for jobs and return as many as fit into a batch, in their order; none at the end."""
        jobs: list[_Job] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ending)
            while self._waiting and size + len(self._waiting[0].requests) <= REQUESTS_MAX:
                jobs.append(self._waiting.popleft())
                size += len(jobs[-1].requests)
        return jobs

    def _answer(self, jobs: list[_Job]) -> None:
        requests = [request for job in jobs for request in job.requests]
        self._on_batch(self._chain, len(requests))
        try:
            answers = iter(shielded(partial(self._service.sign, requests), "signing"))
        except StrongroomError as error:
            if isinstance(error, Unexpected) and len(jobs) > 1:
                for job in jobs:  # one of them is poison; the others are not to suffer
                    self._answer([job])
                return
            for job in jobs:
                job.future.set_exception(error)
            return
        for job in jobs:
            job.future.set_result(list(islice(answers, len(job.requests))))
