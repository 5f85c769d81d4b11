"""What followers ask of the network.

A block is agreed by its hash: a quorum of the nodes must name the same one at a height.
Everything else is asked by that hash and proven against it (chains.evm.block), so one honest or
lying node is enough for the contents. What a header does not commit to — call traces, balances,
call results — needs a quorum again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from chains.accounts import AccountChain
from chains.base import (
    BATCH_ITEMS_MAX,
    NATIVE,
    AssetSpec,
    Block,
    BlockRef,
    ChainTraits,
    Payment,
    Standing,
)
from chains.evm import native, parse
from chains.evm.address import checksum, raw_address
from chains.evm.block import IncompleteBlock, may_contain, verify_contents
from chains.evm.erc20 import TRANSFER_TOPIC, TokenEvent, transfer_event
from chains.evm.node import EvmNode
from chains.evm.odd import plan_delivered
from chains.evm.params import COIN_TYPE, CURVE, EvmParams
from chains.evm.parse import BlockContents, Header
from chains.evm.trace import BlockTrace, merge
from chains.evm.trie import EMPTY_ROOT
from chains.rpc import NodesDisagree, NodeSet, Vote
from core.errors import Corrupt, Reason, Refused, Unavailable

_CONTENTS_KEPT = 8


DELEGATED = bytes.fromhex("ef0100")
"""How the code of an account begins that runs a contract's code. Source: EIP-7702."""


