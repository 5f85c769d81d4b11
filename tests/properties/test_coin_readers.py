"""Three programs read alike what we write; `make campaign ARGS=coin-readers` takes ten times it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.bitcoin.address import script_of_key
from chains.bitcoin.tx import Tx, parse_tx
from tests.support import coin_readers
from tests.support.coin_readers import address_disagreements, transaction_disagreements


def test_a_thousand_random_addresses_are_written_and_read_alike() -> None:
    assert address_disagreements(1_000, 1) == []


def test_fifty_random_transactions_are_built_signed_and_read_alike() -> None:
    assert transaction_disagreements(50, 1) == []


def test_a_wrong_script_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        coin_readers.KIND, "wpkh", (lambda key: script_of_key(key)[:-1] + b"\x00", "wpkh({})")
    )
    assert any("wpkh" in line for line in address_disagreements(40, 1))


def test_a_wrong_reading_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(raw: bytes) -> Tx:
        tx = parse_tx(raw)
        return replace(tx, outputs=tx.outputs[::-1])

    monkeypatch.setattr(coin_readers, "parse_tx", wrong)
    assert any("outputs" in line for line in transaction_disagreements(10, 1))
