"""A process that is asked for one withdrawal: `python -m … FOLDER NAME NONCE`, for a test."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from core.errors import Refused, Unavailable
from custody.keys.guard import sign_once
from custody.keys.store import Shelf
from tests.unit.custody.keys.guardroom import guardroom

TRIES = 600


def main(folder: Path, name: str, nonce: int) -> str:
    """Sign when told to; whoever finds the folder in use tries again."""
    shelf = Shelf(folder)
    room = guardroom(shelf)
    request = room.request(name, nonce=nonce)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(TRIES):
        try:
            return f"signed {sign_once(room.guard, request).hex()}"
        except Refused as refused:
            return f"refused {refused.reason}"
        except Unavailable:
            time.sleep(0.02)
    return "never"


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
