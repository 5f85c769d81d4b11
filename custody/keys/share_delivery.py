"""How a share reaches its holder and is read back: on the screen, or in a file for printing.

Neither logs a word, and no refusal holds one: a wrong word is named by its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from core.errors import Reason, Refused
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.secret import Secret
from custody.keys.shares import complete, facts_of, words_of
from custody.keys.terminal import Terminal

READ_BACK_TRIES = 5
COLUMNS = 3
PLACES_NAMED_MAX = 4
_COMMENT = b"#"


class Delivery(Protocol):
    """One way to hand shares out."""

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        ...

    def give(self, number: int, holder: str, share: Secret) -> None:
        """Bring a share to its holder."""
        ...

    def take_back(self, number: int, holder: str, share: Secret) -> Secret:
        """Return the share as its holder has it now. Refused: bad_share, when it differs."""
        ...


class OnScreen:
    """Every holder comes alone to the screen, writes the words down and types them back."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        return "shown to one holder at a time, and typed back by every one of them"

    def give(self, number: int, holder: str, share: Secret) -> None:
        """Show a share on a page of its own."""
        self._terminal.say(f"\n  {holder} comes to the screen; everybody else looks away.")
        self._terminal.confirm(f"Does {holder} sit here, alone, with pen and paper?")
        self._terminal.show_page(share_title(number, holder, share), share_grid(share))

    def take_back(self, number: int, holder: str, share: Secret) -> Secret:
        """Return what the holder typed, once it is the share."""
        count = len(words_of(share))
        for tries_left in reversed(range(READ_BACK_TRIES)):
            typed = self._terminal.ask_page(
                f"{holder}, read share {number} back from your paper: all {count} words.\n"
                "Four letters of a word are enough. An empty line shows the share again.",
                lambda so_far: len(so_far.reveal().split()) >= count,
            )
            if not typed.reveal().strip():
                self._terminal.show_page(share_title(number, holder, share), share_grid(share))
                continue
            wrong = _difference(typed, share)
            if wrong is None:
                return complete(typed)
            self._terminal.say(f"  {wrong}; {tries_left} tries are left")
        raise Refused(Reason.BAD_SHARE, f"{holder} did not read share {number} back")


class InFiles:
    """Every share in a file of mode 0600: for a printer on an air-gapped machine, and for tests."""

    def __init__(self, folder: Path, terminal: Terminal) -> None:
        self._folder, self._terminal = folder, terminal

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        return "written to files and read from them again; no holder typed a share back"

    def give(self, number: int, holder: str, share: Secret) -> None:
        """Write a share's file. Refused: exists_with_other_content."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        head = f"# {share_title(number, holder, share)}\n"
        write_private_file(self._path(number, holder), head.encode() + share.reveal() + b"\n")

    def take_back(self, number: int, holder: str, share: Secret) -> Secret:
        """Return what the file holds."""
        path = self._path(number, holder)
        found = read_share_file(path)
        if found != share:
            raise Refused(Reason.BAD_SHARE, f"{path} does not hold share {number}")
        self._terminal.say(f"  {path}")
        return found

    def _path(self, number: int, holder: str) -> Path:
        return self._folder / f"share-{number}-{holder}.txt"


def read_share_file(path: Path) -> Secret:
    """Return the share in a file; lines that begin with # are for people.

    Refused: forbidden (readable by others), not_found, bad_share.
    """
    lines = read_private_file(path).splitlines()
    kept = [line for line in lines if not line.startswith(_COMMENT)]
    return complete(Secret(b" ".join(kept)))


def share_title(number: int, holder: str, share: Secret) -> str:
    """Return the line over a share; nothing in it is secret."""
    facts = facts_of(share)
    return (
        f"Share {number} for {holder}: {facts.word_count} words, set {facts.identifier},"
        f" any {facts.threshold} shares restore the seed"
    )


def share_grid(share: Secret) -> Sequence[str]:
    """Return the words in numbered columns, to be copied by hand."""
    words = words_of(share)
    rows = -(-len(words) // COLUMNS)
    return [
        "".join(f"{place + 1:>4}. {words[place]:<12}" for place in range(row, len(words), rows))
        for row in range(rows)
    ]


def _difference(typed: Secret, share: Secret) -> str | None:
    """Return where a typed share differs, by places and never by letters."""
    try:
        full = complete(typed)
    except Refused as refused:
        return refused.detail
    pairs = list(zip(words_of(full), words_of(share), strict=False))
    wrong = [str(place) for place, (one, other) in enumerate(pairs, 1) if one != other]
    if len(words_of(full)) != len(words_of(share)):
        return f"{len(words_of(full))} words were typed"
    if len(wrong) > PLACES_NAMED_MAX:
        return f"not as shown: {len(wrong)} words"
    return f"not as shown: word {', '.join(wrong)}" if wrong else None
