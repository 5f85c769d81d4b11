"""Where a leaked secret would lie: files of a folder, a running process, a database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tests.support.canaries import spellings

CHUNK = 8 << 20
PAGE = 4_096
EMPTY = bytes(PAGE)


def files_with(
    folder: Path, secrets: Mapping[str, bytes], *, ignore: Collection[Path] = ()
) -> dict[str, set[str]]:
    """Return which secrets stand in which files below a folder, whatever the files are."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(path.is_relative_to(one) for one in ignore):
            names = _found(_chunks_of(path), secrets)
            if names:
                found[str(path.relative_to(folder))] = names
    return found


def process_with(pid: int, secrets: Mapping[str, bytes]) -> set[str]:
    """Return which secrets a process has: its memory as a core would show it, words, environment.

    Like a core dump it takes everything that is mapped and can be written, stacks and heaps first
    of all; pages of files that nobody wrote to are on the disk anyway.
    """
    process = Path(f"/proc/{pid}")
    found = _found(_memory_of(process), secrets)
    for name in ("cmdline", "environ"):
        found |= _found([(process / name).read_bytes()], secrets)
    return found


def memory_size(pid: int) -> int:
    """Return how many bytes of a process are searched."""
    return sum(len(chunk) for chunk in _memory_of(Path(f"/proc/{pid}")))


def dump_of(database: Path) -> str:
    """Return the statements that would make a SQLite database again."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        text = "\n".join(connection.iterdump())
    connection.close()
    return text


def _found(chunks: Iterator[bytes] | list[bytes], secrets: Mapping[str, bytes]) -> set[str]:
    needles = [(name, one) for name, secret in secrets.items() for one in spellings(secret)]
    longest = max(len(one) for _, one in needles)
    found: set[str] = set()
    kept = b""
    for chunk in chunks:
        text = kept + chunk
        found.update(name for name, one in needles if name not in found and one in text)
        kept = text[-longest:]
    return found


def _chunks_of(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except FileNotFoundError:
        return  # a running process may remove what it had


def _memory_of(process: Path) -> Iterator[bytes]:
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            place, access, *_ = line.split()
            if not access.startswith("rw"):
                continue
            first, end = (int(part, 16) for part in place.split("-"))
            yield from _region(memory.fileno(), first, end)


def _region(handle: int, first: int, end: int) -> Iterator[bytes]:
    for start in range(first, end, CHUNK):
        try:
            chunk = os.pread(handle, min(CHUNK, end - start), start)
        except OSError:
            return  # mapped and not readable, or gone again
        pages = (chunk[at : at + PAGE] for at in range(0, len(chunk), PAGE))
        yield b"".join(page for page in pages if page != EMPTY)
