"""A local network with wallets of ours on it: keys, nonce accounts, tokens, and the chain.

Slots pass when told to, behind the front that makes the node answer as the real network does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from chains.base import (
    NATIVE,
    AssetSpec,
    FeeRate,
    SignedTx,
    SpendIntent,
    SpendKind,
    UnsignedTx,
)
from chains.rpc import NodeSet, RpcClient
from chains.solana.chain import SolanaChain
from chains.solana.node import SolanaNode
from chains.solana.params import SolanaParams
from core.ids import ChainId
from infra.devnet.surfpool import LAMPORTS, SurfpoolNode, start_surfpool
from infra.devnet.surfpool_front import Front
from infra.devnet.surfpool_tokens import Token, create_token, create_token_2022
from tests.support.solana import DEPOSIT, GAS, HOT

CHAIN = ChainId("local")


Owner = Keypair | Pubkey | str


def text_of(owner: Owner) -> str:
    """Return the address of an owner."""
    return str(owner.pubkey() if isinstance(owner, Keypair) else owner)


def listed(key: str, scale: int) -> AssetSpec:
    """Return a listed asset."""
    return AssetSpec(CHAIN, key, "TOK", scale, 1, 1, 0, 1)


@dataclass(slots=True)
class Town:
    """The network and who is on it."""

    node: SurfpoolNode
    front: Front
    token: Token
    new_token: Token
    """Of Token-2022."""
    nonces: dict[str, list[str]]
    params: SolanaParams
    chain: SolanaChain
    _opened: list[SolanaChain] = field(default_factory=list)

    def open(self, *urls: str, quorum: int = 0) -> SolanaChain:
        """Return the chain over nodes, all of which must agree unless a quorum is said."""
        nodes = tuple(SolanaNode(RpcClient(url)) for url in urls)
        assets = [listed(key, scale) for key, scale in self.params.scales.items()]
        opened = SolanaChain(self.params, NodeSet(nodes, quorum or len(nodes)), assets)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Close every connection."""
        for one in self._opened:
            one.close()

    def ticket(self, owner: Owner = HOT, place: int = 0) -> str:
        """Return an open ticket of a wallet."""
        return self.chain.tickets(text_of(owner), self.chain.head())[place]

    def intent(
        self,
        source: Owner,
        destination: Owner,
        amount: int,
        asset_key: str = NATIVE,
        kind: SpendKind = SpendKind.WITHDRAWAL,
    ) -> SpendIntent:
        """Return an intent of this network."""
        return SpendIntent(
            "spend", kind, "cause", CHAIN, self.params.network, asset_key, text_of(source),
            text_of(destination), amount, LAMPORTS,
        )  # fmt: skip

    def cancellation(self, source: Owner) -> SpendIntent:
        """Return the intent that uses up a ticket and moves nothing."""
        return self.intent(source, source, 0, kind=SpendKind.CANCELLATION)

    def build(self, intent: SpendIntent, *, ticket: str, rate: FeeRate | None = None) -> UnsignedTx:
        """Build as custody does, at the rate of now."""
        rate, units = rate or self.chain.fee_rate(), self.chain.fee_units(intent)
        most = units * rate.max_rate + self.chain.fee_extra(intent)
        capped = replace(intent, fee_max=most)
        return self.chain.build(capped, nonce=0, rate=rate, units=units, ticket=ticket)

    def signed(self, unsigned: UnsignedTx, *keys: Keypair) -> SignedTx:
        """Sign in the order of the signers."""
        made = b"".join(bytes(key.sign_message(unsigned.digest)) for key in keys)
        return self.chain.assemble(unsigned, made)

    def lamports(self, owner: Owner) -> int:
        """Return the coins of an address now."""
        account = self.node.account(text_of(owner))
        return 0 if account is None else int(account["lamports"])

    def held(self, token: Token, owner: Owner) -> int:
        """Return the tokens of an owner now."""
        account = token.account_of(text_of(owner))
        if self.node.account(account) is None:
            return 0
        return int.from_bytes(self.node.data(account)[64:72], "little")


@contextlib.contextmanager
def start_town(
    *, manual: bool = True, hot: Owner = HOT, gas: Owner = GAS, deposit: Owner = DEPOSIT
) -> Iterator[Town]:
    """Start a network where hot and gas have coins and two nonce accounts each."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(start_surfpool(manual=manual, slot_ms=20))
        front = stack.enter_context(Front(node))
        wallets = [text_of(owner) for owner in (hot, gas)]
        for address in wallets:
            node.pay(address, 100 * LAMPORTS)
        nonces = {address: [node.create_nonce(address) for _ in range(2)] for address in wallets}
        token, new_token = create_token(node), create_token_2022(node, decimals=9)
        for one in (token, new_token):
            one.give(text_of(hot), 10**12)
            one.give(text_of(deposit), 5_000)
        if manual:
            front.pass_slots()
        params = SolanaParams(
            chain=CHAIN,
            genesis_hash=str(node.call("getGenesisHash")),
            fee_floor=5,
            fee_cap=10_000,
            scales={token.key: 6, new_token.key: 9},
            tickets=tuple(account for some in nonces.values() for account in some),
        )
        nodes = NodeSet((SolanaNode(RpcClient(front.url)),), 1)
        chain = SolanaChain(params, nodes, [listed(token.key, 6), listed(new_token.key, 9)])
        town = Town(node, front, token, new_token, nonces, params, chain)
        stack.callback(town.close)
        stack.callback(chain.close)
        yield town
