"""Signers behind Vault, bare: a seed opened once and Ed25519 signed inside transit, over real HTTP.

The server is the double of infra/devnet in a process of its own, or the one that VAULT_ADDR names.
The double signs faster than a real server across a network: what is measured is our side and one
local round trip. Ed25519 is measured bare: no chain of the guard's has that curve yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import hvac  # type: ignore[import-untyped]
from coincurve import PrivateKey

from custody.keys.bip32 import PrivateNode
from custody.keys.guard import Guard
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, Signer, TransitSigner, VaultSigner
from custody.keys.signers.pins import PinnedKeys
from custody.keys.signers.sealed import seal_seed
from tests.benchmarks.measure import Contest, Fact
from tests.support.vault import Server, VaultPlace, real_server
from tests.unit.custody.keys.networks import traits

KEY = KeyRef("hot", 0)
SEED = Secret(hashlib.sha256(b"a seed to measure with").digest())
LOCAL = 2_000
REMOTE = 200
BATCH = 100
OPENINGS = 30


def contests(stack: contextlib.ExitStack) -> Iterator[Contest | Fact]:
    """Yield what is measured, one after the other."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = real_server() or stack.enter_context(_double())
    place = VaultPlace(folder, server)
    path = folder / "sealed-seed"
    with place.box() as box:
        seal_seed(path, place.wallet, SEED, box)
        opened = VaultSigner.open(path, place.wallet, box, traits())
        yield _openings(path, place)
    yield _seeded(opened)
    transit = TransitSigner(
        place.session(), place.wallet, PinnedKeys(folder / "pins"), traits(curve="ed25519")
    )
    stack.callback(transit.close)
    client = hvac.Client(server.address, server.token)
    stack.callback(client.adapter.close)
    yield _one_by_one(transit, client, place)
    yield _in_batches(transit)
    yield from _guarded(path, place)


def _guarded(path: Path, place: VaultPlace) -> Iterator[Fact]:
    from tests.benchmarks.signer import BATCHES, through_guard

    def seeded(guard: Guard) -> Signer:
        with place.box() as box:
            return VaultSigner.open(path, place.wallet, box, guard.chain.traits)

    # On the disk where the store would lie: a folder in memory syncs for nothing.
    with tempfile.TemporaryDirectory(dir="var") as disk:
        for batch in (1, *BATCHES):
            name = "vault, opened seed"
            yield from through_guard(name, Path(disk), batch=batch, signer_of=seeded).facts()


def _openings(path: Path, place: VaultPlace) -> Fact:
    took_us = []
    for _ in range(OPENINGS):
        with place.box() as box:
            start = time.perf_counter_ns()
            VaultSigner.open(path, place.wallet, box, traits()).close()
            took_us.append((time.perf_counter_ns() - start) // 1_000)
    median_us, most_us = int(statistics.median(took_us)), max(took_us)
    return Fact(
        "signer", "vault: log in, open the seed, derive", f"median {median_us:,} µs",
        f"most {most_us:,} µs of {OPENINGS}", "< 100 ms, once a start", median_us < 100_000,
    )  # fmt: skip


def _seeded(signer: VaultSigner) -> Contest:
    node = PrivateNode.master(SEED)
    for step in (44, 1, 1):
        node = node.child((1 << 31) + step)
    key = PrivateKey(node.child(0).child(0)._key.secret)
    digests = [hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(LOCAL)]

    def ours() -> int:
        for digest in digests:
            signer.sign(KEY, digest)
        return LOCAL

    def floor() -> int:
        for digest in digests:
            key.sign_recoverable(digest, hasher=None)
        return LOCAL

    assert signer.sign(KEY, digests[0]) == key.sign_recoverable(digests[0], hasher=None)
    return Contest(
        "signer", "vault secp256k1, bare", ours,
        floor=floor, floor_name="coincurve, key in hand, unverified",
    )  # fmt: skip


def _one_by_one(signer: TransitSigner, client: hvac.Client, place: VaultPlace) -> Contest:
    name, message = f"{place.wallet}-hot", b"message"

    def ours() -> int:
        for _ in range(REMOTE):
            signer.sign(KEY, message)
        return REMOTE

    def peer() -> int:
        for _ in range(REMOTE):
            client.secrets.transit.sign_data(name, hash_input="bWVzc2FnZQ==", context="YQ==")
        return REMOTE

    return Contest(
        "signer", "transit ed25519, bare", ours, peer, "hvac over requests, unverified",
        goal=">= 1 x hvac", wall=True,
    )  # fmt: skip


def _in_batches(signer: TransitSigner) -> Contest:
    jobs = [(KeyRef("deposits", n), n.to_bytes(4, "big")) for n in range(BATCH)]

    def batches() -> int:
        for _ in range(10):
            signer.sign_many(jobs)
        return 10 * BATCH

    def one_by_one() -> int:
        for job in jobs:
            signer.sign(*job)
        return BATCH

    return Contest(
        "signer", f"transit ed25519, {BATCH} a request", batches, one_by_one, "one a request",
        wall=True,
    )  # fmt: skip


@contextlib.contextmanager
def _double() -> Iterator[Server]:
    command = [sys.executable, "-m", "infra.devnet.vault_double", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"(http://\S+), root token (\S+)", process.stdout.readline())
            assert found is not None
            yield Server(found[1], found[2])
        finally:
            process.terminate()
