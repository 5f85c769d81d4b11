"""One harness per chain: the same verbs over a fake world and over real nodes.

The facts in `test_every_chain…` use nothing but a harness and its chain. A new chain adds a class
here and a line in CHAINS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from eth_utils.address import to_checksum_address as checksum
from eth_utils.crypto import keccak

from chains.base import NATIVE, AssetSpec, Chain
from chains.evm import open_evm
from chains.evm.chain import EvmChain
from chains.fake import FakeChain, FakeWorld
from chains.fake.address import to_text
from chains.registry import ChainConfig
from core.errors import Reason
from core.ids import ChainId
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode, start_anvil
from tests.conformance.coins import bitcoin_harness
from tests.conformance.harness import (
    BLOCKS_TO_FINAL,
    ChainHarness,
    CoinHarness,
    Key,
    OddTokenHarness,
    Slot,
    TaggedHarness,
    TokenHarness,
    curve_key,
)
from tests.conformance.slots import solana_harness
from tests.support.delegating import delegate
from tests.support.evm import SECOND, DevKey
from tests.support.faults import Result
from tests.support.proxy import FaultProxy, Rule

GWEI = 10**9


class FakeHarness:
    """The scripted chain."""

    coin = 10**9
    least = 1
    units = 100
    blocks_to_final = BLOCKS_TO_FINAL

    def __init__(self) -> None:
        self.world = FakeWorld(finality_depth=BLOCKS_TO_FINAL)
        self.token = self.world.add_token("TOK")
        self.tokens: tuple[str, ...] = (self.token,)
        self.odd_token = self.world.add_token("ODD", kept_ppm=20_000)
        self.picky_token = self.world.add_token("PICKY")
        self.chain: Chain = self.connect()

    def refuse(self, address: str) -> None:
        self.world.refuse_transfers_to(address)

    def key(self, name: str) -> Key:
        return curve_key(name)

    def amounts(self, asset_key: str) -> Sequence[int]:
        return (1, 255, 256, 2**64, 2**96 - 1)

    def slot(self, address: str, number: int = 0) -> Slot:
        return Slot(nonce=self.chain.used_nonces(address, self.chain.head()) + number)

    def enable_batches(self, name: str) -> None:
        """Do nothing: here everybody can."""

    def connect(self) -> Chain:
        return FakeChain(self.world, batch_max=8)

    def impostor(self) -> Chain:
        return FakeChain(self.world, network=FakeWorld("fake-2").network)

    def outsider(self, name: str) -> str:
        return self.world.outsider(name)

    def bad_addresses(self) -> Mapping[str, tuple[str, Reason]]:
        good = self.outsider("somebody")
        elsewhere = FakeWorld("fake-2")
        flipped = "0" if good[-1] != "0" else "1"
        return {
            "wrong checksum": (good[:-1] + flipped, Reason.INVALID_ADDRESS),
            "one digit changed": (
                f"f{int(good[1:2], 16) ^ 1:x}{good[2:]}",
                Reason.INVALID_ADDRESS,
            ),
            "upper case": (good.upper(), Reason.INVALID_ADDRESS),
            "another network": (elsewhere.outsider("somebody"), Reason.INVALID_ADDRESS),
            "zero": (to_text(bytes(20), self.world.network), Reason.FORBIDDEN_DESTINATION),
            "burn": (
                to_text(bytes(18) + b"\xde\xad", self.world.network),
                Reason.FORBIDDEN_DESTINATION,
            ),
            "a token's contract": (self.token, Reason.FORBIDDEN_DESTINATION),
        }

    def fund(self, address: str, amount: int, asset_key: str = NATIVE) -> None:
        self.world.fund(address, amount, asset_key)

    def pay(self, to: str, asset_key: str, amount: int) -> str:
        if asset_key != self.odd_token:
            return self.world.pay(to, asset_key, amount)
        return self.world.pay(to, asset_key, amount * 98 // 100, claimed=amount)

    def pay_and_fail(self, to: str, amount: int) -> str:
        return self.world.pay(to, self.token, amount, fails=True)

    def mine(self, blocks: int = 1) -> None:
        self.world.mine(blocks)

    def reorg(self, depth: int) -> None:
        self.world.reorg(depth)

    def stall_finality(self) -> None:
        self.world.stall_finality()

    def resume_finality(self) -> None:
        self.world.resume_finality()


@contextlib.contextmanager
def fake_harness() -> Iterator[FakeHarness]:
    """Run a fresh fake world."""
    yield FakeHarness()


class EvmHarness:
    """A real node, behind a proxy that can freeze its finality."""

    coin = 10**18
    least = 1
    units = 100_000
    blocks_to_final = BLOCKS_TO_FINAL

    def __init__(self, node: AnvilNode, proxy: FaultProxy) -> None:
        self._node = node
        self._proxy = proxy
        self._frozen: Rule | None = None
        self._opened: list[EvmChain] = []
        self._deployer = Deployer(node)
        self._contracts = {
            contract.address: contract
            for contract in (
                self._deployer.deploy("DemoToken", "Token", "TOK", 6),
                self._deployer.deploy("FeeToken", False),
                self._deployer.deploy("PausableBlocklistToken"),
            )
        }
        self.token, self.odd_token, self.picky_token = self._contracts
        self.tokens: tuple[str, ...] = (self.token,)
        for contract in self._contracts.values():
            contract.send("mint", contract.creator, 10**30)
        self._node.mine()
        self.chain: Chain = self.connect()

    def refuse(self, address: str) -> None:
        self._contracts[self.picky_token].send("setBlocked", address, True)
        self._node.mine()

    def key(self, name: str) -> Key:
        return curve_key(name)

    def amounts(self, asset_key: str) -> Sequence[int]:
        return (1, 255, 256, 2**64, 2**96 - 1)

    def slot(self, address: str, number: int = 0) -> Slot:
        return Slot(nonce=self.chain.used_nonces(address, self.chain.head()) + number)

    def enable_batches(self, name: str) -> None:
        code = self._deployer.deploy("BatchPayer").address
        delegate(self._node, DevKey(curve_key(name).private.to_hex()), code, carrier=SECOND)

    def connect(self) -> Chain:
        genesis = self._node.call("eth_getBlockByNumber", "0x0", False)
        return self._open(str(genesis["hash"]))

    def impostor(self) -> Chain:
        return self._open("0x" + "ab" * 32)

    def outsider(self, name: str) -> str:
        return checksum(keccak(name.encode())[:20])

    def bad_addresses(self) -> Mapping[str, tuple[str, Reason]]:
        good = self.outsider("somebody")
        return {
            "wrong checksum": (good.swapcase().replace("0X", "0x"), Reason.INVALID_ADDRESS),
            "upper-case prefix": (good.replace("0x", "0X"), Reason.INVALID_ADDRESS),
            "no prefix": (good[2:], Reason.INVALID_ADDRESS),
            "another chain's": (
                "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
                Reason.INVALID_ADDRESS,
            ),
            "zero": ("0x" + "00" * 20, Reason.FORBIDDEN_DESTINATION),
            "burn": ("0x" + "00" * 18 + "dEaD", Reason.FORBIDDEN_DESTINATION),
            "precompile": ("0x" + "00" * 19 + "09", Reason.FORBIDDEN_DESTINATION),
            "a token's contract": (self.token, Reason.FORBIDDEN_DESTINATION),
        }

    def fund(self, address: str, amount: int, asset_key: str = NATIVE) -> None:
        self.pay(address, asset_key, amount)
        self._node.mine()

    def pay(self, to: str, asset_key: str, amount: int) -> str:
        if asset_key == NATIVE:
            return self._deployer.pay(to, amount)
        return self._contracts[asset_key].send("transfer", to, amount)

    def pay_and_fail(self, to: str, amount: int) -> str:
        return self._contracts[self.token].send("transfer", to, amount + 10**31, gas=self.units)

    def mine(self, blocks: int = 1) -> None:
        self._node.mine(blocks)

    def reorg(self, depth: int) -> None:
        self._node.reorg(depth)
        self._node.mine()

    def stall_finality(self) -> None:
        frozen = self._node.call("eth_getBlockByNumber", "finalized", False)
        self._frozen = self._proxy.add(
            Result(frozen), "eth_getBlockByNumber", when=lambda params: params[0] == "finalized"
        )

    def resume_finality(self) -> None:
        assert self._frozen is not None
        assert self._frozen.count, "nobody asked for the finalized block"
        self._frozen.stop()

    def close(self) -> None:
        """Close every connection that was made."""
        for chain in self._opened:
            chain.close()

    def _open(self, genesis_hash: str) -> EvmChain:
        chain = open_evm(self._config(genesis_hash))
        self._opened.append(chain)
        return chain

    def _config(self, genesis_hash: str) -> ChainConfig:
        chain = ChainId("evm")
        assets = tuple(
            AssetSpec(
                chain=chain,
                key=key,
                symbol=contract.artifact.name,
                scale=6,
                deposit_minimum=1,
                withdrawal_minimum=1,
                withdrawal_fee=0,
                sweep_minimum=1,
                odd=key == self.odd_token,
            )
            for key, contract in self._contracts.items()
        )
        return ChainConfig(
            kind="evm",
            chain=chain,
            node_urls=(self._proxy.url,),
            quorum=1,
            chain_number=int(self._node.call("eth_chainId"), 16),
            genesis_hash=genesis_hash,
            fee_floor=GWEI,
            fee_cap=1_000 * GWEI,
            tip=GWEI,
            assets=assets,
        )


@contextlib.contextmanager
def evm_harness() -> Iterator[EvmHarness]:
    """Run a fresh node; what was final lies BLOCKS_TO_FINAL below its head."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(
            start_anvil(no_mining=True, slots_in_an_epoch=BLOCKS_TO_FINAL // 2)
        )
        proxy = stack.enter_context(FaultProxy(node.url))
        harness = EvmHarness(node, proxy)
        stack.callback(harness.close)
        yield harness


