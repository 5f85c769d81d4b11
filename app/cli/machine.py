"""What a process that holds a seed asks of its machine, and what it must admit about it."""

from __future__ import annotations

import ctypes
import resource
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

_SWAPS = Path("/proc/swaps")
_PR_SET_DUMPABLE = 4


def quiet_machine() -> str:
    """Turn off core dumps and tracing of this process; return a line about what remains.

    A signal to end becomes an interrupt, so that pages are wiped and secrets overwritten.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hidden = ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    dumps = "no core dumps, not traceable" if hidden else "no core dumps"
    return f"{dumps}; {_swap()}"


def _swap() -> str:
    try:
        is_on = len(_SWAPS.read_text("ascii").splitlines()) > 1
    except OSError:
        return "whether it swaps is not known"
    return "SWAP IS ON, memory may reach a disk" if is_on else "no swap"


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
