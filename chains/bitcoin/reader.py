"""What nodes of one network say: blocks, coins, transactions. Nothing here holds a private key."""

from __future__ import annotations

from collections.abc import Sequence

from chains.base import Block, BlockRef, ChainTraits, Standing, TxStatus
from chains.bitcoin.address import canonical
from chains.bitcoin.node import BitcoinNode, Header
from chains.bitcoin.params import CURVE, PURPOSE, BitcoinParams
from chains.bitcoin.tx import OUTPOINT_BYTES, OutPoint
from chains.rpc import NodeSet, Vote
from core.errors import Corrupt, Reason, Refused, Unavailable


class BitcoinReader:
    """The half of chains.base.Chain that asks nodes."""

    def __init__(self, params: BitcoinParams, nodes: NodeSet[BitcoinNode]) -> None:
        self._params = params
        self._nodes = nodes

    @property
    def traits(self) -> ChainTraits:
        """Return the pinned facts."""
        return ChainTraits(
            chain=self._params.chain,
            network=self._params.network,
            is_main_network=self._params.is_main_network,
            coin_type=self._params.place.coin_type,
            curve=CURVE,
            reorg_limit=self._params.reorg_limit,
            purpose=PURPOSE,
            spends_coins=True,
            batch_max=self._params.batch_max,
        )

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

    def block_at(self, height: int) -> Block | None:
        """Return the block that a quorum names at a height, None where no quorum has one yet."""
        header = self._nodes.agree(lambda node: node.header_at(height), f"block {height}")
        if header is None:
            return None
        return Block(_ref(header), header.parent_hash, header.time_s)

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:
        """Return which of these coins are spent, in a block or by a transaction that waits for one.

        Only their owner's signature spends coins, so one node's word is enough: whatever one of the
        answering nodes calls spent is. Unavailable: fewer than a quorum have this block and know
        all the coins. Refused: malformed (no coin's name).
        """
        asked = [_outpoint(text) for text in outpoints]
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


def _outpoint(text: str) -> OutPoint:
    tx_id, _, index = text.partition(":")
    malformed = Refused(Reason.MALFORMED, "a coin is named `transaction id:index`")
    try:
        outpoint = OutPoint(bytes.fromhex(tx_id)[::-1], int(index))
        size = len(outpoint.serialise())
    except (ValueError, OverflowError) as error:
        raise malformed from error
    if size != OUTPOINT_BYTES or outpoint.text != text:
        raise malformed
    return outpoint
