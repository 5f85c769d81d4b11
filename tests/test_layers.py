"""The four import contracts hold, and each of them can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("core", "engine", "chains", "custody", "indexers", "sweeper", "app")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the tree in folder with this repository's contracts."""
    # The editable install leads imports to this tree, wherever the linter runs: without it, then.
    code = "import sys; sys.path.insert(0, '.'); sys.meta_path[:] = [f for f in sys.meta_path"
    code += (
        " if 'Redirecting' not in type(f).__name__]; from importlinter.cli import lint_imports; "
    )
    code += "sys.exit(lint_imports(no_cache=True, no_logo=True))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """A house of empty rooms under the real contracts."""
    for room in (*ROOMS, "custody/ledger", "custody/keys", "chains/somewhere"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    (tmp_path / "chains/base.py").touch()
    (tmp_path / "custody/db.py").touch()
    (tmp_path / "tests/support").mkdir(parents=True)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    shutil.copy(ROOT / "tests/support/layers.py", tmp_path / "tests/support")
    return tmp_path


def test_the_four_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 kept, 0 broken" in result.stdout


def test_allowed_imports_are_kept(small_house: Path) -> None:
    (small_house / "custody/verb.py").write_text("import chains.base\nimport engine\n")
    (small_house / "custody/ledger/post.py").write_text(
        "import json\nimport sqlalchemy\nimport core\nimport custody.db\nimport custody.ledger\n"
    )
    (small_house / "app/api.py").write_text("import fastapi\nimport chains.somewhere\n")
    result = lint(small_house)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("core/x.py", "import engine", "Imports point downwards"),
        ("engine/x.py", "import chains.base", "Imports point downwards"),
        ("chains/x.py", "import engine", "Imports point downwards"),
        ("indexers/x.py", "import sweeper", "Imports point downwards"),
        ("custody/x.py", "import app", "Imports point downwards"),
        ("custody/x.py", "import chains.somewhere", "see of the chains only the seam"),
        ("indexers/x.py", "from chains import somewhere", "see of the chains only the seam"),
        ("sweeper/x.py", "from chains.somewhere import y", "see of the chains only the seam"),
        ("custody/x.py", "import fastapi", "Only app imports the web framework"),
        ("engine/x.py", "from starlette import routing", "Only app imports the web framework"),
        ("indexers/x.py", "import celery", "Only app imports the web framework"),
        ("custody/ledger/x.py", "import custody.keys", "The ledger imports only"),
        ("custody/ledger/x.py", "import engine", "The ledger imports only"),
        ("custody/ledger/x.py", "import web3", "The ledger imports only"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    small_house: Path, file: str, line: str, contract: str
) -> None:
    (small_house / file).write_text(f"{line}\n")
    result = lint(small_house)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [row for row in result.stdout.splitlines() if row.endswith("BROKEN")]
    assert len(broken) == 1, result.stdout
    assert contract in broken[0]


def test_a_contract_about_a_room_that_is_gone_is_broken(small_house: Path) -> None:
    shutil.rmtree(small_house / "custody/ledger")
    result = lint(small_house)
    assert result.returncode == 1
    assert "custody.ledger does not exist" in result.stdout
