"""A token in software: bare, through its signer, and through the guard with its durable store.

Bare is one thread that asks the token through python-pkcs11 and looks at nothing. SoftHSM does one
thing at a time, so more threads of it are no faster.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from custody.keys.guard import SignRequest, sign_batch
from custody.keys.signers import pkcs11_keys
from custody.keys.signers.base import ED25519, SECP256K1, KeyRef
from custody.keys.signers.pkcs11 import Pkcs11Signer, open_pkcs11_signer
from custody.keys.signers.pkcs11_lanes import Lane
from custody.keys.store import Shelf
from infra.devnet.softhsm import SoftHsm, softhsm
from tests.benchmarks.measure import Contest, Run, Timed
from tests.support.token_stories import digest, prepared
from tests.unit.custody.keys.guardroom import HOT, Guardroom, guardroom

MANY = 400
BATCH = 100
CALLERS = 2
DEPOSITS = 100
FLOOR = "the token, bare"


def contests(stack: contextlib.ExitStack) -> Iterator[Contest]:
    """Yield what is measured, one after the other."""
    hsm = stack.enter_context(softhsm())
    hsm.activate()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd() / "var")))
    for curve in (SECP256K1, ED25519):
        yield from _signer(stack, hsm, folder, curve)
    yield from _deposits(stack, hsm, folder)
    yield from _guard(stack, hsm, folder)


def _contest(
    job: str, ours: Run, floor: Run, *, goal: str = "", unit: str = "signatures"
) -> Contest:
    return Contest(
        job=f"signer: {job}",
        unit=unit,
        ours=ours,
        floor=floor,
        floor_name=FLOOR,
        goal=goal,
        wall=True,
    )


def _bare(signer: Pkcs11Signer, key: KeyRef = HOT) -> Run:
    curve = pkcs11_keys.CURVES[signer.curve]

    def work(lane: Lane) -> Timed:
        private = signer._found(lane, key)
        messages = [digest(number) for number in range(MANY)]
        before = time.perf_counter_ns()
        for message in messages:
            pkcs11_keys.sign_with(private, message, curve)
        return Timed(MANY, time.perf_counter_ns() - before)

    return lambda: signer._token.run(work)


def _signer(
    stack: contextlib.ExitStack, hsm: SoftHsm, folder: Path, curve: str
) -> Iterator[Contest]:
    signer = prepared(hsm, folder, curve=curve)
    stack.callback(signer.close)
    jobs = [(HOT, digest(number)) for number in range(MANY)]

    def one_by_one() -> int:
        for key, message in jobs:
            signer.sign(key, message)
        return MANY

    def at_once() -> int:
        for start in range(0, MANY, BATCH):
            signer.sign_many(jobs[start : start + BATCH])
        return MANY

    yield _contest(f"token, {curve}, one by one", one_by_one, _bare(signer))
    yield _contest(f"token, {curve}, {BATCH} at once", at_once, _bare(signer))


def _deposits(stack: contextlib.ExitStack, hsm: SoftHsm, folder: Path) -> Iterator[Contest]:
    jobs = [(KeyRef("deposits", number), digest(number)) for number in range(DEPOSITS)]
    numbers = itertools.count(DEPOSITS, BATCH)
    kept = prepared(hsm, folder, unwrapped_max=DEPOSITS)
    fresh = prepared(hsm, folder, unwrapped_max=0)
    for signer in (kept, fresh):
        stack.callback(signer.close)
    kept.make_keys("deposits", 0, DEPOSITS)

    def make() -> int:
        kept.make_keys("deposits", next(numbers), BATCH)
        return BATCH

    for words, signer in (("unwrapped for each", fresh), ("still unwrapped", kept)):
        run = partial(_signed, signer, jobs)
        yield _contest(f"token, wrapped deposit keys, {words}", run, _bare(signer))
    yield _contest("token, deposit keys made, durable", make, _bare(kept), unit="keys")


def _signed(signer: Pkcs11Signer, jobs: Sequence[tuple[KeyRef, bytes]]) -> int:
    return len(signer.sign_many(jobs))


def _guard(stack: contextlib.ExitStack, hsm: SoftHsm, folder: Path) -> Iterator[Contest]:
    shelf = Shelf(folder / "store")
    stack.callback(shelf.close)
    room = guardroom(shelf)
    signer = open_pkcs11_signer(
        room.chain.traits,
        module=hsm.module,
        label=hsm.label,
        pin_file=hsm.pin_file,
        folder=folder,
    )
    stack.callback(signer.close)
    signer.make_keys("hot", 0, 1)
    room = room.with_guard(signer=signer)
    room = room.with_guard(roster=room.roster())
    nonces = itertools.count()
    for words, size, callers, goal in (
        ("through the guard, one by one", 1, 1, ""),
        (f"through the guard, {BATCH} at once", BATCH, 1, "≥ 0.60"),
        (f"through the guard, {BATCH} at once from {CALLERS} callers", BATCH, CALLERS, "≥ 0.60"),
    ):
        run = _asked(room, nonces, size, callers)
        yield _contest(f"token, {words}", run, _bare(signer), goal=goal)


def _asked(room: Guardroom, nonces: Iterator[int], size: int, callers: int) -> Callable[[], Timed]:
    def run() -> Timed:
        wanted = [_request(room, next(nonces)) for _ in range(MANY)]
        batches = [wanted[start : start + size] for start in range(0, MANY, size)]
        threads = [
            threading.Thread(target=_ask, args=(room, batches[number::callers]))
            for number in range(callers)
        ]
        before = time.perf_counter_ns()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Timed(MANY, time.perf_counter_ns() - before)

    return run


def _ask(room: Guardroom, batches: Sequence[Sequence[SignRequest]]) -> None:
    for batch in batches:
        assert all(type(answer) is bytes for answer in sign_batch(room.guard, batch))


def _request(room: Guardroom, nonce: int) -> SignRequest:
    return room.request(f"wd_{nonce}", nonce=nonce)
