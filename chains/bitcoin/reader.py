"""What nodes of one network say: blocks, coins, transactions. Nothing here holds a private key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chains.base import NATIVE, Block, BlockRef, ChainTraits, Payment, Standing, TxStatus
from chains.bitcoin.address import canonical, script_of
from chains.bitcoin.followed import Followed
from chains.bitcoin.holdings import balances_at
from chains.bitcoin.kinds import control_of, kind_of
from chains.bitcoin.node import BitcoinNode, Header
from chains.bitcoin.params import BitcoinParams
from chains.bitcoin.pool import Pool
from chains.bitcoin.tx import outpoint_of
from chains.rpc import NodeSet, Vote
from core.errors import Corrupt, Reason, Refused, Unavailable


class BitcoinReader:
    """The half of chains.base.Chain that asks nodes."""

    def __init__(self, params: BitcoinParams, nodes: NodeSet[BitcoinNode]) -> None:
        self._params = params
        self._nodes = nodes
        self._followed = Followed(params, nodes)
        self._pool = Pool(nodes)

    @property
    def traits(self) -> ChainTraits:
        """Return the pinned facts."""
        return ChainTraits(
            chain=self._params.chain,
            network=self._params.network,
            is_main_network=self._params.is_main_network,
            coin_type=self._params.place.coin_type,
            curve=kind_of(self._params).curve,
            control=control_of(self._params),
            reorg_limit=self._params.reorg_limit,
            purpose=self._params.purpose,
            spends_coins=True,
            batch_max=self._params.batch_max,
        )

    @property
    def nodes(self) -> NodeSet[BitcoinNode]:
        """Return the nodes, whose counters are metrics."""
        return self._nodes

    def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.nodes:
            node.client.close()

    # ---- what nodes say ---------------------------------------------------------------------

    def check_identity(self) -> None:
        """Compare every answering node's first block with the pin. Corrupt: another network."""
        pinned = self._params.place.genesis_hash
        for vote in self._nodes.votes(lambda node: node.block_hash(0), "identity"):
            if vote.value != pinned:
                raise Corrupt(f"a node of {self._params.chain} starts at {vote.value}")

    def head(self) -> BlockRef:
        """Return the newest block that a quorum of nodes agrees on."""
        return self._agreed(self._height())

    def final_head(self) -> BlockRef | None:
        """Return the newest block with enough confirmations, None while that is the first one."""
        height = self._height() - self._params.confirmations + 1
        return self._agreed(height) if height > 0 else None

    def head_age_s(self, now_ns: int) -> int:
        """Return how old the agreed head is: the watchdog for nodes that went silent."""
        head = self.block_at(self.head().height)
        if head is None:
            raise Unavailable("node_null: head")
        return max(0, now_ns // 1_000_000_000 - head.time_s)

    def block_at(self, height: int) -> Block | None:
        """Return the block that a quorum names at a height, None where no quorum has one yet.

        NodesDisagree: several hashes at the height, none with a quorum.
        """
        votes = self._nodes.votes(lambda node: node.header_at(height), f"block {height}")
        present = [vote for vote in votes if vote.value is not None]
        names = {vote.value.hash for vote in present if vote.value is not None}
        if len(names) <= 1 and len(present) < self._nodes.quorum:
            return None  # some lag, nobody contradicts
        header = self._nodes.settle(present, f"block {height}")
        assert header is not None, "only present headers were counted"
        self._followed.link(header.hash, header.parent_hash)
        return Block(_ref(header), header.parent_hash, header.time_s)

    # ---- what is ours -------------------------------------------------------------------------

    def payments_in(self, block: Block, watched: Collection[str]) -> Sequence[Payment]:
        """Return every payment to a watched address, by exact script, in exactly this block.

        What a coinbase pays is reported in the block that makes it spendable. Unavailable:
        incomplete_block (what a node says contradicts the block's hash, or is not understood).
        """
        return self._followed.payments(block, watched)

    def used_in(self, block: Block, outpoints: Collection[str]) -> Mapping[str, str]:
        """Return which of these coins exactly this block uses up, and in which transaction.

        Unavailable: as payments_in. Refused: malformed (no coin's name).
        """
        return self._followed.used(block, outpoints)

    def pending(self, watched: Collection[str]) -> Sequence[Payment]:
        """Return the payments that wait for a block, as one node sees them.

        A full pool is read over several calls. What was replaced or evicted is gone.
        """
        return self._pool.payments(self._followed, watched)

    def balance_of(self, address: str, asset_key: str, at: BlockRef) -> int:
        """Return what a quorum says an address holds after one block; as balances_of."""
        return self.balances_of([address], asset_key, at)[address]

    def balances_of(
        self, addresses: Sequence[str], asset_key: str, at: BlockRef
    ) -> Mapping[str, int]:
        """Return what a quorum says addresses hold after one block, coins that can be spent.

        Unavailable: the block is too far below the head, or on another branch. Refused:
        unknown_asset, and as parse_address.
        """
        if asset_key != NATIVE:
            raise Refused(Reason.UNKNOWN_ASSET, "there is one asset on this chain")
        if not addresses:
            return {}
        scripts = {address: script_of(address, self._params.place) for address in addresses}
        asked = list(dict.fromkeys(scripts.values()))
        held = self._nodes.agree(lambda node: balances_at(node, asked, at), "balances")
        return {address: held[script] for address, script in scripts.items()}

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:
        """Return which of these coins are spent, in a block or by a transaction that waits for one.

        Only their owner's signature spends coins, so one node's word is enough: whatever one of the
        answering nodes calls spent is. Unavailable: fewer than a quorum have this block and know
        all the coins. Refused: malformed (no coin's name).
        """
        asked = [outpoint_of(text) for text in outpoints]
        if not asked:
            return frozenset()
        votes = self._nodes.votes(lambda node: node.spent_coins(asked, at), "coins")
        return frozenset(one.text for vote in votes for one in vote.value)

    def tx_status(self, tx_id: str) -> TxStatus:
        """Return where a transaction stands, as a quorum says.

        Its fee and what it moved are not said yet: they need the coins it spent.
        """
        votes = self._nodes.votes(lambda node: node.block_of(tx_id), "transaction")
        block = self._nodes.settle([Vote(one.node, one.value[1]) for one in votes], "transaction")
        is_known = any(vote.value[0] for vote in votes)
        return TxStatus(known=is_known, block=block, succeeded=block is not None)

    def transaction(self, tx_id: str) -> bytes:
        """Return a whole transaction: what proves the amounts of the coins it made."""
        return self._nodes.first(lambda node: node.transaction(tx_id), "transaction")

    def standing_of(self, address: str, *, asset_key: str) -> Standing:  # noqa: ARG002
        """Return an account: there is no code that could refuse. Refused: as parse_address."""
        self.parse_address(address)
        return Standing.ACCOUNT

    def parse_address(self, text: str) -> str:
        """Return canonical text.

        Refused: invalid_address, wrong_network, forbidden_destination.
        """
        return canonical(text, self._params.place)

    def _height(self) -> int:
        """Return the height that a quorum has reached."""
        votes = self._nodes.votes(lambda node: node.height(), "height")
        return sorted((vote.value for vote in votes), reverse=True)[self._nodes.quorum - 1]

    def _agreed(self, height: int) -> BlockRef:
        found = self._nodes.agree(lambda node: node.block_hash(height), f"block {height}")
        if found is None:
            raise Unavailable(f"node_null: block {height}")
        return BlockRef(height, found)


def _ref(header: Header) -> BlockRef:
    return BlockRef(header.height, header.hash)
