"""What followers ask of the network. Only finalized blocks are shown: nothing here is ever undone.

Height is the slot. Nodes agree on hashes, and on what a block holds, because no hash proves it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from chains.accounts import AccountChain
from chains.base import (
    NATIVE,
    AssetSpec,
    Block,
    BlockRef,
    ChainTraits,
    Payment,
)
from chains.incoming import FOREIGN_AUTHORITY, POWERFUL_ISSUER
from chains.rpc import NodeSet
from chains.solana import mints, programs
from chains.solana.accounts import (
    ACCOUNTS_AT_ONCE,
    Account,
    TokenAccount,
    ask_accounts,
    is_mint,
    token_of,
)
from chains.solana.address import raw_address
from chains.solana.blocks import Contents, Header
from chains.solana.node import SolanaNode
from chains.solana.params import COIN_TYPE, CURVE, SolanaParams
from chains.solana.past_balances import balances_after
from chains.solana.payments import TokenArrival, Watch, plan_payments
from core.errors import Corrupt, Reason, Refused, Unavailable

_CONTENTS_KEPT = 4


class SolanaReader(AccountChain):
    """The reading half of one network."""

    def __init__(
        self, params: SolanaParams, nodes: NodeSet[SolanaNode], assets: Sequence[AssetSpec]
    ) -> None:
        self._params = params
        self._nodes = nodes
        self._listed = frozenset(asset.key for asset in assets)
        self._watch = Watch()
        self._kept: dict[str, Contents] = {}
        self._programs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def traits(self) -> ChainTraits:
        """Return the pinned facts."""
        return ChainTraits(
            chain=self._params.chain,
            network=self._params.network,
            is_main_network=self._params.is_main_network,
            coin_type=COIN_TYPE,
            curve=CURVE,
            control="ed25519",
            reorg_limit=self._params.reorg_limit,
            uses_tickets=True,
            balance_least=programs.BALANCE_LEAST,
        )

    @property
    def nodes(self) -> NodeSet[SolanaNode]:
        """Return the nodes, whose counters are metrics."""
        return self._nodes

    def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.nodes:
            node.client.close()

    # ---- blocks -----------------------------------------------------------------------------

    def check_identity(self) -> None:
        """Compare every answering node with the pin. Corrupt: one is on another network."""
        for vote in self._nodes.votes(lambda node: node.genesis_hash(), "identity"):
            if vote.value != self._params.genesis_hash:
                raise Corrupt(f"a node of {self._params.chain} starts at {vote.value}")

    def head(self) -> BlockRef:
        """Return the newest finalized block that a quorum of nodes agrees on."""
        slot = self._final_slot()
        header = self._agreed(slot)
        if header is None:
            raise Unavailable(f"node_null: slot {slot}")
        return BlockRef(header.slot, header.hash)

    def final_head(self) -> BlockRef | None:
        """Return the head: only what is final is shown."""
        return self.head()

    def block_at(self, height: int) -> Block | None:
        """Return the finalized block of a slot, None where a quorum has none yet.

        Unavailable: incomplete_block (a block is lost), nodes_disagree.
        """
        header = self._agreed(height)
        if header is None:
            return None
        ref = BlockRef(header.slot, header.hash)
        return Block(ref, header.parent_hash, header.time_s, body=header)

    def payments_in(self, block: Block, watched: Collection[str]) -> Sequence[Payment]:
        """Return every payment to a watched address in exactly this block.

        Unavailable: nodes tell different contents, a transaction cannot be read, node errors.
        """
        header = block.body
        if not isinstance(header, Header) or header.hash != block.ref.hash:
            raise ValueError("a block is read by the chain that made it")
        if header.is_skipped:
            self._prove(block.ref)
            return ()
        contents = self._contents(header)
        with self._lock:
            self._watch.follow(watched)
            payments, arrivals = plan_payments(contents, self._watch)
            # Kept only once it could be read: another answer may be a better one.
            if header.hash not in self._kept and len(self._kept) >= _CONTENTS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[header.hash] = contents
        return (*payments, *self._judged(arrivals))

    def _final_slot(self) -> int:
        """Return the slot that a quorum has finalized."""
        votes = self._nodes.votes(lambda node: node.final_slot(), "slot")
        return sorted((vote.value for vote in votes), reverse=True)[self._nodes.quorum - 1]

    def _agreed(self, slot: int) -> Header | None:
        if slot < 0:
            return None
        votes = self._nodes.votes(lambda node: node.header_at(slot), f"slot {slot}")
        present = [vote for vote in votes if vote.value is not None]
        if len({vote.value for vote in present}) <= 1 and len(present) < self._nodes.quorum:
            return None  # some are behind, nobody contradicts
        return self._nodes.settle(present, f"slot {slot}")

    def _prove(self, at: BlockRef) -> Header:
        """Return the header of a block that a quorum has. Unavailable: it has another one."""
        header = self._agreed(at.height)
        if header is None or header.hash != at.hash:
            raise Unavailable(f"unknown_block: {at.height} {at.hash}")
        return header

    def _contents(self, header: Header) -> Contents:
        """Return what a quorum says that a block holds."""
        with self._lock:
            kept = self._kept.get(header.hash)
        if kept is not None:
            return kept
        return self._nodes.agree(lambda node: node.contents(header), "contents")

    def _judged(self, arrivals: Sequence[TokenArrival]) -> list[Payment]:
        """Return token payments, set aside where others have power over what arrived.

        Unlisted tokens are not asked about: nobody credits them.
        """
        listed = [each for each in arrivals if each.payment.asset_key in self._listed]
        mints_of = {raw_address(each.payment.asset_key) for each in listed}
        asked = sorted({each.account for each in listed} | mints_of)
        found = dict(zip(asked, self._accounts(asked), strict=True)) if asked else {}
        payments: list[Payment] = []
        for each in arrivals:
            payment = each.payment
            if payment.asset_key in self._listed and payment.amount:
                mint = found[raw_address(payment.asset_key)]
                anomaly = _judge(found[each.account], mint, payment.to_address)
                payment = replace(payment, anomaly=anomaly or payment.anomaly)
            payments.append(payment)
        return payments

    def _accounts(self, addresses: Sequence[bytes]) -> list[Account | None]:
        """Return accounts as a quorum finalized them; what they hold may have changed since."""
        found: list[Account | None] = []
        for first in range(0, len(addresses), ACCOUNTS_AT_ONCE):
            some = addresses[first : first + ACCOUNTS_AT_ONCE]
            ask = partial(_ask_still, addresses=some)
            found += self._nodes.agree(ask, "accounts")
        return found

    # ---- balances and accounts --------------------------------------------------------------

    def balance_of(self, address: str, asset_key: str, at: BlockRef) -> int:
        """Return what a quorum says an address holds after one block."""
        return self.balances_of([address], asset_key, at)[address]

    def balances_of(
        self, addresses: Sequence[str], asset_key: str, at: BlockRef
    ) -> Mapping[str, int]:
        """Return what a quorum says that addresses hold after one block.

        Unavailable: unknown_block, the block is too old, the mint does not answer.
        """
        if not addresses:
            return {}
        self._prove(at)
        program = None if asset_key == NATIVE else self._program_of(asset_key)
        wanted = list(dict.fromkeys(addresses))
        raw = [raw_address(address) for address in wanted]
        if program is not None:
            mint = raw_address(asset_key)
            raw = [programs.token_account(owner, mint, program) for owner in raw]
        found: list[int] = []
        for first in range(0, len(raw), ACCOUNTS_AT_ONCE):
            some = raw[first : first + ACCOUNTS_AT_ONCE]
            ask = partial(balances_after, accounts=some, slot=at.height, is_native=program is None)
            found += self._nodes.agree(ask, "balances")
        return dict(zip(wanted, found, strict=True))

    def delegate_of(self, address: str, at: BlockRef) -> str | None:  # noqa: ARG002
        """Return None: an account of the system program runs no code.

        Refused: unknown_call (a program owns it).
        """
        (account,) = self._accounts([raw_address(address)])
        if account is not None and account.owner != programs.SYSTEM:
            raise Refused(Reason.UNKNOWN_CALL, f"{address} belongs to a program")
        return None

    def _program_of(self, mint: str) -> bytes:
        """Return the token program that owns a mint, for ever. Unavailable: it is no mint."""
        known = self._programs.get(mint)
        if known is None:
            (account,) = self._accounts([raw_address(mint)])
            if account is None or not is_mint(account):
                raise Unavailable(f"balance_unreadable: {mint} is no mint")
            known = self._programs[mint] = account.owner
        return known


def _ask_still(node: SolanaNode, addresses: Sequence[bytes]) -> list[Account | None]:
    return [_still(one) for one in ask_accounts(node.client, addresses)[1]]


def _still(account: Account | None) -> Account | None:
    """Return an account without what changes from slot to slot and nobody here judges by."""
    if account is None:
        return None
    token = token_of(account)
    if token is None:
        return replace(account, lamports=0)
    data = account.data
    return replace(account, lamports=0, data=data[:64] + bytes(8) + data[72:])


def _judge(account: Account | None, mint: Account | None, owner: str) -> str | None:
    if mint is not None and mints.has_power_over_holders(mint):
        return POWERFUL_ISSUER
    if account is None:
        return None  # emptied and closed since
    token = token_of(account)
    is_ours = token is not None and token.owner == raw_address(owner)
    if token is None or not is_ours or _has_other_master(token):
        return FOREIGN_AUTHORITY
    return None


def _has_other_master(token: TokenAccount) -> bool:
    return token.is_frozen or token.has_delegate or token.has_close_authority
