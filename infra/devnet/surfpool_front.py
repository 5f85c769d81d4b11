"""What stands in front of Surfpool, so that its answers are those of the real network.

Repaired: a block's parent, its hash and its time; the slot that a state belongs to; how final a
transaction is; that a failed transaction uses its durable nonce up; that one over a hash or nonce
that does not hold (any more) is in no block. Told to, it also has slots that
were skipped, is behind, forgets blocks, or is on a branch of its own: a node as it may be met,
honest or not. Batches are taken apart.

    with start_surfpool(manual=True) as node, Front(node) as front:
        …                  # the client under test talks to front.url
        front.pass_slots() # what was sent runs, and its slot is final

Final is what lies `lag` slots below the present one: 31 take too long for people who watch.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from solders.hash import Hash
from solders.system_program import ID as SYSTEM
from solders.transaction import VersionedTransaction

from infra.devnet.nodes import RpcRefused
from infra.devnet.servers import StopsWithBlock
from infra.devnet.surfpool import NONCE_VALUE, SurfpoolNode

POLL_S = 0.005
STEADY_ATTEMPTS = 50
ADVANCE = (4).to_bytes(4, "little")
"""The system program's instruction that replaces a durable nonce."""
NOT_YET, SKIPPED, CLEANED_UP, NO_STATE = -32004, -32009, -32001, -32016
STATE_METHODS = frozenset(
    {
        "getAccountInfo", "getBalance", "getMultipleAccounts", "getProgramAccounts",
        "getTokenAccountBalance", "getTokenAccountsByOwner",
    }
)  # fmt: skip

NEVER_INCLUDED = "BlockhashNotFound"
"""Surfpool includes what fails so, under a signature of zeros; the network drops it."""

Json = dict[str, Any]


