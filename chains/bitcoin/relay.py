"""What is asked of one node around sending: estimates, and the sending itself."""

from __future__ import annotations

from chains.base import BroadcastOutcome, BroadcastResult
from chains.bitcoin import fees
from chains.bitcoin.broadcast import plan_outcome
from chains.bitcoin.node import BitcoinNode
from chains.rpc import RpcCall, RpcError
from core.errors import Unavailable


def send(node: BitcoinNode, raw: bytes, tx_id: str) -> BroadcastResult:
    """Send bytes once and judge the answer; never raises.

    A node takes bytes that it has in its pool a second time as if they were new, so it is asked
    before; when it does not answer that, the bytes are sent all the same.
    """
    try:
        waits = isinstance(node.client.ask("getmempoolentry", tx_id), dict)
    except Unavailable:
        waits = False
    try:
        answer = node.client.send_once("sendrawtransaction", raw.hex())
    except Unavailable as error:
        return BroadcastResult(BroadcastOutcome.UNKNOWN, error.what)
    return plan_outcome(answer, tx_id, was_waiting=waits)


def expected_rate(node: BitcoinNode) -> int | None:
    """Return what a node expects to be enough, None where it has no estimate."""
    return fees.smart_rate(node.client.ask("estimatesmartfee", fees.TARGET_BLOCKS))


def paid_rate(node: BitcoinNode) -> int | None:
    """Return what the newest blocks of a node were paid, None where they say nothing."""
    head = node.height()
    heights = range(max(1, head - fees.SEEN_BLOCKS + 1), head + 1)
    calls = [RpcCall("getblockstats", (height, ["feerate_percentiles"])) for height in heights]
    answers = node.client.ask_many(calls)
    return fees.paid_rate([one for one in answers if not isinstance(one, RpcError)])


def pool_rate(node: BitcoinNode) -> int | None:
    """Return the least rate that a node's pool takes now, None where it does not say."""
    answer = node.client.ask("getmempoolinfo")
    return fees.rate_in(answer.get("mempoolminfee")) if isinstance(answer, dict) else None
