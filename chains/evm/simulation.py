"""What a transaction would do: two questions to a node about one state, and nothing sent.

`eth_simulateV1` runs it between questions for balances and says whether it succeeds and which
events it makes; `debug_traceCall` with the prestate tracer in diff mode lists every account that it
changes. Without a gas price nothing is paid for gas, so what changes is what the payment does.

A contract wallet's transaction is run as the calls that the wallet will make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from chains.base import NATIVE, BalanceChange, BlockRef, Simulation, UnsignedTx
from chains.evm import parse, wallet_payload
from chains.evm.address import checksum, raw_address
from chains.evm.decode import decode, read_fields
from chains.evm.erc20 import (
    TRANSFER_TOPIC,
    balance_call,
    read_transfer_call,
    says_success,
    transfer_call,
)
from chains.evm.node import EvmNode
from chains.evm.params import EvmParams
from chains.evm.parse import Json
from chains.rpc import RpcError, required
from core.errors import Unavailable

TOKEN_SLOTS = 2
"""Words of storage that a transfer changes in its token: the two balances."""
DETAIL_MAX = 300
_UNKNOWN_METHOD = -32_601


@dataclass(frozen=True, slots=True)
class Call:
    """One call and whose balances it is about."""

    sender: bytes
    to: bytes
    value: int
    data: bytes
    receiver: bytes
    token: bytes | None
    gas: int | None = None
    """The transaction's own limit: what needs more fails here as it would there."""

    def as_json(self) -> Json:
        """Return the call as nodes take it."""
        limit = {} if self.gas is None else {"gas": hex(self.gas)}
        return {
            "from": checksum(self.sender),
            "to": checksum(self.to),
            "value": hex(self.value),
            "data": "0x" + self.data.hex(),
            **limit,
        }


def calls_of(unsigned: UnsignedTx, params: EvmParams) -> tuple[Call, ...]:
    """Return the calls of a payload. Refused: undecodable, and as chains.evm.decode."""
    sender = raw_address(unsigned.sender)
    if unsigned.payload.startswith(wallet_payload.PREFIX):
        effects = decode(unsigned.payload, params, sender=unsigned.sender).effects
        return tuple(
            _call(sender, *_parts(each.asset_key, raw_address(each.destination), each.amount))
            for each in effects
        )
    fields = read_fields(unsigned.payload)
    return (replace(_call(sender, fields.to, fields.value, fields.data), gas=fields.gas),)


def run(node: EvmNode, calls: Sequence[Call], at: BlockRef) -> Simulation:
    """Run calls one after another on the state after a block. Unavailable: the node cannot."""
    state: Json = {"blockHash": at.hash}
    # Balances of tokens stand around the calls themselves: before, the calls, after.
    asked = sorted({(c.token, who) for c in calls if c.token for who in (c.sender, c.receiver)})
    questions = [
        {"to": checksum(token), "data": "0x" + balance_call(who).hex()} for token, who in asked
    ]
    steps = [*questions, *(call.as_json() for call in calls), *questions]
    answer = node.client.ask(
        "eth_simulateV1", {"blockStateCalls": [{"calls": steps}], "validation": False}, state
    )
    if isinstance(answer, RpcError) and answer.code != _UNKNOWN_METHOD:
        return Simulation(at, succeeded=False, detail=answer.message[:DETAIL_MAX])
    (block,) = parse.sequence(required(answer, "eth_simulateV1"), "simulated blocks")
    results = [
        parse.mapping(one, "simulated call")
        for one in parse.sequence(parse.mapping(block, "simulated block").get("calls"), "calls")
    ]
    if len(results) != len(steps):
        raise Unavailable("simulation: the node answered another number of calls")
    first, last = len(questions), len(questions) + len(calls)
    for call, result in zip(calls, results[first:last], strict=True):
        if (why := _failure(call, result)) is not None:
            return Simulation(at, succeeded=False, detail=why[:DETAIL_MAX])
    before, after = ([_balance(one) for one in part] for part in (results[:first], results[last:]))
    changes = [
        BalanceChange(checksum(who), checksum(token), *values)
        for (token, who), *values in zip(asked, before, after, strict=True)
    ]
    found = [_difference(node, call, state) for call in calls]
    changes += [change for call, pages in zip(calls, found, strict=True)
                for change in _native(call, *pages)]  # fmt: skip
    others = {
        *(text for call, pages in zip(calls, found, strict=True) for text in _others(call, *pages)),
        *(text for call, result in zip(calls, results[first:last], strict=True)
          for text in _events(call, result)),
    }  # fmt: skip
    return Simulation(at, succeeded=True, changes=tuple(changes), others=tuple(sorted(others)))


