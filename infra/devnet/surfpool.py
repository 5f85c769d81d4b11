"""A real node of a network that spends by accounts and slots. Never for a network with value.

Surfpool runs the network's own programs, but what it says of its blocks is not what the network
would say: ask it through `infra.devnet.surfpool_front`, which repairs that.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import (
    TransferParams,
    create_nonce_account,
    transfer,
)
from solders.transaction import VersionedTransaction

from infra.devnet.nodes import HERE, NodesNotInstalled, RpcRefused, call
from infra.devnet.servers import KeptServer, StopsWithBlock, temporary_folder

SCRIPT = HERE / "surfpool.js"
PACKAGE = HERE / "node_modules/@solana/surfpool-linux-x64-gnu"
LAMPORTS = 10**9
PAYER_LAMPORTS = 10**14
NONCE_BYTES = 80
NONCE_VALUE = slice(40, 72)
UNITS_MAX = 1_400_000

_distinct = itertools.count(1)


@dataclass(slots=True)
class SurfpoolNode(StopsWithBlock):
    """A running network; a context manager that stops it."""

    url: str
    ws: str
    payer: Keypair = field(repr=False)
    """Rich, and pays for everything below."""
    is_manual: bool
    """Slots pass only in `pass_slots`, not by the clock."""
    process: KeptServer = field(repr=False)

    def call(self, method: str, *params: object) -> Any:
        """Return the result of a JSON-RPC call; RpcRefused on an error."""
        return call(self.url, method, *params)

    def slot(self) -> int:
        """Return the slot that transactions run in now."""
        return int(self.call("getSlot", {"commitment": "processed"}))

    def pass_slots(self, slots: int = 1) -> int:
        """End the present slot, and more of them; return the new present one. Manual only."""
        assert self.is_manual, "the clock does that"
        slot = self.slot()
        for _ in range(slots):
            slot += 1
            self.call("surfnet_timeTravel", {"absoluteSlot": slot})
        return slot

    def send(
        self,
        instructions: Sequence[Instruction],
        signers: Sequence[Keypair] = (),
        *,
        payer: Keypair | None = None,
        preflight: bool = True,
    ) -> str:
        """Run instructions in the present slot; return the transaction's id.

        RpcRefused: it would fail, unless preflight is False: then it is included and fails there.
        """
        payer = payer or self.payer
        # Two transactions that say the same with the same blockhash would be one.
        other = set_compute_unit_limit(UNITS_MAX - next(_distinct) % UNITS_MAX // 2)
        message = MessageV0.try_compile(
            payer.pubkey(), [*instructions, other], [], self.blockhash()
        )
        return self.send_raw(bytes(VersionedTransaction(message, [payer, *signers])), preflight)

    def send_raw(self, raw: bytes, preflight: bool = True) -> str:
        """Run a signed transaction in the present slot; return its id. RpcRefused: as send."""
        options = {
            "encoding": "base64",
            "skipPreflight": not preflight,
            "preflightCommitment": "processed",
        }
        return str(self.call("sendTransaction", base64.b64encode(raw).decode(), options))

    def blockhash(self) -> Hash:
        """Return the newest blockhash."""
        latest = self.call("getLatestBlockhash", {"commitment": "processed"})
        return Hash.from_string(latest["value"]["blockhash"])

    def pay(self, to: str | Pubkey, lamports: int) -> str:
        """Transfer native coin from the payer; return the transaction's id."""
        target = Pubkey.from_string(str(to))
        moved = TransferParams(from_pubkey=self.payer.pubkey(), to_pubkey=target, lamports=lamports)
        return self.send([transfer(moved)])

    def account(self, address: str | Pubkey) -> dict[str, Any] | None:
        """Return an account as the node tells it, None where there is none."""
        options = {"encoding": "base64", "commitment": "processed"}
        answer = self.call("getAccountInfo", str(address), options)["value"]
        return None if answer is None else dict(answer)

    def data(self, address: str | Pubkey) -> bytes:
        """Return the data of an account that is there."""
        account = self.account(address)
        assert account is not None, f"there is no account {address}"
        return base64.b64decode(account["data"][0])

    def rent(self, size: int) -> int:
        """Return the lamports that an account of a size must hold."""
        return int(self.call("getMinimumBalanceForRentExemption", size))

    def create_nonce(self, authority: str | Pubkey) -> str:
        """Make a durable nonce account that `authority` advances; return its address."""
        account = Keypair()
        made = create_nonce_account(
            self.payer.pubkey(),
            account.pubkey(),
            Pubkey.from_string(str(authority)),
            self.rent(NONCE_BYTES),
        )
        self.send(list(made), [account])
        return str(account.pubkey())

    def nonce(self, account: str | Pubkey) -> Hash:
        """Return the value that a nonce account holds now."""
        return Hash.from_bytes(self.data(account)[NONCE_VALUE])

    def stop(self) -> None:
        """End the network and remove what it wrote."""
        self.process.stop()


def start_surfpool(*, manual: bool = False, slot_ms: int = 400) -> SurfpoolNode:
    """Start a fresh network on loopback and return once it answers.

    manual: slots pass only when told (SurfpoolNode.pass_slots), else every slot_ms milliseconds.
    """
    if not PACKAGE.is_dir():
        raise NodesNotInstalled("surfpool is not installed: run `make devnet`")
    folder = temporary_folder("surfpool")
    payer, ready = Keypair(), folder / "ready"
    settings = {
        "blockProductionMode": "manual" if manual else "clock",
        "slotTimeMs": slot_ms,
        "airdropSol": PAYER_LAMPORTS,
        "payerSecretKey": list(bytes(payer)),
    }
    environment = {**os.environ, "SURFPOOL_SETTINGS": json.dumps(settings), "HOME": str(folder)}
    command = ["node", str(SCRIPT), str(ready)]
    server = KeptServer(command, folder=folder, environment=environment)

    def is_ready() -> bool:
        if not ready.exists():
            return False
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, RpcRefused):
            url = json.loads(ready.read_text())["rpc"]
            return str(call(url, "getHealth")) == "ok"
        return False

    with contextlib.ExitStack() as unless_ready:
        unless_ready.callback(server.stop)
        server.wait_until(is_ready)
        unless_ready.pop_all()
    told = json.loads(ready.read_text())
    return SurfpoolNode(told["rpc"], told["ws"], payer, manual, server)
