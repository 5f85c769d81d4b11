"""The single writer: batch -> durable journal block -> lease -> apply -> publish -> answer.

Nobody is answered and no event is published before the block is on the disk and the lease has been
checked after that. The state is recovered from the journal alone, so what was answered is kept.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from core.clock import SECOND_NS, Clock
from core.errors import Corrupt, OutcomeUnknown, Reason, Refused, StrongroomError, Unavailable
from engine.applied import AppliedBlock
from engine.base import Engine
from engine.blocks import BLOCK_RECORDS_MAX, Block
from engine.commands import Capture, Command, Credit, Debit, Hold, Release
from engine.eventlog import EventLog
from engine.events import Event, Projected
from engine.files import Storage
from engine.journal_writer import Journal
from engine.records import RECORD_BYTES, pack_command
from engine.snapshot import Snapshot, write_snapshot

BATCH_MAX = 1024
"""Most commands of one block that the writer thread takes from its queue."""
QUEUE_MAX = 16_384
"""Most commands that wait for the writer thread; who comes then is told to come again."""
LINGER_NS = 0
"""How long the writer thread waits for a batch to fill. Zero: the next batch is what gathered while
the last block was on its way to the disk, which is right unless syncs are scarce."""
LAG_EVENTS_MAX = 100_000

Answer = Future[list[Event]]


class _Waiting(NamedTuple):
    command: Command
    record: bytes
    answer: Answer


class Sequencer:
    """Owns the engine and the writing end of the journal. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        *,
        clock: Clock,
        lease: Callable[[], None],
        log: EventLog,
        engine_kind: str = "reference",
        lag_events_max: int = LAG_EVENTS_MAX,
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
        linger_ns: int = LINGER_NS,
        publish: Callable[[AppliedBlock], None] | None = None,
    ) -> None:
        """Take over an engine that stands exactly at the end of the journal.

        `lease()` raises Unavailable once this process no longer leads. `publish` gets every applied
        block, in order, before anyone is answered; it must be quick and must not raise.
        """
        assert engine.sequence == journal.end.sequence
        assert log.last_sequence == journal.end.sequence
        self.log = log
        self.engine_kind = engine_kind
        self._engine = engine
        self._journal = journal
        self._clock = clock
        self._lease = lease
        self._lag_events_max = lag_events_max
        self._batch_max = max(1, min(batch_max, BLOCK_RECORDS_MAX))
        self._queue_max = queue_max
        self._linger_ns = linger_ns
        self._publish = publish
        self._writing = threading.Lock()
        self._reading = threading.RLock()
        self._failure: StrongroomError | None = None
        self._snapshot_sequence = engine.sequence
        self._snapshot_pause_ns = 0
        self._wake = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None
        self._is_accepting = False

    # ---- the one road

    def execute(self, commands: Sequence[Command]) -> list[list[Event]]:
        """Journal, apply and publish a batch as one block; return each command's events.

        Refused: too_large, or a field that fits no record; nothing happened. Unavailable: nothing
        happened (disk full, books too far behind, stopped). OutcomeUnknown: it may have happened.
        Corrupt: a funding number leaves a gap (nothing happened), or the engine broke.
        """
        if not commands:
            return []
        if len(commands) > BLOCK_RECORDS_MAX:
            raise Refused(Reason.TOO_LARGE, f"at most {BLOCK_RECORDS_MAX} commands at once")
        records = [pack_command(command) for command in commands]
        with self._writing:
            self._check_usable(len(commands))
            number = self._engine.funding_number
            for command in commands:
                number = _next_number(command, number)
            return self._commit(b"".join(records), self._block_time_ns()).answers()

    def execute_records(self, records: bytes) -> bytes:
        """Journal, apply and publish command records as one block; return the event records.

        The columns of engine.records in and out: nothing is decoded. Refused: too_large. Corrupt:
        bytes that are no commands, or a gap in funding numbers; nothing happened. Else as execute.
        """
        if not records:
            return b""
        if len(records) > BLOCK_RECORDS_MAX * RECORD_BYTES:
            raise Refused(Reason.TOO_LARGE, f"at most {BLOCK_RECORDS_MAX} commands at once")
        with self._writing:
            self._check_usable(len(records) // RECORD_BYTES)
            time_ns = self._block_time_ns()
            first = self._engine.sequence + 1
            self._engine.check_records(records, first_sequence=first, time_ns=time_ns)
            return self._commit(records, time_ns).event_records

    def _block_time_ns(self) -> int:
        # Block time never goes back, whatever the wall clock does.
        return max(self._clock.now_ns(), self._engine.time_ns)

    def _commit(self, records: bytes, time_ns: int) -> AppliedBlock:
        block = self._journal.append(records, time_ns=time_ns)
        try:
            self._lease()
        except Unavailable as error:
            # The block is durable, but whether it counts is for the next leader to say.
            self._failure = error
            raise OutcomeUnknown(error.what) from error
        try:
            with self._reading:
                applied = apply_block(self._engine, block)
                self.log.append(applied)
                if self._publish is not None:
                    self._publish(applied)
        except Corrupt as error:
            self._failure = error
            raise
        return applied

    def _check_usable(self, commands: int) -> None:
        if self._failure is not None:
            raise Unavailable(f"the sequencer stopped: {self._failure}")
        if self.log.pending_events > self._lag_events_max:
            raise Unavailable(f"the books are {self.log.pending_events} events behind")
        # Asked now, because a block that is durable and cannot be applied would be the end.
        if not self._engine.has_room(commands):
            raise Unavailable(f"the engine has no memory for {commands} commands more")

    # ---- many callers, one writer

    def submit(self, command: Command) -> Answer:
        """Queue a command for the writer thread.

        The future gives its events, or what execute raises. A future cancelled in time is dropped.
        """
        answer: Answer = Future()
        try:
            waiting = _Waiting(command, pack_command(command), answer)
            with self._wake:
                if self._failure is not None or not self._is_accepting:
                    raise Unavailable(f"the sequencer does not run: {self._failure}")
                if len(self._waiting) >= self._queue_max:
                    raise Unavailable("too many commands are waiting")
                self._waiting.append(waiting)
                self._wake.notify()
        except (Refused, Unavailable) as error:
            answer.set_exception(error)
        return answer

    def start(self) -> None:
        """Start the writer thread, and the one that prepares room in the journal."""
        assert self._thread is None, "started twice"
        self._journal.start_preparing()
        self._is_accepting = True
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Commit what waits, end the writer thread and let go of the journal's file: for good."""
        with self._wake:
            self._is_accepting = False
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._writing:
            self._failure = self._failure or Unavailable("stopped")
            self._journal.close()

    def _run(self) -> None:
        """Take what gathered while the last block was on its way to the disk, and write it."""
        try:
            while batch := self._next_batch():
                self._answer(batch)
        finally:
            with self._wake:
                self._is_accepting = False
                while self._waiting:
                    answer = self._waiting.popleft().answer
                    if answer.set_running_or_notify_cancel():
                        answer.set_exception(Unavailable("stopped"))

    def _next_batch(self) -> list[_Waiting]:
        with self._wake:
            while not self._waiting and self._is_accepting:
                self._wake.wait()
            if self._linger_ns:
                self._wake.wait_for(self._is_batch_full, timeout=self._linger_ns / SECOND_NS)
            count = min(len(self._waiting), self._batch_max)
            return [self._waiting.popleft() for _ in range(count)]

    def _is_batch_full(self) -> bool:
        return len(self._waiting) >= self._batch_max or not self._is_accepting

    def _answer(self, batch: list[_Waiting]) -> None:
        taken = [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
        try:
            with self._writing:
                batch = self._without_gaps(taken)
                if batch:
                    self._check_usable(len(batch))
                    records = b"".join(waiting.record for waiting in batch)
                    applied = self._commit(records, self._block_time_ns())
                    for waiting, events in zip(batch, applied.answers(), strict=True):
                        waiting.answer.set_result(events)
        except (Unavailable, Corrupt) as error:
            for waiting in batch:
                waiting.answer.set_exception(error)
        finally:
            for waiting in taken:
                if not waiting.answer.done():  # something else was raised, and ends this thread
                    self._failure = self._failure or OutcomeUnknown("the writer thread broke")
                    waiting.answer.set_exception(OutcomeUnknown("the writer thread broke"))

    def _without_gaps(self, batch: list[_Waiting]) -> list[_Waiting]:
        number = self._engine.funding_number
        kept = []
        for waiting in batch:
            try:
                number = _next_number(waiting.command, number)
            except Corrupt as error:
                waiting.answer.set_exception(error)
            else:
                kept.append(waiting)
        return kept

    # ---- questions, and the state kept aside

    @property
    def failure(self) -> StrongroomError | None:
        """Return what ended this sequencer for good; None while it works."""
        return self._failure

    @property
    def last_funding_number(self) -> int:
        """Return the last funding number that the engine has used."""
        with self.reading() as engine:
            return engine.funding_number

    @property
    def known_assets(self) -> frozenset[int]:
        """Return the numbers of the assets that the engine knows."""
        with self.reading() as engine:
            return frozenset(engine.assets())

    @property
    def position(self) -> Projected:
        """Return the end of the last durable block."""
        return self._journal.end

    @contextlib.contextmanager
    def reading(self) -> Iterator[Engine]:
        """Give the engine to ask between two blocks; never wait for the disk in here."""
        with self._reading:
            yield self._engine

    @property
    def commands_since_snapshot(self) -> int:
        """Return how many commands a restart would replay beyond the last snapshot or start."""
        return self._journal.end.sequence - self._snapshot_sequence

    @property
    def snapshot_pause_ns(self) -> int:
        """Return for how long the last snapshot kept the writer waiting."""
        return self._snapshot_pause_ns

    def snapshot(self, storage: Storage) -> str:
        """Write a snapshot of the present state; return its name. Unavailable: none was written.

        The market stands still for the copy of the state alone. Dumping, hashing and writing it is
        done on the caller's thread while the writer goes on.
        """
        with self._writing:
            if self._failure is not None:
                raise Unavailable(f"the sequencer stopped: {self._failure}")
            before = self._clock.monotonic_ns()
            image, position = self._engine.copy_image(), self._journal.end
            self._snapshot_pause_ns = self._clock.monotonic_ns() - before
        snapshot = Snapshot(position=position, dump=image.dump())
        name = write_snapshot(storage, snapshot)
        self._snapshot_sequence = snapshot.position.sequence
        return name


def apply_block(engine: Engine, block: Block) -> AppliedBlock:
    """Apply a block and return what is published of it. Corrupt: the engine stands elsewhere."""
    events = engine.apply_records(
        block.records, first_sequence=block.first_sequence, time_ns=block.time_ns
    )
    return AppliedBlock(
        epoch=block.epoch,
        first_sequence=block.first_sequence,
        last_sequence=block.last_sequence,
        time_ns=block.time_ns,
        hash=block.hash,
        event_records=events,
    )


def _next_number(command: Command, number: int) -> int:
    """Return the last funding number after a command; a gap must not even reach the journal."""
    if not isinstance(command, Credit | Debit | Hold | Capture | Release):
        return number
    if command.number > number + 1:
        raise Corrupt(f"funding number {command.number} follows {number}")
    return max(number, command.number)