class EvmReader(AccountChain):
    """The reading half of one network."""

    def __init__(
        self, params: EvmParams, nodes: NodeSet[EvmNode], assets: Sequence[AssetSpec]
    ) -> None:
        self._params = params
        self._nodes = nodes
        self._odd = frozenset(raw_address(asset.key) for asset in assets if asset.odd)
        self._kept: dict[str, BlockContents] = {}
        self._kept_lock = threading.Lock()

    @property
    def traits(self) -> ChainTraits:
        """Return the pinned facts."""
        return ChainTraits(
            chain=self._params.chain,
            network=self._params.network,
            is_main_network=self._params.is_main_network,
            coin_type=COIN_TYPE,
            curve=CURVE,
            control="eip191",
            reorg_limit=self._params.reorg_limit,
            # A call that first gives an account coin costs 25,000 gas that a transaction does not.
            batches_coin=False,
            batch_max=min(self._params.batch_max, BATCH_ITEMS_MAX),
        )

    @property
    def nodes(self) -> NodeSet[EvmNode]:
        """Return the nodes, whose counters are metrics."""
        return self._nodes

    def forget(self) -> None:
        """Drop proven blocks that are kept for the next question about them."""
        with self._kept_lock:
            self._kept.clear()

    def check_identity(self) -> None:
        """Compare every answering node with the pin. Corrupt: one is on another network."""

        def identity(node: EvmNode) -> tuple[int, str | None]:
            genesis = node.header_at(0)
            return node.chain_number(), genesis.hash if genesis else None

        pinned = (self._params.chain_number, self._params.genesis_hash)
        for vote in self._nodes.votes(identity, "identity"):
            if vote.value != pinned:
                raise Corrupt(f"a node of {self._params.chain} is on {vote.value}, not {pinned}")

    def head(self) -> BlockRef:
        """Return the newest block that a quorum of nodes agrees on."""
        head = self._agreed_tag("latest")
        if head is None:
            raise Unavailable("node_null: latest")
        return BlockRef(head.height, head.hash)

    def head_age_s(self, now_ns: int) -> int:
        """Return how old the agreed head is: the watchdog for nodes that went silent."""
        head = self._agreed_tag("latest")
        if head is None:
            raise Unavailable("node_null: latest")
        return max(0, now_ns // 1_000_000_000 - head.time_s)

    def final_head(self) -> BlockRef | None:
        """Return the newest block under the chain's own `finalized` tag; genesis counts as none.

        A tag that stands still is answered as it stands: neither age nor depth replaces it.
        """
        final = self._agreed_tag("finalized")
        if final is None or final.height == 0:
            return None
        return BlockRef(final.height, final.hash)

    def block_at(self, height: int) -> Block | None:
        """Return the block that a quorum names at a height, None where no quorum has one yet.

        NodesDisagree: several hashes at the height, none with a quorum.
        """
        header = self._agreed_header(height)
        if header is None:
            return None
        ref = BlockRef(header.height, header.hash)
        return Block(ref, header.parent_hash, header.time_s, body=header)

    def payments_in(self, block: Block, watched: Collection[str]) -> Sequence[Payment]:
        """Return every payment to a watched address in exactly this block.

        Unavailable: incomplete_block (an answer contradicts the block's hash), nodes_disagree,
        node errors.
        """
        header = block.body
        if not isinstance(header, Header) or header.hash != block.ref.hash:
            raise ValueError("a block is read by the chain that made it")
        if header.height == 0:
            return ()
        is_watched = native.watched_test(watched)
        contents = self._contents(header)
        trace = None
        if native.needs_trace(contents):
            trace = self._agreed_trace(contents)
        payments = native.plan_payments(contents, trace, is_watched)
        payments += self._residuals(contents, trace, is_watched)
        payments += self._token_payments(contents, is_watched)
        order = {tx.tx_id: place for place, tx in enumerate(contents.transactions)}
        return tuple(sorted(payments, key=lambda payment: order.get(payment.tx_id, len(order))))

    def balance_of(self, address: str, asset_key: str, at: BlockRef) -> int:
        """Return what a quorum says an address holds after one block."""
        owner = raw_address(address)
        if asset_key == NATIVE:
            return self._balances([owner], at.hash)[0]
        token = checksum(raw_address(asset_key))
        balance = self._token_balance(token, owner, at.hash)
        if balance is None:
            raise Unavailable(f"balance_unreadable: {token}")
        return balance

    def standing_of(self, address: str, *, asset_key: str) -> Standing:
        """Return what a quorum says stands at an address at the head.

        An account that runs a contract's code (EIP-7702) still has its key: an account, unless the
        code takes no native coin.
        """
        owner, at = raw_address(address), self.head()

        def ask(node: EvmNode) -> Standing:
            code = node.code(owner, at.hash)
            if code and asset_key == NATIVE and not node.takes_native(owner, at.hash):
                return Standing.REFUSES
            is_account = not code or code.startswith(DELEGATED)
            return Standing.ACCOUNT if is_account else Standing.CONTRACT

        return self._nodes.agree(ask, "standing")

    def delegate_of(self, address: str, at: BlockRef) -> str | None:
        """Return what a quorum says of the code an account runs after one block (EIP-7702).

        None: it runs none. Refused: unknown_call (it is a contract).
        """
        owner = raw_address(address)
        code = self._nodes.agree(lambda node: node.code(owner, at.hash), "code")
        if not code:
            return None
        if not code.startswith(DELEGATED) or len(code) != len(DELEGATED) + 20:
            raise Refused(Reason.UNKNOWN_CALL, f"{address} is a contract")
        return checksum(code[len(DELEGATED) :])

    def _agreed_tag(self, tag: str) -> Header | None:
        """Return the highest header under a tag that a quorum has reached; nodes ahead of it agree
        below.
        """
        votes = self._nodes.votes(lambda node: node.header_at(tag), tag)
        heights = sorted(
            (-1 if vote.value is None else vote.value.height for vote in votes), reverse=True
        )
        height = heights[self._nodes.quorum - 1]
        if height < 0:
            return None
        header = self._settle_headers(
            [
                vote
                if vote.value is None or vote.value.height == height
                else Vote(vote.node, vote.node.header_at(height))
                for vote in votes
            ],
            height,
        )
        if header is None:
            raise NodesDisagree(f"nodes_disagree: {tag} at {height}")
        return header

    def _agreed_header(self, height: int) -> Header | None:
        votes = self._nodes.votes(lambda node: node.header_at(height), f"block {height}")
        return self._settle_headers(votes, height)

    def _settle_headers(
        self, votes: Sequence[Vote[EvmNode, Header | None]], height: int
    ) -> Header | None:
        hashes = {vote.value.hash for vote in votes if vote.value is not None}
        present = [vote for vote in votes if vote.value is not None]
        if len(hashes) <= 1 and len(present) < self._nodes.quorum:
            return None  # some lag, nobody contradicts
        return self._nodes.settle(present, f"block {height}")

    def _contents(self, header: Header) -> BlockContents:
        """Return the proven contents of a block from the first node that can prove them."""
        with self._kept_lock:
            kept = self._kept.get(header.hash)
        if kept is not None:
            return kept
        contents = self._read_contents(header)
        with self._kept_lock:
            if len(self._kept) >= _CONTENTS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[header.hash] = contents
        return contents

    def _read_contents(self, header: Header) -> BlockContents:
        empty = (header.transactions_root, header.withdrawals_root) in (
            (EMPTY_ROOT, EMPTY_ROOT),
            (EMPTY_ROOT, None),
        )
        if empty:
            return BlockContents(header, (), ())
        with_logs = may_contain(header.bloom, TRANSFER_TOPIC)

        def ask(node: EvmNode) -> BlockContents:
            block, receipts, logs = node.contents(header.hash, with_logs=with_logs)
            try:
                contents = verify_contents(header, block, receipts)
                if with_logs:
                    _check_logs(contents, logs)
            except (IncompleteBlock, parse.MalformedAnswer):
                node.counters.incomplete += 1
                raise
            return contents

        return self._nodes.first(ask, "contents")

    def _agreed_trace(self, contents: BlockContents) -> BlockTrace:
        votes = self._nodes.votes(lambda node: node.trace(contents), "traces")
        agreed = self._nodes.settle(votes, "traces")
        return merge([vote.value for vote in votes if vote.value == agreed])

    def _residuals(
        self, contents: BlockContents, trace: BlockTrace | None, is_watched: native.IsWatched
    ) -> list[Payment]:
        checked = native.plan_checked(contents, trace, is_watched)
        if not checked:
            return []
        before = self._balances(checked, contents.header.parent_hash)
        after = self._balances(checked, contents.header.hash)
        differences = {
            owner: new - old for owner, old, new in zip(checked, before, after, strict=True)
        }
        return native.plan_residuals(contents, trace, differences)

    def _token_payments(
        self, contents: BlockContents, is_watched: native.IsWatched
    ) -> list[Payment]:
        payments: list[Payment] = []
        odd: dict[tuple[bytes, bytes], list[TokenEvent]] = {}
        for event in token_events(contents):
            if not event.value or event.sender == event.to or not is_watched(event.to):
                continue
            if event.log.emitter in self._odd:
                odd.setdefault((event.log.emitter, event.to), []).append(event)
            else:
                payments.append(_token_payment(event, event.value, None))
        header = contents.header
        for (emitter, owner), events in odd.items():
            token = checksum(emitter)
            before = self._token_balance(token, owner, header.parent_hash)
            after = self._token_balance(token, owner, header.hash)
            shares = plan_delivered(events, before=before, after=after)
            payments += [_token_payment(*share) for share in shares]
        return payments

    def _balances(self, owners: Sequence[bytes], block_hash: str) -> tuple[int, ...]:
        return self._nodes.agree(lambda node: node.balances(owners, block_hash), "balances")

    def _token_balance(self, token: str, owner: bytes, block_hash: str) -> int | None:
        ask: Callable[[EvmNode], int | None] = lambda node: node.token_balance(  # noqa: E731
            token, owner, block_hash
        )
        return self._nodes.agree(ask, "token balance")


def token_events(contents: BlockContents) -> list[TokenEvent]:
    """Return every Transfer of a block's succeeded transactions, in order."""
    logs = (log for tx in contents.transactions if tx.succeeded for log in tx.logs)
    return [event for event in map(transfer_event, logs) if event is not None]


def _token_payment(event: TokenEvent, amount: int, anomaly: str | None) -> Payment:
    return Payment(
        tx_id=event.log.tx_id,
        position=f"log:{event.log.place}",
        asset_key=checksum(event.log.emitter),
        to_address=checksum(event.to),
        from_address=checksum(event.sender),
        amount=amount,
        claimed=event.value,
        anomaly=anomaly,
    )


def _check_logs(contents: BlockContents, answer: object) -> None:
    """Compare eth_getLogs with the proven receipts: a node whose index lags is an alarm."""
    proven = [
        (log.tx_id, log.emitter, log.topics, log.data)
        for tx in contents.transactions
        for log in tx.logs
        if log.topics and log.topics[0] == TRANSFER_TOPIC
    ]
    rows = [parse.mapping(row, "log") for row in parse.sequence(answer, "logs")]
    found = [
        (
            parse.hash_text(row.get("transactionHash"), "transactionHash"),
            parse.address(row.get("address"), "log address"),
            tuple(
                parse.data(topic, "topic", size=32)
                for topic in parse.sequence(row.get("topics"), "topics")
            ),
            parse.data(row.get("data"), "log data"),
        )
        for row in rows
    ]
    if found != proven:
        raise IncompleteBlock(f"{len(found)} Transfer logs answered, {len(proven)} proven")
