"""A local network of slots and the chain in front of it, for tests that pay to addresses."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from chains.base import NATIVE, AssetSpec, Payment
from chains.rpc import NodeSet, RpcClient
from chains.solana.node import SolanaNode
from chains.solana.params import SolanaParams
from chains.solana.reader import SolanaReader
from core.ids import ChainId
from infra.devnet.surfpool import SurfpoolNode, start_surfpool
from infra.devnet.surfpool_front import Front
from infra.devnet.surfpool_tokens import Token, create_token, create_token_2022

CHAIN = ChainId("slots")
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")


def key(name: str) -> Keypair:
    """Return the key of a name."""
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


def address(name: str) -> str:
    """Return the address of a name."""
    return str(key(name).pubkey())


def asset(chain: ChainId, mint: str, symbol: str = "TOK", *, scale: int = 6) -> AssetSpec:
    """Return a listed asset without limits."""
    return AssetSpec(chain, mint, symbol, scale, 1, 1, 0, 1)


def reader(urls: Sequence[str], genesis: str, assets: Sequence[AssetSpec] = ()) -> SolanaReader:
    """Open the reading half over some nodes; most of them must agree."""
    params = SolanaParams(CHAIN, genesis, fee_floor=1, fee_cap=1_000)
    nodes = tuple(SolanaNode(RpcClient(url, timeout_ms=10_000)) for url in urls)
    return SolanaReader(params, NodeSet(nodes, len(nodes) // 2 + 1), assets)


def memo(text: bytes) -> Instruction:
    """Return an instruction that says something and does nothing."""
    return Instruction(MEMO, text, [])


def table_of(node: SurfpoolNode, keys: Sequence[Pubkey]) -> Pubkey:
    """Make an address lookup table of some keys; it can be used from the next slot on."""
    owner, slot = node.payer.pubkey(), node.slot() - 1
    seeds = [bytes(owner), slot.to_bytes(8, "little")]
    table, bump = Pubkey.find_program_address(seeds, TABLES)
    metas = [
        AccountMeta(table, is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=True, is_writable=False),
        AccountMeta(owner, is_signer=True, is_writable=True),
        AccountMeta(SYSTEM, is_signer=False, is_writable=False),
    ]
    made = bytes(4) + slot.to_bytes(8, "little") + bytes((bump,))
    filled = (2).to_bytes(4, "little") + len(keys).to_bytes(8, "little")
    filled += b"".join(map(bytes, keys))
    node.send([Instruction(TABLES, made, metas), Instruction(TABLES, filled, metas)])
    return table


@dataclass(slots=True)
class Net:
    """A network in which slots pass when told, with two listed tokens."""

    node: SurfpoolNode
    front: Front
    token: Token
    token_2022: Token
    genesis: str
    listed: list[AssetSpec] = field(default_factory=list)
    opened: list[SolanaReader] = field(default_factory=list)

    def chain(self, *urls: str) -> SolanaReader:
        """Open the reading half, over the one honest node unless others are named."""
        chain = reader(urls or (self.front.url,), self.genesis, self.listed)
        self.opened.append(chain)
        return chain

    def list_token(self, token: Token, symbol: str) -> None:
        """List a token, for whoever opens the chain afterwards."""
        self.listed.append(asset(CHAIN, token.key, symbol))

    def paid(self, *names: str, by: SolanaReader | None = None) -> list[Payment]:
        """End the slot and return its payments to some names."""
        slot = self.front.pass_slots()
        return payments_at(by or self.chain(), slot, {address(name) for name in names})


def payments_at(chain: SolanaReader, slot: int, watched: Collection[str]) -> list[Payment]:
    """Return the payments of one slot."""
    block = chain.block_at(slot)
    assert block is not None, f"slot {slot} is not final"
    return list(chain.payments_in(block, frozenset(watched)))


@contextlib.contextmanager
def running_net() -> Iterator[Net]:
    """Run a fresh network."""
    with start_surfpool(manual=True) as node, Front(node) as front:
        token, token_2022 = create_token(node), create_token_2022(node)
        net = Net(node, front, token, token_2022, str(node.call("getGenesisHash")))
        net.listed.append(asset(CHAIN, NATIVE, "COIN", scale=9))
        net.list_token(token, "TOK")
        net.list_token(token_2022, "TOK22")
        front.pass_slots()
        try:
            yield net
        finally:
            for chain in net.opened:
                chain.close()
