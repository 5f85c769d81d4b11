"""Where in a TOML file something stands, for complaints; the parser itself does not tell."""

from __future__ import annotations

import re
from collections import Counter

_ENTRY = re.compile(r"\s*\[\[\s*([A-Za-z0-9_-]+)\s*\]\]")
_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


class Lines:
    """Line numbers of the tables and keys of a document written in the usual way."""

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, str], int] = {}
        seen: Counter[str] = Counter()
        place = ""
        for number, line in enumerate(text.splitlines(), 1):
            if entry := _ENTRY.match(line):
                place = entry_place(entry[1], seen[entry[1]])
                seen[entry[1]] += 1
                self._found[place, ""] = number
            elif table := _TABLE.match(line):
                place = table[1]
                self._found[place, ""] = number
            elif key := _KEY.match(line):
                self._found.setdefault((place, key[1]), number)

    def of(self, place: str, key: str = "") -> int:
        """Return the line of a key, else of its table, else of the key of the table's name."""
        table = place.partition("[")[0]
        for wanted in ((place, key), (place, ""), ("", table), ("", key)):
            if wanted in self._found:
                return self._found[wanted]
        return 1


def entry_place(table: str, number: int) -> str:
    """Return the name of one entry of an array of tables."""
    return f"{table}[{number}]"
