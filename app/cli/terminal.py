"""The real terminal of a ceremony: the person at /dev/tty, wherever output was redirected to.

Secrets are shown and typed on the terminal's alternate screen, which keeps no lines to scroll back
to, and it is wiped before it is left. What records the whole terminal from outside (a session
recorder, a camera, a remote desktop) cannot be seen from here.
"""

from __future__ import annotations

import contextlib
import os
import termios
from collections.abc import Callable, Iterator, Sequence

import typer

from core.errors import Reason, Refused
from custody.keys.secret import Secret

TERMINAL = "/dev/tty"
LINE_BYTES_MAX = 4_096
PAGE_BYTES_MAX = 1 << 16
_ALTERNATE, _NORMAL = b"\x1b[?1049h", b"\x1b[?1049l"
_WIPE = b"\x1b[H\x1b[2J\x1b[3J"


class TtyTerminal:
    """A terminal with somebody in front of it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def say(self, text: str) -> None:
        """Show a line that everybody may read."""
        self._write(text.encode() + b"\n")

    def confirm(self, question: str) -> None:
        """Return when the answer is yes. Refused: rejected_by_officer."""
        self._write(f"{question} [yes/no] ".encode())
        if self._line().strip().lower() not in (b"yes", b"y"):
            raise Refused(Reason.REJECTED_BY_OFFICER, "answered with no")

    def ask_secret(self, question: str) -> Secret:
        """Return a line that was typed without being shown."""
        with self._without_echo():
            self._write(question.encode())
            line = self._line()
        self._write(b"\n")
        return Secret(line)

    def show_page(self, title: str, lines: Sequence[str]) -> None:
        """Show lines on the alternate screen until Enter is pressed."""
        with self._page(), self._without_echo():
            text = "\n".join([title, "", *lines, "", "Written down? Enter wipes this page. "])
            self._write(text.encode())
            self._line()

    def ask_page(self, title: str, is_complete: Callable[[Secret], bool]) -> Secret:
        """Return what was typed on the alternate screen, until complete or an empty line."""
        typed = b""
        with self._page():
            self._write(title.encode() + b"\n\n")
            while len(typed) < PAGE_BYTES_MAX:
                line = self._line()
                typed += line + b"\n"
                if not line.strip() or is_complete(Secret(typed)):
                    break
        return Secret(typed)

    def close(self) -> None:
        """Let go of the terminal."""
        os.close(self._handle)

    def _line(self) -> bytes:
        # os.read on a terminal in its line mode returns one line; nothing is kept in a buffer.
        try:
            line = os.read(self._handle, LINE_BYTES_MAX)
        except OSError:
            line = b""
        if not line:
            raise Refused(Reason.REJECTED_BY_OFFICER, "the terminal was closed")
        return line.rstrip(b"\r\n")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._handle, data) :]

    @contextlib.contextmanager
    def _page(self) -> Iterator[None]:
        self._write(_ALTERNATE + _WIPE)
        try:
            yield
        finally:
            self._write(_WIPE + _NORMAL)

    @contextlib.contextmanager
    def _without_echo(self) -> Iterator[None]:
        before = termios.tcgetattr(self._handle)
        quiet = [*before]
        quiet[3] &= ~termios.ECHO
        termios.tcsetattr(self._handle, termios.TCSAFLUSH, quiet)
        try:
            yield
        finally:
            termios.tcsetattr(self._handle, termios.TCSAFLUSH, before)


class NobodyThere:
    """No terminal: nothing secret is shown or asked, and nobody can be asked for a yes."""

    def say(self, text: str) -> None:
        """Write a line to standard error."""
        typer.echo(text, err=True)

    def confirm(self, question: str) -> None:
        """Go on: whoever started this without a terminal has answered."""
        self.say(f"{question} (unattended)")

    def ask_secret(self, question: str) -> Secret:
        """Refused: forbidden."""
        raise Refused(Reason.FORBIDDEN, f"{question.strip(': ')} is typed on a terminal only")

    def show_page(self, title: str, lines: Sequence[str]) -> None:
        """Refused: forbidden."""
        del title, lines
        raise Refused(Reason.FORBIDDEN, "a secret is shown on a terminal only")

    def ask_page(self, title: str, is_complete: Callable[[Secret], bool]) -> Secret:
        """Refused: forbidden."""
        del title, is_complete
        raise Refused(Reason.FORBIDDEN, "a secret is typed on a terminal only")

    def close(self) -> None:
        """Nothing to let go of."""


def open_terminal() -> TtyTerminal | None:
    """Return the controlling terminal of this process, None when it has none."""
    try:
        handle = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    return TtyTerminal(handle)
