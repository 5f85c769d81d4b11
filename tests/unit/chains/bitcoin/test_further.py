"""The optional decoder: never needed, and only able to refuse."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from chains.bitcoin.further import check_further, is_installed
from chains.bitcoin.tx import parse_tx
from core.errors import Reason, Refused
from tests.support.bitcoin import HOT, OFFLINE, Wallet, sign_all


def test_the_optional_decoder_reads_the_same_or_is_not_there() -> None:
    unsigned = Wallet().draft().unsigned()
    raw = OFFLINE.assemble(unsigned, sign_all(unsigned, HOT, HOT)).raw
    tx = parse_tx(raw)
    other = replace(tx, outputs=(replace(tx.outputs[0], amount=1), *tx.outputs[1:]))
    if is_installed():
        check_further(raw, tx)
    else:
        print("bitcoinlib: not installed")
    assert "bitcoinlib" not in sys.modules, "it is read by a process of its own"
    with pytest.raises(Refused) as refused:
        check_further(raw, other)
    assert refused.value.reason is Reason.UNDECODABLE
