"""A block of a real node's network: payments of coin and of a token; one in ten is ours.

The node takes its time, so the block is as long as real ones by saying each of its payments again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from solders.keypair import Keypair

from chains.solana.wire import VERSION_NEWEST
from infra.devnet.nodes import call
from infra.devnet.surfpool import LAMPORTS, start_surfpool
from infra.devnet.surfpool_front import Front
from infra.devnet.surfpool_tokens import create_token

PAYMENTS, TIMES, OWNERS, WATCHED_EVERY = 200, 5, 10, 10
"""Payments of one block, how often it says each, who gets them in turn, and which is watched."""
_FINAL = 40


@dataclass(frozen=True, slots=True)
class Filled:
    """A node's whole answer, and what is to be found in it."""

    slot: int
    text: bytes
    payments: int
    watched: frozenset[str]
    ours: int


def filled() -> Filled:
    """Have a network run payments, all in one slot, and return its block as a node tells it."""
    owners = [Keypair.from_seed(bytes([number]) * 32) for number in range(1, OWNERS + 1)]
    watched = frozenset(str(one.pubkey()) for one in owners[::WATCHED_EVERY])
    with start_surfpool(manual=True) as node, Front(node) as front:
        token = create_token(node)
        token.give(node.payer.pubkey(), 10**9)
        for owner in owners:
            node.pay(owner.pubkey(), LAMPORTS)
        token.open(*(owner.pubkey() for owner in owners))
        payer, source = node.payer.pubkey(), token.account_of(node.payer.pubkey())
        front.pass_slots()
        slot = node.slot()
        for number in range(PAYMENTS):
            to = owners[number // 2 % OWNERS].pubkey()
            if number % 2:
                node.send([token.moving(source, token.account_of(to), payer, number + 1)])
            else:
                node.pay(to, number + 1)
        front.pass_slots(_FINAL)
        options = {
            "encoding": "base64", "transactionDetails": "full", "rewards": False,
            "commitment": "finalized", "maxSupportedTransactionVersion": VERSION_NEWEST,
        }  # fmt: skip
        page: dict[str, Any] = call(front.url, "getBlock", slot, options)
    count = len(page["transactions"])
    assert count == PAYMENTS, f"{count} transactions in one slot"
    page["transactions"] *= TIMES
    reply = {"jsonrpc": "2.0", "result": page, "id": 1}
    text = json.dumps(reply, separators=(",", ":")).encode()
    ours = sum(not number // 2 % OWNERS % WATCHED_EVERY for number in range(PAYMENTS))
    return Filled(slot, text, TIMES * count, watched, TIMES * ours)
