"""The node of the coin network answers when it is handed over and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.devnet import coin_nodes
from infra.devnet.coin_nodes import check_binary, start_core
from infra.devnet.nodes import NodesNotInstalled


def test_a_node_makes_blocks_and_goes_with_its_folder() -> None:
    with start_core() as node:
        assert node.height() == 0
        assert len(node.mine(3)) == 3
        assert node.height() == 3
        folder = node.process.folder
        assert oct((folder / "bitcoin.conf").stat().st_mode)[-3:] == "600"
    assert not folder.exists()
    assert not node.process.is_running


def test_only_the_pinned_binary_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "bitcoind"
    monkeypatch.setattr(coin_nodes, "BITCOIND", other)
    for content in (None, b"#!/bin/sh\n"):
        if content:
            other.write_bytes(content)
        check_binary.cache_clear()
        with pytest.raises(NodesNotInstalled):
            start_core()
    check_binary.cache_clear()
