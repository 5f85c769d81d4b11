"""L08: one journal gives one state, whatever the hash seed and whichever engine."""

from __future__ import annotations

from pathlib import Path

from engine.factory import EngineKind
from engine.files import DiskStorage
from tests.support.journal_hashes import HASH_SEEDS, hashes, hashes_elsewhere, make_journal

COMMANDS = 5_000


def test_L08_every_hash_seed_and_both_engines_give_the_same_hashes(tmp_path: Path) -> None:
    make_journal(tmp_path / "one", COMMANDS)
    make_journal(tmp_path / "other", COMMANDS, seed=2)
    expected = list(hashes(DiskStorage(tmp_path / "one"), EngineKind.REFERENCE))
    assert len(set(expected)) == COMMANDS // 1_000
    for hash_seed in HASH_SEEDS:
        kind = EngineKind.NATIVE if int(hash_seed) % 2 else EngineKind.REFERENCE
        assert hashes_elsewhere(tmp_path / "one", kind, hash_seed=hash_seed) == expected
    # The control: another journal has other hashes, every one.
    other = list(hashes(DiskStorage(tmp_path / "other"), EngineKind.NATIVE))
    assert len(other) == len(expected)
    assert not set(other) & set(expected)
