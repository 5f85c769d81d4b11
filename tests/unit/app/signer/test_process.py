"""What the signer's process is made of, and what it gives away: nothing."""

from __future__ import annotations

import subprocess
import sys


def said_by(program: str) -> str:
    """Run a program in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_database_no_web_framework_and_no_other_room_is_part_of_the_signer() -> None:
    loaded = set(
        said_by(
            "import sys, app.signer_process\n"
            "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
        ).split()
    )
    strangers = {"sqlalchemy", "psycopg", "sqlite3", "fastapi", "granian", "httpx", "celery"}
    assert not loaded & (strangers | {"indexers", "sweeper"})
    rooms = said_by(
        "import sys, app.signer_process\n"
        "print(*[name for name in sys.modules if name.startswith('custody.')])"
    ).split()
    assert {name.split(".")[1] for name in rooms} == {"keys", "policy"}


def test_a_hardened_process_leaves_no_core_and_is_not_dumpable() -> None:
    said = said_by(
        "import ctypes, resource\n"
        "from app.signer_process import harden\n"
        "libc = ctypes.CDLL(None)\n"
        "before = libc.prctl(3, 0, 0, 0, 0)\n"
        "harden()\n"
        "print(before, libc.prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert said.split() == ["1", "0", "0", "0"]
