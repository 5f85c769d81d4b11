"""The tree is tidy, and every rule of tidiness can fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tidy import PRODUCT_ROOMS, RULES, complaints

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (*PRODUCT_ROOMS, "infra", "tests")
SOLIDITY = ("contracts/src",)


def python_files() -> Iterator[Path]:
    """Yield every Python file of the repository."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield path


def test_the_tree_is_tidy() -> None:
    found = [
        str(complaint)
        for path in python_files()
        for complaint in complaints(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


def test_contracts_keep_the_same_line_length() -> None:
    for folder in SOLIDITY:
        files = sorted((ROOT / folder).rglob("*.sol"))
        assert files, f"no contracts under {folder}"
        for path in files:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                assert len(line) <= 100, f"{path}:{number}"


def test_every_room_is_typed_and_has_files() -> None:
    for room in PRODUCT_ROOMS:
        assert (ROOT / room / "py.typed").is_file(), f"{room} has no py.typed"
        assert (ROOT / room / "__init__.py").is_file(), f"{room} is not a package"


def test_no_python_file_lies_outside_the_known_folders() -> None:
    seen = {path.name for path in ROOT.glob("*.py")}
    assert not seen, f"{seen} would not be checked by anything"


def test_clean_code_gives_no_complaint() -> None:
    text = "import os\n\ndef f(amount: int) -> int:\n    try:\n        return amount + 1\n"
    text += "    except ValueError:\n        return 0\n"
    assert complaints("custody/ledger/post.py", text) == []


BROKEN = [
    ("line longer than 100", "core/x.py", f"x = '{'a' * 100}'\n"),
    ("file longer than 400 lines", "tests/unit/x.py", "x = 1\n" * 401),
    ("function longer than 70 lines", "tests/x.py", "def f():\n" + "    x = 1\n" * 70),
    ("float( in a money room", "custody/x.py", "x = float('1')\n"),
    ("float( in a money room", "chains/evm/x.py", "x = [float(y) for y in z]\n"),
    ("print( in a product room", "app/cli/x.py", "print('hello')\n"),
    ("wall clock read outside core/clock.py", "engine/x.py", "import time\nx = time.time()\n"),
    ("wall clock read outside core/clock.py", "engine/x.py", "from time import time_ns\n"),
    ("wall clock read outside core/clock.py", "app/x.py", "x = datetime.now(UTC)\n"),
    ("wall clock read outside core/clock.py", "app/x.py", "x = datetime.datetime.utcnow()\n"),
    ("randomness drawn outside core/entropy.py", "sweeper/x.py", "import random\n"),
    ("randomness drawn outside core/entropy.py", "custody/x.py", "from random import choice\n"),
    ("randomness drawn outside core/entropy.py", "custody/x.py", "x = os.urandom(8)\n"),
    ("randomness drawn outside core/entropy.py", "custody/x.py", "x = secrets.token_hex(8)\n"),
    ("environment read outside app", "chains/rpc.py", "x = os.environ['HOME']\n"),
    ("environment read outside app", "custody/x.py", "from os import environ\n"),
    ("chain named outside chains", "custody/x.py", '"""Derive an Ethereum address."""\n'),
    ("chain named outside chains", "app/x.py", "import chains.evm\n"),
    ("chain named outside chains", "engine/x.py", "bitcoind = 1\n"),
    (
        "broad except outside app/workers.py",
        "app/x.py",
        "try:\n    f()\nexcept Exception:\n    g()\n",
    ),
    ("broad except outside app/workers.py", "core/x.py", "try:\n    f()\nexcept:\n    g()\n"),
    (
        "broad except outside app/workers.py",
        "core/x.py",
        "with suppress(BaseException):\n    f()\n",
    ),
    ("test skipped or expected to fail", "tests/x.py", "@pytest.mark.skipif(x)\ndef f(): ...\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN)
def test_a_broken_rule_is_reported_and_no_other(rule: str, path: str, text: str) -> None:
    assert {complaint.rule for complaint in complaints(path, text)} == {rule}


def test_every_rule_has_a_case_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("core/clock.py", "import time\nx = time.time_ns()\n"),
        ("core/entropy.py", "import os\nx = os.urandom(8)\n"),
        ("app/settings.py", "import os\nx = os.environ\n"),
        ("app/api/x.py", "x = float('1')\n"),
        ("app/workers.py", "try:\n    f()\nexcept Exception:\n    g()\n"),
        ("chains/evm/x.py", "x = 'ethereum'\n"),
        ("infra/devnet/x.py", "print('solana')\n"),
        ("tests/x.py", "import random\nprint(float(1))\n"),
        ("custody/x.py", "import time\nx = time.monotonic()\n"),
        ("custody/x.py", "some_evmlike = relevm = 1\n"),
    ],
)
def test_what_a_rule_allows_is_not_reported(path: str, text: str) -> None:
    assert complaints(path, text) == []
