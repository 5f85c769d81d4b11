"""A full block of slots: payments to watched addresses out of a node's answer, beside solders.

Ours reads every transaction's bytes by its own parser, takes a fingerprint of all effects for the
comparison with other nodes, and judges what touches us. The peers stop at the keys of every
transaction and the owners of token accounts.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
from solders.rpc.responses import GetBlockResp
from solders.transaction import VersionedTransaction

from chains.solana.blocks import read_contents
from chains.solana.payments import Watch, plan_payments
from tests.benchmarks.measure import Contest, Row, measure
from tests.benchmarks.solana_blocks import Filled, filled

OF_JSON = 10


def contests(_stack: contextlib.ExitStack) -> Iterator[Row]:
    """Yield a row beside solders and one beside json."""
    block = filled()
    ours = _ours(block)
    for name, peer in (("solders", _solders(block)), ("json and solders' keys", _json(block))):
        row = measure(
            Contest(
                job="solana, a block of payments",
                unit=f"transactions, {len(block.text) // block.payments:,} B each",
                ours=ours,
                peer=peer,
                peer_name=name,
                floor=_floor(block),
                floor_name="msgspec alone, of the JSON",
            )
        )
        assert row.peer is not None
        if name != "solders":
            met = row.ours >= OF_JSON * row.peer
            verdict = "met" if met else "MISSED: everything is read and compared, they do not"
            row = replace(row, goal=f"{verdict}; >= {OF_JSON} x json")
        yield row


def _ours(block: Filled) -> Callable[[], int]:
    decoder = msgspec.json.Decoder(float_hook=Decimal)
    watch = Watch()
    watch.follow(block.watched)

    def run() -> int:
        answer: Any = decoder.decode(block.text)
        plain, arrivals = plan_payments(read_contents(block.slot, answer["result"]), watch)
        assert len(plain) + len(arrivals) == block.ours
        return block.payments

    return run


def _solders(block: Filled) -> Callable[[], int]:
    text = block.text.decode()

    def run() -> int:
        found: Any = GetBlockResp.from_json(text)
        seen = 0
        for each in found.value.transactions:
            keys = each.transaction.message.account_keys
            owners = [str(one.owner) for one in each.meta.post_token_balances or ()]
            seen += _is_ours([str(key) for key in keys], owners, block.watched)
        assert seen == block.ours
        return block.payments

    return run


def _json(block: Filled) -> Callable[[], int]:
    def run() -> int:
        seen = 0
        for each in json.loads(block.text)["result"]["transactions"]:
            raw = base64.b64decode(each["transaction"][0])
            keys = VersionedTransaction.from_bytes(raw).message.account_keys
            owners = [one["owner"] for one in each["meta"]["postTokenBalances"]]
            seen += _is_ours([str(key) for key in keys], owners, block.watched)
        assert seen == block.ours
        return block.payments

    return run


def _is_ours(keys: list[str], owners: list[str], watched: frozenset[str]) -> bool:
    return not watched.isdisjoint(keys) or not watched.isdisjoint(owners)


def _floor(block: Filled) -> Callable[[], int]:
    def run() -> int:
        msgspec.json.decode(block.text)
        return block.payments

    return run
