"""Signatures per second: bare, and through the guard with two approvals and a durable record.

Keys that lie elsewhere add a row each with `through_guard`; what the guard costs is theirs alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import coincurve
from eth_account import Account

from chains.evm.decode import Fields
from chains.evm.signing import sign_fields
from custody.keys.guard import Guard, SignRequest, sign_batch
from custody.keys.signers.base import Signer
from custody.keys.store import Shelf
from tests.benchmarks import signer_token, signer_vault
from tests.benchmarks.measure import Contest, Fact, Row
from tests.unit.custody.keys.guardroom import guardroom

ROUNDS = 5
SINGLE, BATCHES = 40, (64, 256)
GUARD_NS = 300_000
"""What the guard may cost for one signature over the bare key and the disk's own sync."""
EVM_RATIO = 12
EVM_COUNT = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """Nanoseconds of wall and of processor per signature."""

    wall_ns: int
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to a signature: bare, and through the guard with `batch` at once."""

    name: str
    batch: int
    sync: Cost
    """One durable append of as many bytes, for the whole batch."""
    bare: Cost
    guarded: Cost

    @property
    def over_ns(self) -> int:
        """Return the processor's time for one signature beyond the bare key's and the sync's.

        Of what the guard waits for, there is only the one sync of a batch: tests count it.
        """
        return self.guarded.cpu_ns - self.bare.cpu_ns - self.sync.cpu_ns // self.batch

    def facts(self, share_min: int | None = None) -> Iterator[Fact]:
        """Say all of it on one line; share_min: per cent of the bare rate it must reach."""
        bare, guarded = (10**9 // cost.wall_ns for cost in (self.bare, self.guarded))
        share = 100 * guarded // max(1, bare)
        is_met = self.over_ns <= GUARD_NS
        goal = f"work <= {GUARD_NS // 1_000} us"
        if share_min is not None:
            is_met, goal = share >= share_min, f">= {share_min} % of the bare rate"
        yield Fact(
            "signer",
            f"{self.name}, {self.batch} at once",
            f"{guarded:,} /s through the guard",
            f"{bare:,} /s bare, ratio {share / 100:.2f}; the guard's work {self.over_ns // 1_000}"
            f" us; a sync of {self.batch} takes {self.sync.wall_ns // 1_000} us",
            goal,
            is_met,
        )


def through_guard(
    name: str,
    folder: Path,
    *,
    batch: int,
    signer_of: Callable[[Guard], Signer] | None = None,
    bare: Callable[[Signer, Sequence[SignRequest]], None] | None = None,
    rounds: int = ROUNDS,
) -> Measured:
    """Measure a signer bare and behind a guard whose store lies in a folder, round by round.

    signer_of makes it for the guard's chain (by default the guard's own local seed); bare has it
    sign what many requests ask for, by default one after another.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        room = guardroom(Shelf(Path(place) / "signer"))
        if signer_of is not None:
            room = room.with_guard(signer=signer_of(room.guard))
            room = room.with_guard(roster=room.roster())
        count = SINGLE if batch == 1 else max(batch, 128)
        wide = replace(room.guard.roster, limits=())
        room = room.with_guard(roster=wide)
        signer, guard = room.guard.signer, room.guard
        bares, guards, syncs = [], [], []
        for round_no in range(rounds + 1):
            first = round_no * count
            requests = [room.request(f"wd_{n}", nonce=n) for n in range(first, first + count)]
            gc.collect()
            gc.freeze()  # what was only made for the measurement is no work of the collector
            bares.append(_timed(partial(bare or _one_by_one, signer, requests), count))
            guards.append(_timed(partial(_ask, guard, requests, batch), count))
            size = (Path(place) / "signer" / "signatures").stat().st_size
            assert size > first
            syncs.append(_sync(Path(place) / "floor", 2_200 * batch))
        guard.shelf.close()
        gc.unfreeze()
    return Measured(name, batch, *map(_best, (syncs[1:], bares[1:], guards[1:])))


def contests(stack: contextlib.ExitStack) -> Iterator[Contest | Row | Fact]:
    """Yield the sync, the local keys bare and guarded, and transactions beside eth-account."""
    Path("var").mkdir(exist_ok=True)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="var")))
    for batch in (1, *BATCHES):
        yield from through_guard("local seed", folder, batch=batch).facts()
    yield _evm()
    yield from signer_token.contests(stack)
    yield from signer_vault.contests(stack)


def _one_by_one(signer: Signer, requests: Sequence[SignRequest]) -> None:
    for request in requests:
        signer.sign(request.key, request.unsigned.digest)


def _ask(guard: Guard, requests: Sequence[SignRequest], batch: int) -> None:
    for start in range(0, len(requests), batch):
        answers = sign_batch(guard, requests[start : start + batch])
        assert all(type(answer) is bytes for answer in answers), answers


def _timed(work: Callable[[], object], count: int) -> Cost:
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    work()
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    return Cost(wall // count, cpu // count)


def _sync(path: Path, size: int, times: int = 9) -> Cost:
    """Return what a durable write over zeros of this size takes, as the store makes it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(handle, bytes(size * times), 0)
        os.fsync(handle)
        return _best(
            [
                _timed(lambda: os.pwritev(handle, [b"x" * size], at, os.RWF_DSYNC), 1)  # noqa: B023
                for at in range(0, size * times, size)
            ]
        )
    finally:
        os.close(handle)


def _best(costs: Sequence[Cost]) -> Cost:
    """Return the least of each: the rest is what else the machine did."""
    return Cost(min(cost.wall_ns for cost in costs), min(cost.cpu_ns for cost in costs))


def _evm() -> Contest:
    """Return the contest of whole signed transactions; the floor is the curve's C call alone."""
    secret = b"\7" * 32
    account, key = Account.from_key(secret), coincurve.PrivateKey(secret)
    fields = [
        Fields(1, nonce, 10**9, 3 * 10**10, 21_000, bytes(range(1, 21)), 10**18, b"")
        for nonce in range(EVM_COUNT)
    ]
    asked = [
        {
            "type": 2, "chainId": 1, "nonce": one.nonce, "maxPriorityFeePerGas": one.tip_rate,
            "maxFeePerGas": one.max_rate, "gas": one.gas, "to": one.to, "value": one.value,
            "data": b"", "accessList": [],
        }
        for one in fields
    ]  # fmt: skip

    def sign(digest: bytes) -> bytes:
        return bytes(key.sign_recoverable(digest, hasher=None))

    def ours() -> int:
        for _ in range(10):
            for one in fields:
                sign_fields(one, sign)
        return 10 * EVM_COUNT

    def peer() -> int:
        for one in asked:
            account.sign_transaction(one)
        return EVM_COUNT

    def floor() -> int:
        for _ in range(10 * EVM_COUNT):
            sign(secret)
        return 10 * EVM_COUNT

    for one, same in zip(fields, asked, strict=True):
        assert sign_fields(one, sign) == bytes(account.sign_transaction(same).raw_transaction)
    return Contest(
        "signer, unwrapped key", "EVM transactions signed, identical bytes", ours, peer,
        "eth-account", floor, "coincurve alone", f">= {EVM_RATIO} x eth-account",
    )  # fmt: skip