Runs = contextlib.AbstractContextManager
CHAINS: Mapping[str, Callable[[], Runs[ChainHarness]]] = {
    "bitcoin": bitcoin_harness,
    "fake": fake_harness,
    "evm": evm_harness,
    "solana": solana_harness,
}
"""Every chain; the fixture `harness`. The lists below name those that have one thing more."""
TOKEN_CHAINS: Mapping[str, Callable[[], Runs[TokenHarness]]] = {
    "fake": fake_harness,
    "evm": evm_harness,
    "solana": solana_harness,
}
"""With tokens; `token_harness`."""
ODD_TOKEN_CHAINS: Mapping[str, Callable[[], Runs[OddTokenHarness]]] = {
    "fake": fake_harness,
    "evm": evm_harness,
    "solana": solana_harness,
}
"""With tokens that run code; `odd_harness`."""
TAGGED_CHAINS: Mapping[str, Callable[[], Runs[TaggedHarness]]] = {
    "fake": fake_harness,
    "evm": evm_harness,
    "solana": solana_harness,
}
"""That say themselves what is final; `tagged_harness`."""
NONCE_CHAINS = ("fake", "evm")
"""Whose senders use up one number after another; `nonce_harness`."""
COIN_CHAINS: Mapping[str, Callable[[], Runs[CoinHarness]]] = {"bitcoin": bitcoin_harness}
"""Whose senders use up coins; `coin_harness`."""
SIMULATING_CHAINS = ("bitcoin", "fake", "evm", "solana")
"""Which say what an unsigned transaction would do; `simulating`."""
FORKING_CHAINS = ("bitcoin", "fake", "evm")
"""Whose newest blocks may be replaced by others; `forking_harness`."""
WAITING_CHAINS = ("bitcoin", "fake", "evm")
"""Whose transactions wait for a block, and give way to one that pays more; `waiting_harness`."""
BATCH_CHAINS = ("bitcoin", "fake", "evm")
"""With batches; `batch_harness`."""
