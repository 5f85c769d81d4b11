"""An EVM network on local nodes, opened as the platform opens it, and keys that everybody knows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import coincurve

from chains.base import NATIVE, AssetSpec, Payment, SpendIntent, SpendKind
from chains.evm import open_evm
from chains.evm.address import checksum
from chains.evm.chain import EvmChain
from chains.evm.signature import CURVE_ORDER
from chains.registry import ChainConfig
from core.ids import ChainId
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode, call

CHAIN = ChainId("local")
GWEI = 1_000_000_000
ETHER = 10**18


@dataclass(frozen=True, slots=True)
class DevKey:
    """A private key from the public test mnemonic; worth nothing, so it may be printed."""

    secret_hex: str

    @property
    def public_key(self) -> bytes:
        """Return the compressed point."""
        return coincurve.PrivateKey.from_hex(self.secret_hex).public_key.format()

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s ‖ v over a digest."""
        return coincurve.PrivateKey.from_hex(self.secret_hex).sign_recoverable(digest, hasher=None)


# "test test … junk", m/44'/60'/0'/0/0 and /1: the first two unlocked accounts of anvil.
FIRST = DevKey("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
SECOND = DevKey("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")


def watched_address(number: int) -> str:
    """Return a canonical address that no key of the tests belongs to."""
    return checksum((0xDE9051 << 64 | number).to_bytes(20, "big"))


def genesis_hash(url: str) -> str:
    """Ask a node for the hash of its first block."""
    return str(call(url, "eth_getBlockByNumber", "0x0", False)["hash"])


def listed(key: str, symbol: str = "TKN", *, odd: bool = False) -> AssetSpec:
    """Return a listed asset whose limits do not matter to the test."""
    return AssetSpec(
        chain=CHAIN,
        key=key,
        symbol=symbol,
        scale=6,
        deposit_minimum=1,
        withdrawal_minimum=1,
        withdrawal_fee=0,
        sweep_minimum=1,
        odd=odd,
    )


def config_for(urls: Sequence[str], *assets: AssetSpec, genesis: str) -> ChainConfig:
    """Return the configuration of a local network; all nodes but a minority must agree."""
    return ChainConfig(
        kind="evm",
        chain=CHAIN,
        node_urls=tuple(urls),
        quorum=len(urls) // 2 + 1,
        chain_number=31_337,
        genesis_hash=genesis,
        fee_floor=GWEI,
        fee_cap=300 * GWEI,
        tip=GWEI,
        assets=assets,
        timeout_ms=2_000,
    )


class Opener:
    """Opens chains for a test and closes them after it; a context manager."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __call__(
        self, *urls: str, assets: Sequence[AssetSpec] = (), quorum: int | None = None
    ) -> EvmChain:
        """Open a chain on running nodes, pinned to the first one's genesis."""
        config = config_for(urls, *assets, genesis=genesis_hash(urls[0]))
        return self.open(replace(config, quorum=quorum or config.quorum))

    def open(self, config: ChainConfig) -> EvmChain:
        """Open a chain as configured."""
        chain = open_evm(config)
        self._stack.callback(chain.close)
        return chain

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def payments_of(chain: EvmChain, node: AnvilNode, tx_id: str, watched: set[str]) -> list[Payment]:
    """Return the payments of the block that holds a transaction."""
    receipt = node.call("eth_getTransactionReceipt", tx_id)
    block = chain.block_at(int(receipt["blockNumber"], 16))
    assert block is not None
    assert block.ref.hash == receipt["blockHash"]
    return list(chain.payments_in(block, watched))


def withdrawal(
    chain: EvmChain, destination: str, amount: int, *, asset_key: str = NATIVE, key: DevKey = FIRST
) -> SpendIntent:
    """Return the intent of a withdrawal from a known key's address."""
    return SpendIntent(
        spend_id="sp_1",
        kind=SpendKind.WITHDRAWAL,
        cause_id="wd_1",
        chain=CHAIN,
        network=chain.traits.network,
        asset_key=asset_key,
        source=chain.address_of(key.public_key),
        destination=destination,
        amount=amount,
        fee_max=ETHER // 10,
    )


def high_s(signature: bytes) -> bytes:
    """Return the other signature over the same digest, which nodes refuse."""
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((signature[64] ^ 1,))


def brief(payments: list[Payment]) -> list[tuple[str, str, int, str | None]]:
    """Return (position, recipient, amount, anomaly) of each payment."""
    return [(p.position, p.to_address, p.amount, p.anomaly) for p in payments]


def minted(contracts: Deployer, name: str, *arguments: object) -> Contract:
    """Deploy a token of which its creator has a million units."""
    token = contracts.deploy(name, *arguments)
    token.send("mint", token.creator, 1_000_000)
    return token
