"""Tokens in software for tests: one that a whole test process shares, and children with their own.

A PKCS#11 library belongs to a process and reads its configuration when it is initialised, so one
process sees one folder of tokens.
"""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.devnet.softhsm import SoftHsm

ROOT = Path(__file__).resolve().parent.parent.parent


@functools.cache
def process_token() -> SoftHsm:
    """Return the token of this test process; it goes with the process. Nobody breaks it."""
    hsm = SoftHsm.make()
    atexit.register(hsm.remove)
    hsm.activate()
    return hsm


def tell(function: Callable[..., object], hsm: SoftHsm, folder: Path, *words: str) -> Any:
    """Run a story in a process of its own, on tokens of its own, and return what it returns.

    The story is a function of a module of the tests, is given the token, the signer's folder and
    the words, and returns what JSON can carry. AssertionError carries what it wrote when it failed.
    """
    program = (
        "import json, os, sys; from pathlib import Path;"
        "from infra.devnet.softhsm import SoftHsm;"
        f"from {function.__module__} import {function.__name__} as story;"
        "hsm = SoftHsm(Path(sys.argv[1]), sys.argv[2]);"
        "told = story(hsm, Path(sys.argv[3]), *sys.argv[4:]);"
        "print(json.dumps(told), flush=True);"
        "os._exit(0)"  # a library with functions of Python's in it cannot outlive Python
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(hsm.folder), hsm.label, str(folder), *words],
        env=hsm.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])
