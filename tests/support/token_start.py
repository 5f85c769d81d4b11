"""32 threads and 8 processes open one token at the same instant and sign, again and again.

`python -m tests.support.token_start FOLDER LABEL SIGNERS ROUNDS [fault]`. The process that runs
this has loaded everything but has never touched the library. In each round it forks processes that
wait for a word and start threads, of which each opens, signs with a hot and a deposit key, checks
and closes; then each process starts a few times more. Prints a JSON list of what went wrong.

The faults are the controls: `no-turns` lets processes start without taking turns, `no-locks`
initialises the library as python-pkcs11 does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import StrongroomError
from custody.keys.signers import pkcs11_module, pkcs11_token
from custody.keys.signers.base import KeyRef
from infra.devnet.softhsm import SoftHsm
from tests.support.token_stories import opened, signs
from tests.support.tokens import ROOT


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many come at once."""

    processes: int = 8
    threads: int = 32
    starts: int = 4
    """How often each process then initialises the library and logs in once more."""
    sessions: int = 4
    alarm_s: int = 120


CROWDS = {
    "": Crowd(),
    "no-turns": Crowd(threads=1, starts=12),
    "no-locks": Crowd(processes=2, threads=8, starts=0, alarm_s=5),
}


def start_together(hsm: SoftHsm, folder: Path, rounds: int, fault: str = "") -> list[str]:
    """Run the rounds in a process of their own and return what went wrong."""
    words = [sys.executable, "-m", "tests.support.token_start"]
    words += [str(hsm.folder), hsm.label, str(folder), str(rounds), fault]
    done = subprocess.run(
        words, env=hsm.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _round(hsm: SoftHsm, folder: Path, number: int, crowd: Crowd) -> list[str]:
    ready, go = os.pipe()
    children = []
    for place in range(crowd.processes):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(go)
            found = ["did not come to an end"]
            try:
                os.read(ready, 1)
                found = _process(hsm, folder, number * crowd.processes + place, crowd)
            finally:
                os.write(write, json.dumps(found).encode()[:60_000])
                os._exit(0)
        os.close(write)
        children.append((child, read))
    os.close(ready)
    os.close(go)  # everybody reads the end of the pipe at once
    found = []
    for place, (child, read) in enumerate(children):
        with os.fdopen(read, "rb") as stream:
            said = stream.read()
        _, status = os.waitpid(child, 0)
        if status or not said:
            found.append(f"round {number}, process {place}: ended with {status}")
        else:
            found += [f"round {number}, process {place}: {words}" for words in json.loads(said)]
    return found


def _process(hsm: SoftHsm, folder: Path, number: int, crowd: Crowd) -> list[str]:
    found: list[str] = []
    together = threading.Barrier(crowd.threads)

    def work(place: int) -> None:
        together.wait()
        try:
            signer = opened(hsm, folder, patience_ms=60_000, sessions=crowd.sessions)
            for key in (KeyRef("hot", 0), KeyRef("deposits", place % 3)):
                signs(signer, number * crowd.threads + place, key)
            signer.close()
        except StrongroomError as error:
            found.append(f"{type(error).__name__}: {error}")

    threads = [
        threading.Thread(target=work, args=(place,), daemon=True) for place in range(crowd.threads)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + crowd.alarm_s
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        return [*found, "threads did not come to an end"]
    return found + [words for again in range(crowd.starts) if (words := _start(hsm, folder, again))]


def _start(hsm: SoftHsm, folder: Path, number: int) -> str:
    pkcs11_module.load_module(hsm.module).is_ready = False
    try:
        signer = opened(hsm, folder)
        signs(signer, number)
        signer.close()
    except StrongroomError as error:
        return f"{type(error).__name__}: {error}"
    return ""


@contextlib.contextmanager
def _no_turns(_: object, __: object) -> Iterator[None]:
    yield


def main(words: list[str]) -> int:
    """Run the rounds that the command line asks for."""
    hsm, folder, rounds = SoftHsm(Path(words[0]), words[1]), Path(words[2]), int(words[3])
    fault = words[4] if words[4:] else ""
    if fault == "no-turns":
        pkcs11_module.Module.starting = _no_turns  # type: ignore[method-assign, assignment]
        pkcs11_token.START_TRIES = 1
    elif fault == "no-locks":
        pkcs11_module.CKF_OS_LOCKING_OK = 0
    found = [
        words for number in range(rounds) for words in _round(hsm, folder, number, CROWDS[fault])
    ]
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
