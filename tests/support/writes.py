"""What this process opens for writing, seen by the interpreter's own audit events."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = frozenset({"os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate"})
_watchers: list[list[str]] = []
_installed: list[bool] = []


@contextmanager
def written_paths() -> Iterator[list[str]]:
    """Lend the list of paths that are opened for writing, or made, until the block ends."""
    if not _installed:
        sys.addaudithook(_note)  # a hook cannot be taken away; it is idle while nobody watches
        _installed.append(True)
    found: list[str] = []
    _watchers.append(found)
    try:
        yield found
    finally:
        _watchers.remove(found)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if not _watchers:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & _WRITING
        if not (writes or (isinstance(mode, str) and set(mode) & set("wax+"))):
            return
        text = str(path)
    elif event in _CHANGES and not isinstance(arguments[0], int):
        text = str(arguments[0])
    else:
        return
    for found in _watchers:
        found.append(text)
