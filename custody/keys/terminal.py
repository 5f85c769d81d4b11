"""The seam to the person at the screen: what a ceremony and a drill say, ask and show.

What is secret is shown and typed on a page of its own that is gone afterwards; everything said
besides may be read by all. `app` has the one for a real terminal, tests have one of lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from custody.keys.secret import Secret


class Terminal(Protocol):
    """A screen and a keyboard."""

    def say(self, text: str) -> None:
        """Show a line that everybody may read."""
        ...

    def confirm(self, question: str) -> None:
        """Return when the answer is yes. Refused: rejected_by_officer."""
        ...

    def ask_secret(self, question: str) -> Secret:
        """Return a line that was typed without being shown."""
        ...

    def show_page(self, title: str, lines: Sequence[str]) -> None:
        """Show lines on a page of their own until Enter is pressed; then they are gone."""
        ...

    def ask_page(self, title: str, is_complete: Callable[[Secret], bool]) -> Secret:
        """Return what was typed, visibly, on a page of its own that is gone afterwards.

        It ends after the line that makes it complete, or with an empty line.
        """
        ...
