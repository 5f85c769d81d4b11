"""A token in software: bare, through its signer, and through the guard with its durable store.

Bare is one thread that asks the token through python-pkcs11 and looks at nothing. SoftHSM does one
thing at a time, so more threads of it are no faster.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from custody.keys.guard import Guard, SignRequest
from custody.keys.signers import pkcs11_keys
from custody.keys.signers.base import ED25519, SECP256K1, KeyRef, Signer
from custody.keys.signers.pkcs11 import Pkcs11Signer, open_pkcs11_signer
from custody.keys.signers.pkcs11_lanes import Lane
from infra.devnet.softhsm import SoftHsm, softhsm
from tests.benchmarks.measure import Contest, Fact, Run, Timed
from tests.support.token_stories import digest, prepared
from tests.unit.custody.keys.guardroom import HOT

MANY = 400
BATCH = 100
SHARE_MIN = 60
"""Per cent of the bare token's rate that batches must reach through the guard."""
DEPOSITS = 100
FLOOR = "the token, bare"


def contests(stack: contextlib.ExitStack) -> Iterator[Contest | Fact]:
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


def _guard(stack: contextlib.ExitStack, hsm: SoftHsm, folder: Path) -> Iterator[Fact]:
    from tests.benchmarks.signer import through_guard

    def signer_of(guard: Guard) -> Signer:
        signer = open_pkcs11_signer(
            guard.chain.traits,
            module=hsm.module,
            label=hsm.label,
            pin_file=hsm.pin_file,
            folder=folder,
        )
        stack.callback(signer.close)
        signer.make_keys("hot", 0, 1)
        return signer

    for batch, share_min in ((1, None), (64, SHARE_MIN), (256, SHARE_MIN)):
        yield from through_guard(
            "token", folder, batch=batch, signer_of=signer_of, bare=_bare_requests
        ).facts(share_min)


def _bare_requests(signer: Signer, requests: Sequence[SignRequest]) -> None:
    assert isinstance(signer, Pkcs11Signer)
    curve = pkcs11_keys.CURVES[signer.curve]

    def work(lane: Lane) -> None:
        private = signer._found(lane, HOT)
        for request in requests:
            pkcs11_keys.sign_with(private, request.unsigned.digest, curve)

    signer._token.run(work, patience_ms=60_000)
