"""Tokens in software for tests: one that a whole test process shares, and children with their own.

A PKCS#11 library belongs to a process and reads its configuration when it is initialised, so one
process sees one folder of tokens.
"""

from __future__ import annotations

import atexit
import functools

from infra.devnet.softhsm import SoftHsm


@functools.cache
def process_token() -> SoftHsm:
    """Return the token of this test process; it goes with the process. Nobody breaks it."""
    hsm = SoftHsm()
    atexit.register(hsm.remove)
    hsm.activate()
    return hsm
