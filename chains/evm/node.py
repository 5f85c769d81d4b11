"""Typed questions to one node: the method names, parameters and shapes of the execution API."""

from __future__ import annotations

from collections.abc import Sequence

from chains.evm import parse
from chains.evm.address import checksum
from chains.evm.block import parse_header
from chains.evm.erc20 import TRANSFER_TOPIC, balance_call
from chains.evm.parse import BlockContents, Header, Json
from chains.evm.trace import BlockTrace, parse_flat, parse_nested
from chains.rpc import RpcCall, RpcClient, RpcCounters, RpcError, required

_REVERTED = 3
_UNKNOWN_METHOD = -32_601
_SOMEBODY = checksum(bytes.fromhex("57726f6e67726f6f6d" + "00" * 10 + "01"))
"""Nobody's account; a simulation gives it the money that it pays."""
_ENOUGH = hex(500_000)
_REVERT_WORDS = ("revert", "invalid opcode", "out of gas", "outofgas", "stack", "bad instruction")


class EvmNode:
    """One node of a network."""

    def __init__(self, client: RpcClient) -> None:
        self.client = client
        self._speaks_flat = True

    @property
    def counters(self) -> RpcCounters:
        """Return the client's counters."""
        return self.client.counters

    def chain_number(self) -> int:
        """Return the chain id the node says it has."""
        return parse.quantity(self.client.read("eth_chainId"), "chainId")

    def header_at(self, where: int | str) -> Header | None:
        """Return the proven header at a height or under a tag, None when there is none."""
        key = hex(where) if isinstance(where, int) else where
        answer = self.client.ask("eth_getBlockByNumber", key, False)  # noqa: FBT003
        if isinstance(answer, RpcError) and not isinstance(where, int):
            return None  # nodes before their first finalized block answer an error instead of null
        if isinstance(answer, RpcError):
            required(answer, "eth_getBlockByNumber")
        if answer is None:
            return None
        header = parse_header(answer)
        if isinstance(where, int) and header.height != where:
            raise parse.MalformedAnswer(f"asked for height {where}, answered {header.height}")
        return header

    def contents(self, block_hash: str, *, with_logs: bool) -> tuple[object, object, object]:
        """Return block, receipts and (when asked) Transfer logs of one hash, unproven, null as
        None.
        """
        calls = [
            RpcCall("eth_getBlockByHash", (block_hash, True)),
            RpcCall("eth_getBlockReceipts", (block_hash,)),
        ]
        if with_logs:
            topics = ["0x" + TRANSFER_TOPIC.hex()]
            calls.append(RpcCall("eth_getLogs", ({"blockHash": block_hash, "topics": topics},)))
        answers = [
            required(answer, call.method) if isinstance(answer, RpcError) else answer
            for answer, call in zip(self.client.ask_many(calls), calls, strict=True)
        ]
        return answers[0], answers[1], answers[2] if with_logs else None

    def trace(self, contents: BlockContents) -> BlockTrace:
        """Return what all frames of one block did, by whichever dialect the node speaks."""
        header, transactions = contents.header, contents.transactions
        if self._speaks_flat:
            answer = self.client.ask("trace_block", hex(header.height))
            if not isinstance(answer, RpcError):
                return parse_flat(required(answer, "trace_block"), header, transactions)
            self._speaks_flat = answer.code != _UNKNOWN_METHOD
        options = {"tracer": "callTracer"}
        answer = self.client.read("debug_traceBlockByHash", header.hash, options)
        return parse_nested(answer, transactions)

    def balances(self, owners: Sequence[bytes], block_hash: str) -> tuple[int, ...]:
        """Return native balances after one block."""
        calls = [
            RpcCall("eth_getBalance", (checksum(owner), _state(block_hash))) for owner in owners
        ]
        return tuple(
            parse.quantity(required(answer, "eth_getBalance"), "balance")
            for answer in self.client.ask_many(calls)
        )

    def token_balance(self, token: str, owner: bytes, block_hash: str) -> int | None:
        """Return balanceOf after one block;

        None when the contract reverts or answers anything else.
        """
        call = {"to": token, "data": "0x" + balance_call(owner).hex()}
        answer = self.client.ask("eth_call", call, _state(block_hash))
        if isinstance(answer, RpcError) and is_revert(answer):
            return None
        raw = parse.data(required(answer, "eth_call"), "balanceOf")
        return int.from_bytes(raw, "big") if len(raw) == 32 else None

    def code(self, owner: bytes, block_hash: str) -> bytes:
        """Return the code of an account after one block, empty when it has none."""
        answer = self.client.read("eth_getCode", checksum(owner), _state(block_hash))
        return parse.data(answer, "code")

    def takes_native(self, owner: bytes, block_hash: str) -> bool:
        """Tell whether a contract takes one native unit from somebody it does not know."""
        payment = {"from": _SOMEBODY, "to": checksum(owner), "value": "0x1", "gas": _ENOUGH}
        rich = {_SOMEBODY: {"balance": hex(10**18)}}
        answer = self.client.ask("eth_call", payment, _state(block_hash), rich)
        if isinstance(answer, RpcError) and is_revert(answer):
            return False
        parse.data(required(answer, "eth_call"), "eth_call")
        return True

    def used_nonces(self, owner: bytes, block_hash: str) -> int:
        """Return the number of nonces spent after one block."""
        answer = self.client.read("eth_getTransactionCount", checksum(owner), _state(block_hash))
        return parse.quantity(answer, "nonce", limit=1 << 64)

    def call(self, transaction: Json) -> bytes | RpcError:
        """Simulate a transaction on the newest state."""
        answer = self.client.ask("eth_call", transaction, "latest")
        if isinstance(answer, RpcError):
            return answer
        return parse.data(required(answer, "eth_call"), "eth_call")

    def call_at(self, to: str, data: bytes, block_hash: str) -> bytes | RpcError:
        """Return what a contract answers after one block, or why it refuses."""
        call = {"to": to, "data": "0x" + data.hex()}
        answer = self.client.ask("eth_call", call, _state(block_hash))
        if isinstance(answer, RpcError) and is_revert(answer):
            return answer
        return parse.data(required(answer, "eth_call"), "eth_call")

    def storage_at(self, contract: str, position: int, block_hash: str) -> bytes:
        """Return one word of a contract's storage after one block."""
        answer = self.client.read("eth_getStorageAt", contract, hex(position), _state(block_hash))
        return parse.data(answer, "storage", size=32)

    def estimate_gas(self, transaction: Json) -> int | RpcError:
        """Return the gas a transaction would use on the newest state."""
        answer = self.client.ask("eth_estimateGas", transaction)
        if isinstance(answer, RpcError):
            return answer
        return parse.quantity(required(answer, "eth_estimateGas"), "gas")

    def fee_history(self) -> object:
        """Return base fees and tips of the newest blocks, unproven."""
        return self.client.ask("eth_feeHistory", "0x5", "latest", [50])

    def transaction_height(self, tx_id: str) -> tuple[bool, int | None]:
        """Return (known, height) of a transaction; no height while it waits."""
        answer = self.client.ask("eth_getTransactionByHash", tx_id)
        if isinstance(answer, RpcError):
            required(answer, "eth_getTransactionByHash")
        if answer is None:
            return False, None
        tx = parse.mapping(answer, "transaction")
        if parse.hash_text(tx.get("hash"), "hash") != tx_id:
            raise parse.MalformedAnswer("another transaction was answered")
        if tx.get("blockHash") is None or tx.get("blockNumber") is None:
            return True, None
        limit = parse.HEIGHT_LIMIT
        return True, parse.quantity(tx.get("blockNumber"), "blockNumber", limit=limit)

    def send(self, raw: bytes) -> object:
        """Hand bytes over once. Returns the node's answer or RpcError, whatever it is."""
        return self.client.send_once("eth_sendRawTransaction", "0x" + raw.hex())


def is_revert(error: RpcError) -> bool:
    """Tell whether a node says that the contract itself refused, as any other node would."""
    words = error.message.lower()
    return error.code == _REVERTED or any(word in words for word in _REVERT_WORDS)


def _state(block_hash: str) -> Json:
    return {"blockHash": block_hash, "requireCanonical": True}
