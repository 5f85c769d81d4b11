"""Real nodes on this machine for development, demo and tests. Never for a network with value."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.devnet.servers import KeptServer, StopsWithBlock, on_a_free_port, temporary_folder

HERE = Path(__file__).resolve().parent
ANVIL = HERE / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
TEST_MNEMONIC = "test test test test test test test test test test test junk"
GENESIS_TIME_S = 1_700_000_000


class NodesNotInstalled(Exception):
    """The pinned node packages are missing; `make devnet` brings them."""


class RpcRefused(Exception):
    """The node answered with a JSON-RPC error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error.get('message', error)}")
        self.code = error.get("code")
        self.error = error


_request_ids = itertools.count(1)


def call(url: str, method: str, *params: object, timeout_s: float = 30) -> Any:
    """Return the result of one JSON-RPC call over a fresh connection; RpcRefused on an error."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    body = {"jsonrpc": "2.0", "id": next(_request_ids), "method": method, "params": list(params)}
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    with contextlib.closing(connection):
        connection.request(
            "POST",
            parts.path or "/",
            body=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        answer = json.loads(connection.getresponse().read())
    if "error" in answer:
        raise RpcRefused(method, answer["error"])
    return answer["result"]


@dataclass(slots=True)
class AnvilNode(StopsWithBlock):
    """A running anvil; a context manager that stops it."""

    url: str
    process: KeptServer = field(repr=False)

    def call(self, method: str, *params: object) -> Any:
        """Return the result of a JSON-RPC call; RpcRefused on an error."""
        return call(self.url, method, *params)

    def mine(self, blocks: int = 1, *, time_s: int | None = None) -> None:
        """Make blocks one by one; time_s dates the first, so that hashes repeat between runs."""
        for _ in range(blocks):
            if time_s is not None:
                self.call("evm_setNextBlockTimestamp", hex(time_s))
                time_s = None
            self.call("evm_mine")

    def height(self) -> int:
        """Return the number of the newest block."""
        return int(self.call("eth_blockNumber"), 16)

    def snapshot(self) -> str:
        """Remember the whole state; give the answer to `revert`, once."""
        return str(self.call("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Go back to a snapshot, which is used up by that."""
        if self.call("evm_revert", snapshot) is not True:
            raise RpcRefused("evm_revert", {"message": f"unknown snapshot {snapshot}"})

    def reorg(self, depth: int, transactions: list[list[object]] | None = None) -> None:
        """Replace the newest blocks by others; transactions are [raw hex, index of new block]."""
        self.call("anvil_setBlockTimestampInterval", 12)
        self.call("anvil_reorg", depth, transactions or [])

    def set_balance(self, address: str, wei: int) -> None:
        """Give an address exactly this much native coin."""
        self.call("anvil_setBalance", address, hex(wei))

    def stop(self) -> None:
        """End the node and remove what it wrote; a state file stays."""
        self.process.stop()


def start_anvil(
    *,
    port: int | None = None,
    no_mining: bool = False,
    slots_in_an_epoch: int = 1,
    mnemonic: str = TEST_MNEMONIC,
    timestamp: int | None = None,
    block_time: int | None = None,
    chain_id: int = 31_337,
    accounts: int = 10,
    state: Path | None = None,
    extra: tuple[str, ...] = (),
) -> AnvilNode:
    """Start anvil on loopback and return once it answers.

    port None takes a free one. slots_in_an_epoch 1 makes `finalized` the head minus 2. block_time
    in seconds mines by the clock, no_mining only when told, neither at every transaction. state
    names a file that is loaded when it exists and written at stop and every second.
    """
    if not ANVIL.exists():
        raise NodesNotInstalled("anvil is not installed: run `make devnet`")
    arguments = ["--chain-id", str(chain_id), "--mnemonic", mnemonic, "--accounts", str(accounts)]
    arguments += ["--slots-in-an-epoch", str(slots_in_an_epoch), *extra]
    if no_mining:
        arguments.append("--no-mining")
    if block_time is not None:
        arguments += ["--block-time", str(block_time)]
    if timestamp is not None:
        arguments += ["--timestamp", str(timestamp)]
    if state is not None:
        state.parent.mkdir(parents=True, exist_ok=True)
        arguments += ["--state", str(state), "--state-interval", "1"]
    if port is None:
        return on_a_free_port(lambda chosen: _start_on(chosen, arguments, chain_id))
    return _start_on(port, arguments, chain_id)


def _start_on(port: int, arguments: list[str], chain_id: int) -> AnvilNode:
    folder = temporary_folder("anvil")
    command = [str(ANVIL), "--port", str(port), "--cache-path", str(folder / "cache"), *arguments]
    # anvil keeps history under the home directory: give it one that goes away.
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    server = KeptServer(command, folder=folder, environment=environment)
    node = AnvilNode(url=f"http://127.0.0.1:{port}", process=server)

    def is_ready() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                pass
            return server.is_running and int(node.call("eth_chainId"), 16) == chain_id
        return False

    with contextlib.ExitStack() as unless_ready:
        unless_ready.callback(server.stop)
        server.wait_until(is_ready)
        unless_ready.pop_all()
    return node
