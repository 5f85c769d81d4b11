"""A person at a terminal: a program in a pty of its own, what it shows, and what is typed.

What a program shows on the alternate screen is a page: it is gone when the page ends. The rest is
what stays on the screen and can be scrolled back to.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

PATIENCE_S = 60.0
_ALTERNATE, _NORMAL, _WIPE = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[H\x1b[2J\x1b[3J"
_LAUNCH = (
    "import fcntl, os, sys, termios\n"
    "os.setsid()\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


class Typist:
    """Somebody who reads one program's screen and types."""

    def __init__(self, handle: int, process: subprocess.Popen[bytes]) -> None:
        self._handle, self.process = handle, process
        self.shown = b""
        self._read = 0

    def wait_for(self, text: str) -> str:
        """Return what was shown up to and with a text, from where the last wait ended."""
        wanted, ends = text.encode(), time.monotonic() + PATIENCE_S
        while (found := self.shown.find(wanted, self._read)) < 0:
            assert time.monotonic() < ends, f"{text!r} did not come: {self.shown[self._read :]!r}"
            if not self._take():
                raise AssertionError(f"{text!r} did not come: {self.shown[self._read :]!r}")
        start, self._read = self._read, found + len(wanted)
        return self.shown[start : self._read].decode().replace("\r\n", "\n")

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        os.write(self._handle, line.encode() + b"\n")

    def finish(self) -> int:
        """Read to the end and return the exit code."""
        while self._take():
            pass
        return self.process.wait(PATIENCE_S)

    @property
    def pages(self) -> list[str]:
        """Return the pages that were shown and wiped."""
        found = re.findall(
            re.escape(_ALTERNATE) + b"(.*?)" + re.escape(_NORMAL), self.shown, re.DOTALL
        )
        assert all(page.startswith(_WIPE) and page.endswith(_WIPE) for page in found)
        return [page.replace(_WIPE, b"").decode().replace("\r\n", "\n") for page in found]

    @property
    def stays(self) -> str:
        """Return what can still be read on the screen afterwards."""
        pattern = re.escape(_ALTERNATE) + b".*?" + re.escape(_NORMAL)
        left = re.sub(pattern, b"", self.shown, flags=re.DOTALL)
        assert _ALTERNATE not in left, "a page was never left"
        return left.decode().replace("\r\n", "\n")

    def _take(self) -> bool:
        if not select.select([self._handle], [], [], PATIENCE_S)[0]:
            return False
        try:
            data = os.read(self._handle, 1 << 16)
        except OSError:  # the last process has closed its side
            return False
        self.shown += data
        return bool(data)


@contextmanager
def typist(*words: object, cwd: str | None = None) -> Iterator[Typist]:
    """Start `strongroom WORDS` at a terminal of its own; it does not outlive the block."""
    strongroom = os.path.join(os.path.dirname(sys.executable), "strongroom")
    command: Sequence[str] = [sys.executable, "-c", _LAUNCH, strongroom, *map(str, words)]
    mine, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, close_fds=True
        )
    finally:
        os.close(theirs)
    try:
        yield Typist(mine, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)
        os.close(mine)