def _parts(asset_key: str, receiver: bytes, amount: int) -> tuple[bytes, int, bytes]:
    if asset_key == NATIVE:
        return receiver, amount, b""
    return raw_address(asset_key), 0, transfer_call(receiver, amount)


def _call(sender: bytes, to: bytes, value: int, data: bytes) -> Call:
    transfer = read_transfer_call(data)
    if transfer is None:
        return Call(sender, to, value, data, receiver=to, token=None)
    return Call(sender, to, value, data, receiver=transfer[0], token=to)


def _failure(call: Call, result: Json) -> str | None:
    if parse.quantity(result.get("status"), "status") != 1:
        error = result.get("error")
        words = error.get("message") if isinstance(error, Mapping) else None
        return str(words or "the call fails")
    if call.token and not says_success(parse.data(result.get("returnData"), "returnData")):
        return "the token answers that it did not transfer"
    return None


def _balance(result: Json) -> int:
    return parse.quantity(_short(result.get("returnData")), "balanceOf")


def _short(word: object) -> object:
    """Return a 32-byte word as the quantity it is; anything else as it came."""
    if isinstance(word, str) and len(word) == 66:
        return hex(int.from_bytes(parse.data(word, "balanceOf", size=32), "big"))
    return word


def _events(call: Call, result: Json) -> Iterator[str]:
    expected = 1 if call.token else 0
    for log in parse.sequence(result.get("logs"), "logs"):
        page = parse.mapping(log, "log")
        emitter = parse.address(page.get("address"), "log address")
        topics = parse.sequence(page.get("topics"), "topics")
        is_transfer = bool(topics) and topics[0] == "0x" + TRANSFER_TOPIC.hex()
        if expected and is_transfer and emitter == call.token:
            expected -= 1
            continue
        yield f"event of {checksum(emitter)}"


def _difference(node: EvmNode, call: Call, state: Json) -> tuple[Json, Json]:
    options = {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}}
    answer = node.client.read("debug_traceCall", call.as_json(), state, options)
    page = parse.mapping(answer, "difference")
    return parse.mapping(page.get("pre"), "pre"), parse.mapping(page.get("post"), "post")


def _account(page: Json, text: str) -> Json:
    return parse.mapping(page[text], "account") if text in page else {}


def _native(call: Call, pre: Json, post: Json) -> Iterator[BalanceChange]:
    for text in sorted({*pre, *post}):
        who = parse.address(text, "account")
        if who in (call.sender, call.receiver):
            old, new = _balances(_account(pre, text), _account(post, text))
            if old != new:
                yield BalanceChange(checksum(who), NATIVE, old, new)


def _balances(pre: Json, post: Json) -> tuple[int, int]:
    old = parse.quantity(pre.get("balance", "0x0"), "balance")
    return old, parse.quantity(post.get("balance", hex(old)), "balance")


def _others(call: Call, pre: Json, post: Json) -> Iterator[str]:
    """Name what a payment has no business to change."""
    paying = () if call.token else (call.sender, call.receiver)
    for text in sorted({*pre, *post}):
        who, old, new = parse.address(text, "account"), _account(pre, text), _account(post, text)
        name = checksum(who)
        if text not in post:
            yield f"end of {name}"
            continue
        balance_before, balance_after = _balances(old, new)
        if balance_before != balance_after and who not in paying:
            yield f"balance of {name}"
        if "nonce" in new and new["nonce"] != old.get("nonce", 0) and who != call.sender:
            yield f"nonce of {name}"
        if "code" in new and new["code"] != old.get("code", "0x"):
            yield f"code of {name}"
        slots = _slots(old, new)
        if slots > (TOKEN_SLOTS if who == call.token else 0):
            yield f"{slots} words of storage of {name}"


def _slots(pre: Json, post: Json) -> int:
    old, new = (parse.mapping(page.get("storage") or {}, "storage") for page in (pre, post))
    return sum(1 for slot in {*old, *new} if old.get(slot) != new.get(slot))
