"""The engine's folder belongs to one process; a dead one holds it no longer."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.data_folder import FolderInUse, claim
from core.entropy import SystemEntropy

HOLD = (
    "import sys; from pathlib import Path; from app.data_folder import claim;"
    " from core.entropy import SystemEntropy\n"
    "with claim(Path(sys.argv[1]), entropy=SystemEntropy()) as identity:\n"
    "    sys.stdout.write(identity + '\\n'); sys.stdout.flush(); sys.stdin.read()"
)


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with first:
        assert first.stdout is not None
        identity = first.stdout.readline().strip()
        with pytest.raises(FolderInUse), claim(tmp_path, entropy=SystemEntropy()):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        with claim(tmp_path, entropy=SystemEntropy()) as again:
            assert again == identity


def test_two_folders_have_two_identities(tmp_path: Path) -> None:
    with (
        claim(tmp_path / "a", entropy=SystemEntropy()) as one,
        claim(tmp_path / "b", entropy=SystemEntropy()) as other,
    ):
        assert one != other
