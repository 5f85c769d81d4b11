"""A store that is behind its anchor, or tells another story than it, does not open or write."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.anchor import FileAnchor
from custody.keys.signing_record import GENESIS, Mark
from custody.keys.store import Store
from tests.unit.custody.keys.logbook import pair, record
from tests.unit.custody.keys.test_store import copy, disk, numbers


def test_a_store_behind_its_anchor_does_not_open(tmp_path: Path) -> None:
    storage, anchor = disk(), FileAnchor(tmp_path / "anchor")
    store = Store(storage, anchor=anchor)
    store.append([pair(1)])
    yesterday = copy(storage)
    store.append([pair(2)])
    assert anchor.read() == store.mark
    with pytest.raises(Refused) as refused:
        Store(yesterday, anchor=anchor)
    assert refused.value.reason is Reason.STALE_SIGNER
    assert numbers(yesterday) == [1]  # without the anchor nothing tells
    Store(storage, anchor=anchor)


def test_two_stores_over_one_anchor_exclude_each_other(tmp_path: Path) -> None:
    storage, anchor = disk(), FileAnchor(tmp_path / "anchor")
    Store(storage, anchor=anchor).append([pair(1)])
    first, second = Store(storage, anchor=anchor), Store(copy(storage), anchor=anchor)
    first.append([pair(2)])
    with pytest.raises(Refused) as refused:
        second.append([(record(2, amount=5), b"s" * 65)])
    assert refused.value.reason is Reason.STALE_SIGNER
    with pytest.raises(Unavailable):
        second.append([pair(3)])
    first.append([pair(3)])


def test_a_store_as_long_as_its_anchor_but_another_one_is_stale(tmp_path: Path) -> None:
    storage, anchor = disk(), FileAnchor(tmp_path / "anchor")
    Store(storage, anchor=anchor).append([pair(1)])
    fork = copy(storage)
    Store(fork).append([(record(2, amount=5), b"s" * 65)])
    Store(storage, anchor=anchor).append([pair(2)])
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            Store(fork, anchor=anchor)
        assert refused.value.reason is Reason.STALE_SIGNER
        Store(fork).append([pair(9)])  # longer than the anchor by now


def test_a_store_ahead_of_its_anchor_brings_it_up(tmp_path: Path) -> None:
    """The power went after the write and before the anchor: the log is not stale for that."""
    storage, anchor = disk(), FileAnchor(tmp_path / "anchor")
    store = Store(storage, anchor=anchor)
    store.append([pair(1)])
    Store(storage).append([pair(2)])
    assert anchor.read().position == 1
    again = Store(storage, anchor=anchor)
    assert anchor.read() == again.mark
    assert again.mark.position == 2


def test_an_anchor_that_holds_nothing_readable_is_corrupt(tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "anchor")
    anchor.advance(GENESIS, Mark(1, bytes(32)))
    (tmp_path / "anchor").write_text("7\n")
    with pytest.raises(Corrupt):
        anchor.read()
