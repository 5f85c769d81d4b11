"""Keeps one server process for a parent that may die at any moment, and leaves nothing behind.

    python keeper.py [--temp FOLDER] [--signal NAME] [--grace SECONDS] [--user NAME] -- program …

The parent holds the other end of our standard input. When that closes, politely or because the
parent was killed, the server gets the signal, after the grace SIGKILL, and its folder is removed.
Should the keeper itself be killed, the kernel's parent-death signal takes the server along.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
STANDARD_INPUT = 0


def _die_with_the_keeper() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def keep(command: list[str], *, stop_signal: signal.Signals, grace_s: int, user: str | None) -> int:
    """Run command until it ends or our standard input does; return its exit code."""
    group = pwd.getpwnam(user).pw_gid if user else None
    # The keeper has one thread, so running code between fork and exec is safe here.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_the_keeper,  # noqa: PLW1509
        user=user,
        group=group,
        extra_groups=[] if user else None,
    )
    watch = os.pidfd_open(child.pid)
    ready, _, _ = select.select([STANDARD_INPUT, watch], [], [])
    if watch not in ready:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(stop_signal)
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def main() -> int:
    """Read the arguments, keep the server, clean up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--temp")
    parser.add_argument("--signal", default="SIGTERM")
    parser.add_argument("--grace", type=int, default=10)
    parser.add_argument("--user", help="drop root's rights; the folder must be that user's")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        code = keep(
            arguments.command,
            stop_signal=signal.Signals[arguments.signal],
            grace_s=arguments.grace,
            user=arguments.user,
        )
    finally:
        if arguments.temp:
            shutil.rmtree(arguments.temp, ignore_errors=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
