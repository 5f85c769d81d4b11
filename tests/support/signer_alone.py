"""A signer's process with nobody beside it, for tests that play all of the platform."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from app.bootstrap import Platform
from app.children import Child, process_arguments
from app.devsetup import CHAIN, OFFICERS, DevSetup
from app.files import open_publications
from app.opening import open_accounts
from app.signer_client import SignerClient
from chains.base import NATIVE, FeeRate, SpendIntent, SpendKind
from core.clock import SECOND_NS, SystemClock
from custody.keys.authority import Approvals
from custody.keys.guard import SignRequest
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.officer_keys import load_officer_key
from custody.keys.roster import sign_approval
from custody.keys.service import SignerAway, sign_one
from custody.keys.signers.base import KeyRef
from infra.devnet.nodes import AnvilNode

WAIT_S = 60
HOT = KeyRef("hot", 0)
PAYEE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
GWEI = 10**9


class Alone:
    """A signer's process, and a test that plays all of the platform. Its node runs elsewhere."""

    def __init__(self, setup: DevSetup, node: AnvilNode, platform: Platform) -> None:
        self.setup, self.node, self.platform = setup, node, platform
        self.chain = platform.home(CHAIN).chain
        self.settings = setup.settings()
        keys = open_accounts(self.settings, platform.roster, self.chain.traits)
        self.hot = self.chain.address_of(keys["hot"].public_key(0))
        self.process = self.child(setup.config_file)
        self.names = 0

    def child(self, config_file: Path) -> Child:
        """Return another signer over other settings."""
        log = self.setup.folder / "logs" / f"{config_file.stem}.log"
        return Child("signer", process_arguments(config_file, "signer"), log_file=log)

    def client(self) -> SignerClient:
        """Return a client with a connection of its own."""
        return SignerClient(self.settings.signer.socket)

    def start(self, child: Child | None = None) -> None:
        """Start the signer and return when it serves."""
        child = child or self.process
        child.start()
        self.wait(lambda: self.serves() or not child.is_running)
        assert child.is_running, child.tail()

    def serves(self) -> bool:
        """Return whether somebody answers at the socket."""
        with contextlib.suppress(SignerAway), contextlib.closing(self.client()) as client:
            client.status()
            return True
        return False

    def wait(self, found: object) -> None:
        """Return once it is so."""
        deadline = time.monotonic() + WAIT_S
        while not found():  # type: ignore[operator]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def ended(self, child: Child) -> tuple[int | None, str]:
        """Start a signer that ends by itself; return its exit code and what it said."""
        child.log_file.unlink(missing_ok=True)
        child.start()
        try:
            self.wait(lambda: not child.is_running)
            return child.exit_code, child.tail()
        finally:
            child.kill()

    def changed(self, name: str, **lines: str) -> Child:
        """Return a signer whose settings have other lines."""
        text = self.setup.config_file.read_text("utf-8")
        for old, new in lines.items():
            found = [line for line in text.splitlines() if line.startswith(f"{old} = ")]
            assert found, old
            text = text.replace(found[0], f"{old} = {new}")
        file = self.setup.folder / f"{name}.toml"
        file.write_text(text, "utf-8")
        return self.child(file)

    def log_length(self) -> int:
        """Return how much was ever signed."""
        with contextlib.closing(self.client()) as client:
            return client.status().position

    def nonce(self) -> int:
        """Return the first nonce that no block has."""
        return self.chain.used_nonces(self.hot, self.chain.head())

    def request(self, nonce: int, *, rate: int = 3) -> SignRequest:
        """Return a request to pay, approved by two officers, that should sign."""
        self.names += 1
        network, now_ns = self.chain.traits.network, SystemClock().now_ns()
        withdrawal = WithdrawalIntent(
            withdrawal_id=f"wd_{self.names}", customer_no=1, initiator="customer:1", chain=CHAIN,
            network=network, asset_key=NATIVE, destination=PAYEE, amount=1_000 + self.names,
            fee_minor=0, network_fee_max=10**16, policy_version=1,
            expires_ns=now_ns + 3_600 * SECOND_NS, rule="withdrawal", wallet="hot",
            policy_hash=open_publications(self.settings)[0].hash.hex(),
            decision_hash=NO_POLICY, excluded=(), not_before_ns=0,
        )  # fmt: skip
        keys = [load_officer_key(self.setup.officer_key_file(name)) for name in OFFICERS[:2]]
        given = tuple(sign_approval(key, withdrawal) for key in keys)
        spend = SpendIntent(
            f"sp_{self.names}", SpendKind.WITHDRAWAL, withdrawal.withdrawal_id, CHAIN, network,
            NATIVE, self.hot, PAYEE, withdrawal.amount, withdrawal.network_fee_max,
        )  # fmt: skip
        unsigned = self.chain.build(
            spend, nonce=nonce, rate=FeeRate(rate * GWEI, GWEI), units=21_000
        )
        return SignRequest(spend, Approvals(withdrawal, given), unsigned, HOT)

    def pay(self) -> None:
        """Have one payment signed and mined."""
        request = self.request(self.nonce())
        with contextlib.closing(self.client()) as client:
            self.land(request, sign_one(client, request))

    def land(self, request: SignRequest, signature: bytes) -> None:
        """Have a signed transaction mined."""
        self.chain.broadcast(self.chain.assemble(request.unsigned, signature).raw)
        self.node.mine()
