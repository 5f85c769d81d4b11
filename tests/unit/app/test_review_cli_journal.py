"""What a second reader found in `strongroom journal`."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from app.cli.main import app
from app.cli.output import Exit


def test_a_folder_without_a_journal_is_not_called_sound_nor_made(tmp_path: Path) -> None:
    missing = tmp_path / "mistyped"
    done = CliRunner().invoke(app, ["journal", "verify", "--folder", str(missing)])
    assert done.exit_code == Exit.NOT_FOUND, done.output
    assert "holds no journal" in done.output
    assert not missing.exists()
