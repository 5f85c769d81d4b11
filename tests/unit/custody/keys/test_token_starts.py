"""Many threads and processes that start together all get their signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devnet.softhsm import SoftHsm, softhsm
from tests.support.token_start import start_together
from tests.support.token_stories import filled
from tests.support.tokens import tell


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[SoftHsm]:
    with softhsm() as made:
        assert tell(filled, made, tmp_path) == "done"
        yield made


def test_32_threads_in_8_processes_start_together_without_a_failure(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    """`make campaign ARGS=signer-token` does it 100 times."""
    assert start_together(hsm, tmp_path, 10) == []


def test_processes_that_take_no_turns_fail(hsm: SoftHsm, tmp_path: Path) -> None:
    assert any(start_together(hsm, tmp_path, 1, "no-turns") for _ in range(40))


def test_a_library_that_was_promised_one_thread_does_not_stand_many(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    assert any(start_together(hsm, tmp_path, 1, "no-locks") for _ in range(40))