class Front(StopsWithBlock):
    """One repaired node; a context manager. Several may stand in front of the same network."""

    def __init__(self, node: SurfpoolNode, *, lag: int = 0) -> None:
        self.node = node
        self.lag = lag
        self.frozen_at: int | None = None
        """The slot that finality stands still at."""
        self.skipped: set[int] = set()
        self.forgotten: set[int] = set()
        """Slots whose blocks are there on the network, and missing here."""
        self.branch: tuple[int, str] | None = None
        """From this slot on, blocks have the hashes of another branch."""
        self.failures: list[BaseException] = []
        self._held: list[bytes] = []
        self._times: dict[int, int] = {}
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="surfpool-front", daemon=True
        )
        self._thread.start()

    def pass_slots(self, slots: int = 1) -> int:
        """Run what was sent, end the present slot and more; return the newest final one."""
        with self._lock:
            held, self._held = self._held, []
        for raw in held:
            with contextlib.suppress(RpcRefused):
                self.node.send_raw(raw, preflight=False)
        self.node.pass_slots(slots)
        for raw in held:
            self._use_up_nonce(raw)
        return self.final()

    def skip(self, slots: int = 1) -> None:
        """Let the present slot and more pass without a block."""
        first = self.node.slot()
        self.node.pass_slots(slots)
        options = {"transactionDetails": "signatures", "commitment": "confirmed"}
        block = self.node.call("getBlock", first, {**options, "maxSupportedTransactionVersion": 1})
        assert not block["signatures"], "a slot with transactions cannot have been skipped"
        self.skipped.update(range(first, first + slots))

    def freeze(self) -> None:
        """Let finality stand still."""
        self.frozen_at = self.final()

    def thaw(self) -> None:
        """Let finality go on."""
        self.frozen_at = None

    def final(self) -> int:
        """Return the newest final slot that has a block."""
        slot = self._ended() - self.lag
        if self.frozen_at is not None:
            slot = min(slot, self.frozen_at)
        while slot in self.skipped:
            slot -= 1
        return slot

    def stop(self) -> None:
        """End it; raises what went wrong inside, which is never a client's fault."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self.failures:
            raise AssertionError("the front itself failed") from self.failures[0]

    def answer(self, method: str, params: list[Any]) -> Any:
        """Return the result of one call; RpcRefused on an error."""
        if method in STATE_METHODS:
            return self._state(method, params)
        repaired: dict[str, Callable[[list[Any]], Any]] = {
            "getSlot": self._slot,
            "getBlockHeight": lambda params: self._slot(params) - len(self.skipped),
            "getBlock": self._block,
            "getBlocks": self._blocks,
            "getBlocksWithLimit": self._blocks_with_limit,
            "getTransaction": self._transaction,
            "getSignatureStatuses": self._statuses,
            "getSignaturesForAddress": self._signatures,
            "sendTransaction": self._send,
        }
        if method in repaired:
            return repaired[method](params)
        return self.node.call(method, *params)

    def _ended(self) -> int:
        return int(self.node.call("getSlot", {"commitment": "confirmed"}))

    def _slot(self, params: list[Any]) -> int:
        wanted = _options(params).get("commitment", "finalized")
        if wanted == "finalized":
            return self.final()
        return int(self.node.call("getSlot", *params))

    def _visible(self, params: list[Any]) -> int:
        is_final = _options(params).get("commitment", "finalized") == "finalized"
        return self.final() if is_final else self._ended()

    def _block(self, params: list[Any]) -> Any:
        slot = int(params[0])
        if slot > self._visible(params):
            raise _refused(NOT_YET, f"Block not available for slot {slot}")
        first = self._first()
        if slot < first:
            text = f"Block {slot} cleaned up, does not exist on node. "
            raise _refused(CLEANED_UP, f"{text}First available block: {first}")
        if slot in self.skipped or slot in self.forgotten:
            raise _refused(SKIPPED, f"Slot {slot} was skipped, or missing in long-term storage")
        options = {**_options(params), "commitment": "confirmed"}
        block = self.node.call("getBlock", slot, options)
        if block is None:
            raise _refused(NOT_YET, f"Block not available for slot {slot}")
        parent = self._parent(slot)
        if "transactions" in block:
            found = block["transactions"]
            block["transactions"] = [each for each in found if _is_included(each["meta"])]
        return {
            **block,
            "blockhash": self._hash(slot),
            "previousBlockhash": self._hash(parent),
            "parentSlot": parent,
            "blockTime": self._time(slot),
        }

    def _first(self) -> int:
        return int(self.node.call("getFirstAvailableBlock"))

    def _parent(self, slot: int) -> int:
        slot -= 1
        while slot in self.skipped:
            slot -= 1
        return slot

    def _hash(self, slot: int) -> str:
        branch = self.branch[1] if self.branch is not None and slot >= self.branch[0] else ""
        # Surfpool's own repeat: a block with transactions has the hash of an older one without.
        return str(Hash(hashlib.sha256(f"{self.node.url} {slot} {branch}".encode()).digest()))

    def _time(self, slot: int) -> int:
        if slot not in self._times:
            self._times[slot] = int(self.node.call("getBlockTime", slot))
        return self._times[slot]

    def _blocks(self, params: list[Any]) -> list[int]:
        first, last = int(params[0]), self._visible(params)
        if len(params) > 1 and isinstance(params[1], int):
            last = min(last, params[1])
        return self._made(first, last)

    def _blocks_with_limit(self, params: list[Any]) -> list[int]:
        return self._made(int(params[0]), self._visible(params))[: int(params[1])]

    def _made(self, first: int, last: int) -> list[int]:
        gone = self.skipped | self.forgotten
        return [slot for slot in range(max(first, self._first()), last + 1) if slot not in gone]

    def _transaction(self, params: list[Any]) -> Any:
        options = {**_options(params), "commitment": "confirmed"}
        found = self.node.call("getTransaction", params[0], options)
        if found is None or found["slot"] > self._visible(params):
            return None
        if not _is_included(found["meta"]):
            return None
        return {**found, "blockTime": self._time(found["slot"])}

    def _statuses(self, params: list[Any]) -> Any:
        answer, final = self.node.call("getSignatureStatuses", *params), self.final()
        found = answer["value"]
        answer["value"] = [each if each and _is_included(each) else None for each in found]
        self._add_held(params[0], answer)
        for status in answer["value"]:
            if status is None:
                continue
            if status["confirmationStatus"] == "processed":
                continue
            if status["slot"] <= final:
                status.update(confirmationStatus="finalized", confirmations=None)
            elif status["confirmationStatus"] == "finalized":
                status.update(confirmationStatus="confirmed", confirmations=1)
        return answer

    def _add_held(self, asked: list[str], answer: Json) -> None:
        """Tell of what waits here as of what ran in a slot that is not final yet."""
        with self._lock:
            held = {str(VersionedTransaction.from_bytes(raw).signatures[0]) for raw in self._held}
        waits = {
            "slot": answer["context"]["slot"], "confirmations": 0, "err": None,
            "status": {"Ok": None}, "confirmationStatus": "processed",
        }  # fmt: skip
        told = zip(asked, answer["value"], strict=True)
        answer["value"] = [
            dict(waits) if status is None and tx_id in held else status for tx_id, status in told
        ]

    def _signatures(self, params: list[Any]) -> Any:
        return [each for each in self.node.call("getSignaturesForAddress", *params)
                if _is_included(each)]  # fmt: skip

    def _send(self, params: list[Any]) -> Any:
        raw = base64.b64decode(params[0])
        if not self.node.is_manual:
            tx_id, sent_in = self.node.call("sendTransaction", *params), self.node.slot()
            if _options(params).get("skipPreflight"):
                while self._ended() < sent_in:
                    time.sleep(POLL_S)
                self._use_up_nonce(raw)
            return tx_id
        # It waits for its slot, so that a state that is told never holds half of one.
        options = {"encoding": "base64", "sigVerify": True, "commitment": "processed"}
        told = self.node.call("simulateTransaction", params[0], options)["value"]
        if told["err"] is not None and not _options(params).get("skipPreflight"):
            words = f"Transaction simulation failed: {json.dumps(told['err'])}"
            raise RpcRefused("sendTransaction", {"code": -32002, "message": words, "data": told})
        transaction = VersionedTransaction.from_bytes(raw)
        if not all(transaction.verify_with_results()):
            raise _refused(-32003, "Transaction signature verification failure")
        with self._lock:
            self._held.append(raw)
        return str(transaction.signatures[0])

    def _use_up_nonce(self, raw: bytes) -> None:
        """Change the durable nonce of a transaction that failed, as the network does."""
        transaction = VersionedTransaction.from_bytes(raw)
        message = transaction.message
        first = message.instructions[0]
        if message.account_keys[first.program_id_index] != SYSTEM or bytes(first.data) != ADVANCE:
            return
        (status,) = self.node.call("getSignatureStatuses", [str(transaction.signatures[0])])[
            "value"
        ]
        account = message.account_keys[first.accounts[0]]
        data = self.node.data(account)
        used = bytes(message.recent_blockhash)
        if status is None or status["err"] is None or data[NONCE_VALUE] != used:
            return
        fresh = hashlib.sha256(b"DURABLE_NONCE" + used).digest()
        changed = data[: NONCE_VALUE.start] + fresh + data[NONCE_VALUE.stop :]
        self.node.call("surfnet_setAccount", str(account), {"data": changed.hex()})

    def _state(self, method: str, params: list[Any]) -> Any:
        if _options(params).get("commitment", "finalized") == "processed":
            return self.node.call(method, *params)
        if self.node.is_manual:
            answer, slot = self.node.call(method, *params), self._ended()
        else:
            answer, slot = self._steady(method, params)
        if isinstance(answer, dict) and "context" in answer:
            answer["context"]["slot"] = slot
        return answer

    def _steady(self, method: str, params: list[Any]) -> tuple[Any, int]:
        """Return a state that did not change until the slot it was read in had ended."""
        for _ in range(STEADY_ATTEMPTS):
            before, slot = self.node.call(method, *params), self.node.slot()
            while self._ended() < slot:
                time.sleep(POLL_S)
            after = self.node.call(method, *params)
            if _value(before) == _value(after):
                return before, slot
        raise _refused(NO_STATE, "Minimum context slot has not been reached")


def _is_included(told: Json) -> bool:
    return bool(told["err"] != NEVER_INCLUDED)


def _value(answer: Any) -> Any:
    return answer["value"] if isinstance(answer, dict) and "value" in answer else answer


def _options(params: list[Any]) -> Json:
    last = params[-1] if params else None
    return last if isinstance(last, dict) else {}


def _refused(code: int, message: str) -> RpcRefused:
    return RpcRefused("front", {"code": code, "message": message})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, front: Front) -> None:
        self.front = front
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave a broken connection alone: whoever asked is gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        """Answer one HTTP request: a single call or a batch."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_batch = isinstance(body, list)
        answers = [self._answer(one) for one in (body if is_batch else [body])]
        content = json.dumps(answers if is_batch else answers[0]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: requests are no news."""

    def _answer(self, call: Json) -> Json:
        shell: Json = {"jsonrpc": "2.0", "id": call.get("id")}
        front = self.server.front
        try:
            return {**shell, "result": front.answer(call["method"], call.get("params", []))}
        except RpcRefused as refused:
            return {**shell, "error": refused.error}
        except (OSError, http.client.HTTPException):
            return {**shell, "error": {"code": -32005, "message": "Node is unhealthy"}}
        except (LookupError, TypeError, ValueError) as error:
            front.failures.append(error)
            return {**shell, "error": {"code": -32603, "message": "Internal error"}}
