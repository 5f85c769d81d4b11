"""The harness of a real network of slots, whose transactions use up tickets."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nacl.signing import SigningKey
from solders.keypair import Keypair

from chains.base import NATIVE, AssetSpec, Chain
from chains.registry import ChainConfig
from chains.solana.chain import SolanaChain
from chains.solana.opening import open_solana
from core.errors import Reason
from core.ids import ChainId
from infra.devnet.nodes import RpcRefused
from infra.devnet.surfpool import LAMPORTS, SurfpoolNode, start_surfpool
from infra.devnet.surfpool_front import Front
from infra.devnet.surfpool_tokens import Powers, create_token, create_token_2022
from tests.conformance.harness import Key, Slot

NAMES = ("alice", "bob", "carol", "poor")
"""Whose keys spend in the facts: each has tickets."""
TICKETS_EACH = 3


@dataclass(frozen=True, slots=True)
class EdwardsKey:
    """A key of Ed25519."""

    private: SigningKey

    @property
    def public_key(self) -> bytes:
        """Return 32 bytes."""
        return bytes(self.private.verify_key)

    def sign(self, digest: bytes) -> bytes:
        """Return 64 bytes."""
        return bytes(self.private.sign(digest).signature)


def edwards_key(name: str) -> EdwardsKey:
    """Return the key of a name."""
    return EdwardsKey(SigningKey(hashlib.sha256(name.encode()).digest()))


class SolanaHarness:
    """A real node of a fresh network whose slots pass when told."""

    coin = LAMPORTS
    least = 1_000_000
    """An account must hold the rent of being there."""
    units = 400
    blocks_to_final = 0
    """Only what is final is shown."""

    def __init__(self, node: SurfpoolNode, front: Front) -> None:
        self._node, self._front = node, front
        self._opened: list[SolanaChain] = []
        self._tokens = {
            token.key: token
            for token in (
                create_token(node),
                create_token_2022(node),
                create_token_2022(node, powers=Powers(fee_bp=200)),
                create_token(node),
            )
        }
        self.token, second, self.odd_token, self.picky_token = self._tokens
        self.tokens: tuple[str, ...] = (self.token, second)
        owners = [Keypair.from_seed(bytes(edwards_key(name).private)).pubkey() for name in NAMES]
        self._nonces = tuple(
            node.create_nonce(owner) for owner in owners for _ in range(TICKETS_EACH)
        )
        self._front.pass_slots()
        self.chain: Chain = self.connect()

    def key(self, name: str) -> Key:
        return edwards_key(name)

    def amounts(self, asset_key: str) -> Sequence[int]:
        least = self.least if asset_key == NATIVE else 1
        return (least, 2**32 - 1, 2**32, 2**63, 2**64 - 1)

    def slot(self, address: str, number: int = 0) -> Slot:
        return Slot(ticket=self.chain.tickets(address, self.chain.head())[number])

    def enable_batches(self, name: str) -> None:
        """Do nothing: there are none."""

    def connect(self) -> Chain:
        return self._open(str(self._node.call("getGenesisHash")))

    def impostor(self) -> Chain:
        return self._open(self.outsider("another network"))

    def outsider(self, name: str) -> str:
        return str(Keypair.from_seed(hashlib.sha256(f"outsider {name}".encode()).digest()).pubkey())

    def bad_addresses(self) -> Mapping[str, tuple[str, Reason]]:
        good = self.outsider("somebody")
        derived = self._tokens[self.token].account_of(good)
        return {
            "no such digit": (good[:-1] + "O", Reason.INVALID_ADDRESS),
            "a zero before": ("1" + good, Reason.INVALID_ADDRESS),
            "another chain's": ("0x" + "11" * 20, Reason.INVALID_ADDRESS),
            "zero": ("1" * 32, Reason.FORBIDDEN_DESTINATION),
            "a program": (str(self._tokens[self.token].program), Reason.FORBIDDEN_DESTINATION),
            "a token's mint": (self.token, Reason.FORBIDDEN_DESTINATION),
            "a derived address": (str(derived), Reason.FORBIDDEN_DESTINATION),
            "the incinerator": (
                "1nc1nerator11111111111111111111111111111111",
                Reason.FORBIDDEN_DESTINATION,
            ),
        }

    def fund(self, address: str, amount: int, asset_key: str = NATIVE) -> None:
        if asset_key == NATIVE:
            self._node.pay(address, amount)
        else:
            self._tokens[asset_key].give(address, amount)
        self._front.pass_slots()

    def pay(self, to: str, asset_key: str, amount: int) -> str:
        if asset_key == NATIVE:
            return self._node.pay(to, amount)
        return self._tokens[asset_key].pay(to, amount)

    def pay_and_fail(self, to: str, amount: int) -> str:
        token, payer = self._tokens[self.token], self._node.payer.pubkey()
        token.open(to, payer)
        source, target = token.account_of(payer), token.account_of(to)
        moved = token.moving(source, target, payer, amount + 10**15)
        return self._node.send([moved], preflight=False)

    def refuse(self, address: str) -> None:
        token = self._tokens[self.picky_token]
        token.open(address)
        with contextlib.suppress(RpcRefused):  # it was refused before
            token.freeze(address)
        self._front.pass_slots()

    def mine(self, blocks: int = 1) -> None:
        self._front.pass_slots(blocks)

    def reorg(self, depth: int) -> None:
        """Fail: what is shown here is never replaced."""
        raise AssertionError("a final block is for ever")

    def stall_finality(self) -> None:
        self._front.freeze()

    def resume_finality(self) -> None:
        self._front.thaw()

    def close(self) -> None:
        """Close every connection that was made."""
        for chain in self._opened:
            chain.close()

    def _open(self, genesis_hash: str) -> SolanaChain:
        chain = ChainId("solana")
        assets = tuple(
            AssetSpec(chain, key, f"TOK{number}", token.decimals, 1, 1, 0, 1)
            for number, (key, token) in enumerate(self._tokens.items())
        )
        config = ChainConfig(
            kind="solana",
            chain=chain,
            node_urls=(self._front.url,),
            quorum=1,
            chain_number=0,
            genesis_hash=genesis_hash,
            fee_floor=5,
            fee_cap=10_000,
            tip=0,
            assets=assets,
            tickets=self._nonces,
        )
        opened = open_solana(config)
        self._opened.append(opened)
        return opened


@contextlib.contextmanager
def solana_harness() -> Iterator[SolanaHarness]:
    """Run a fresh network."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(start_surfpool(manual=True))
        front = stack.enter_context(Front(node))
        harness = SolanaHarness(node, front)
        stack.callback(harness.close)
        yield harness
