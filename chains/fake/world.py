"""The truth of the fake chain: blocks, accounts, mempool and finality. It survives our crashes.

A world is driven by its verbs (`pay`, `mine`, `reorg`, `finalise`, …) and asked by an independent
model (`final_payments_to`, `paid_out`, `landings`, …). The platform under test never sees it: it
talks to a `FakeChain`, the node's face, which may lie. Everything is deterministic: ids are
derived, order is order of arrival, time is the clock handed in or twelve seconds per block.

A reorganisation drops what it removes and stops at finality unless it is told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from chains.base import NATIVE, AssetSpec, BlockRef, BroadcastOutcome, BroadcastResult, Payment
from chains.fake import address
from chains.fake.coin_tx import SignedCoinTx, is_coins, read_signed
from chains.fake.history import FakeBlock, History, Landing, hash_of
from chains.fake.pool import Mempool, outbids, outbids_all
from chains.fake.reader import read_raw
from chains.fake.state import (
    Arrival,
    Laws,
    Output,
    Receipt,
    Token,
    Tx,
    execute,
    has_coins,
    native_needed,
)
from chains.fake.tx import SignedFakeTx
from core.clock import SECOND_NS, Clock
from core.errors import Refused
from core.ids import ChainId

BLOCK_TIME_S = 12
NATIVE_SCALE = 9


class FakeWorld(History):
    """One chain as it really is. finality_depth None leaves finality to `finalise` alone."""

    def __init__(
        self,
        name: str = "fake-1",
        *,
        finality_depth: int | None = 6,
        clock: Clock | None = None,
        spends_coins: bool = False,
    ) -> None:
        super().__init__(name)
        self.laws = Laws(base_rate=10, tokens={}, spends_coins=spends_coins)
        self._clock = clock
        self._finality_depth = finality_depth
        self._is_stalled = False
        self._branch = 0
        self._txs: dict[str, Tx] = {}
        self._pool = Mempool()
        self._late: list[tuple[int, bytes]] = []

    # ---- blocks -----------------------------------------------------------------------------

    def mine(self, n: int = 1, *, include: Callable[[str], bool] | None = None) -> BlockRef:
        """Append n blocks with what the mempool holds; include picks by transaction id."""
        for _ in range(n):
            self._forward_late()
            self._append(include)
            self._advance_finality()
        return self.head.ref

    def reorg(
        self,
        depth: int,
        *,
        keep: Callable[[str], bool] | None = None,
        replacement_blocks: int | None = None,
        to_pool: bool = False,
        cross_finality: bool = False,
    ) -> BlockRef:
        """Replace the newest `depth` blocks by another branch, by default one block longer.

        Removed transactions that `keep` picks by id are mined again there; the node forgets the
        others, or with to_pool keeps them waiting. Raises ValueError at finality unless
        cross_finality.
        """
        fork = self.head.ref.height - depth
        if depth < 1 or fork < 0:
            raise ValueError("a reorganisation removes between one block and all but genesis")
        if fork < self._final_height and not cross_finality:
            raise ValueError(f"block {fork + 1} is final")
        removed = self._chain[fork + 1 :]
        self.counts["reorgs"] += 1
        if fork < self._final_height:
            self.counts["deep_reorgs"] += 1
            for block in removed[: self._final_height - fork]:
                self._reversed += [p for receipt in block.receipts for p in receipt.payments]
            self._final_height = fork
        self._abandoned.append(tuple(removed))
        del self._chain[fork + 1 :]
        self._branch += 1
        kept = self._unwind(removed, keep or (lambda _tx_id: False), to_pool=to_pool)
        blocks = depth + 1 if replacement_blocks is None else replacement_blocks
        return self.mine(blocks, include=kept.__contains__)

    def finalise(self, height: int | None = None) -> BlockRef:
        """Declare everything up to a height (the head) final; never moves back."""
        height = self.head.ref.height if height is None else height
        self._final_height = max(self._final_height, self.block(height).ref.height)
        return self.final.ref

    def stall_finality(self) -> None:
        """Let heads grow while nothing more becomes final by depth."""
        self.counts["finality_stalls"] += not self._is_stalled
        self._is_stalled = True

    def resume_finality(self) -> None:
        """End a stall and catch up."""
        self._is_stalled = False
        self._advance_finality()

    # ---- what outsiders do ------------------------------------------------------------------

    def outsider(self, name: str) -> str:
        """Return an address nobody here has a key for."""
        return address.to_text(address.named_body(name), self.network)

    def pay(
        self,
        to: str,
        asset_key: str,
        amount: int,
        *,
        from_: str | None = None,
        claimed: int | None = None,
        fails: bool = False,
        uses: str = "",
    ) -> str:
        """Send money from outside: `amount` is delivered, `claimed` (the same) is in the event.

        uses: names the outsider's coin; one that waits and uses the same is replaced.
        """
        output = Output(to, asset_key, amount, amount if claimed is None else claimed)
        return self.pay_many((output,), from_=from_, fails=fails, uses=uses)

    def pay_many(
        self,
        outputs: Iterable[Output],
        *,
        from_: str | None = None,
        fails: bool = False,
        uses: str = "",
    ) -> str:
        """Send one transaction with many outputs into the mempool and return its id."""
        outputs = tuple(outputs)
        for output in outputs:
            address.to_body(output.to, self.network)
            if not 0 <= output.delivered <= output.claimed:
                raise ValueError("0 <= delivered <= claimed")
            if output.asset_key != NATIVE and output.asset_key not in self.laws.tokens:
                raise ValueError(f"no token {output.asset_key}")
        self.counts["arrivals"] += 1
        tx_id = hash_of("arrival", self.network, self.counts["arrivals"])
        tx = Arrival(tx_id, from_ or self.outsider("somebody"), outputs, fails, uses)
        self._txs[tx_id] = tx
        self._pool.add(tx)
        return tx_id

    def fund(self, to: str, amount: int, asset_key: str = NATIVE) -> str:
        """Pay and mine a block with nothing but this payment."""
        tx_id = self.pay(to, asset_key, amount, from_=self.outsider("operator"))
        self.mine(include=lambda candidate: candidate == tx_id)
        return tx_id

    def add_token(
        self, symbol: str, *, scale: int = 6, listed: bool = True, kept_ppm: int = 0
    ) -> str:
        """Deploy a token and return its key; an odd one keeps kept_ppm of every transfer."""
        key = address.to_text(
            address.named_body(f"token/{symbol}/{len(self.laws.tokens)}"), self.network
        )
        self._set_token(Token(key, symbol, scale, listed, kept_ppm))
        return key

    def listed_assets(self, chain: str = "fake") -> tuple[AssetSpec, ...]:
        """Return the native coin and every listed token as the data file would state them."""
        native = Token(NATIVE, "FAKE", NATIVE_SCALE, listed=True)
        return tuple(
            AssetSpec(
                chain=ChainId(chain),
                key=token.key,
                symbol=token.symbol,
                scale=token.scale,
                deposit_minimum=100,
                withdrawal_minimum=100,
                withdrawal_fee=50,
                sweep_minimum=5_000,
                odd=token.kept_ppm > 0,
            )
            for token in (native, *self.laws.tokens.values())
            if token.listed
        )

    def pause_token(self, asset_key: str, *, paused: bool = True) -> None:
        """Make every transfer of a token revert, or move again."""
        self._set_token(replace(self.laws.tokens[asset_key], paused=paused))

    def refuse_transfers_to(self, *addresses: str) -> None:
        """Make transfers of signed transactions to exactly these addresses revert from now on."""
        self.laws = replace(self.laws, refusing=frozenset(addresses))

    def deploy(self, name: str) -> str:
        """Put a contract under a name and return its address; it takes what it is paid."""
        where = address.to_text(address.named_body(f"contract/{name}"), self.network)
        self.laws = replace(self.laws, contracts=self.laws.contracts | {where})
        return where

    def set_base_rate(self, base_rate: int) -> None:
        """Set the least rate that gets a transaction into a block."""
        self.laws = replace(self.laws, base_rate=base_rate)

    # ---- mempool ----------------------------------------------------------------------------

    def submit(self, raw: bytes) -> BroadcastResult:
        """Take signed bytes as an honest node does.

        REJECTED only when no state of the chain could make them valid; UNKNOWN when this one
        does not, because what the node lacks may come.
        """
        try:
            signed = read_signed(raw) if is_coins(raw) else read_raw(raw)
        except Refused as refused:
            return _rejected(str(refused))
        if isinstance(signed, SignedCoinTx) is not self.laws.spends_coins:
            return _rejected("no transaction of this chain")
        if signed.tx.network != self.network:
            return _rejected("wrong network")
        if self.knows(signed.tx_id):
            return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN, "already known")
        why_not = self._refusal(signed)
        if why_not:
            return BroadcastResult(BroadcastOutcome.UNKNOWN, why_not)
        self.counts["replacements"] += bool(self._pool.rivals(signed))
        self._txs[signed.tx_id] = signed
        self._pool.add(signed)
        return BroadcastResult(BroadcastOutcome.ACCEPTED, signed.tx_id)

    def submit_late(self, raw: bytes, *, blocks: int) -> None:
        """Hold bytes back and submit them after so many more blocks."""
        self._late.append((self.counts["blocks"] + blocks, raw))

    def drop(self, tx_id: str) -> None:
        """Let the mempool forget a transaction."""
        self._pool.remove(tx_id)
        self.counts["pool_drops"] += 1

    def pending(self) -> tuple[str, ...]:
        """Return the ids in the mempool in order of arrival."""
        return tuple(self._pool)

    def waiting_payments(self) -> list[Payment]:
        """Return what the mempool is going to pay."""
        return self._pool.payments()

    def knows(self, tx_id: str) -> bool:
        """Return whether a transaction is in the mempool or on the present branch."""
        return tx_id in self._pool or tx_id in self._included

    def digest(self) -> str:
        """Return a hash of the whole run so far: present branch, finality, mempool and counts."""
        return hash_of(
            "world",
            self.head.ref.hash,
            self._final_height,
            *self._pool,
            *sorted(f"{name}={count}" for name, count in self.counts.items()),
        )

    # ---- inside -----------------------------------------------------------------------------

    def _refusal(self, signed: SignedFakeTx | SignedCoinTx) -> str:
        """Return why the present state does not take a transaction, empty when it does."""
        state, rivals = self.head.state, self._pool.rivals(signed)
        if isinstance(signed, SignedCoinTx):
            if not has_coins(signed, state):
                return "missing inputs"
            return "" if outbids_all(signed, rivals) else "replacement underpriced"
        if signed.tx.nonce < state.nonces.get(signed.sender, 0):
            return "nonce too low"
        if state.balance(signed.sender, NATIVE) < native_needed(signed):
            return "insufficient funds"
        beaten = all(isinstance(one, SignedFakeTx) and outbids(signed, one) for one in rivals)
        return "" if beaten else "replacement underpriced"

    def _evict(self) -> None:
        """Forget what waits for coins that are neither there nor waited for themselves."""
        is_progress = self.laws.spends_coins
        while is_progress:
            is_progress = False
            coming = {f"{paid.tx_id}:{paid.position}" for paid in self._pool.payments()}
            for tx_id in self._pool:
                tx = self._pool[tx_id]
                if isinstance(tx, SignedCoinTx):
                    names = {coin.outpoint for coin in tx.tx.inputs}
                    is_gone = bool(names - self.head.state.coins.keys() - coming)
                else:
                    is_gone = isinstance(tx, Arrival) and tx.uses in self.head.state.outside
                if is_gone:
                    self._pool.remove(tx_id)
                    self.counts["evictions"] += 1
                    is_progress = True

    def _append(self, include: Callable[[str], bool] | None) -> None:
        parent = self.head
        state = parent.state.copy() if self._pool else parent.state
        receipts: list[Receipt] = []
        is_progress = True
        while is_progress:  # nonces may have arrived in any order
            is_progress = False
            for tx_id in self._pool:
                if include is not None and not include(tx_id):
                    continue
                receipt = execute(self._pool[tx_id], state, self.laws)
                if receipt is not None:
                    self._pool.remove(tx_id)
                    receipts.append(receipt)
                    is_progress = True
        height, time_s = parent.ref.height + 1, parent.time_s + BLOCK_TIME_S
        if self._clock is not None:
            time_s = max(parent.time_s + 1, self._clock.now_ns() // SECOND_NS)
        outcomes = [f"{r.tx_id}/{r.succeeded}/{r.fee}/{r.effect_amount}" for r in receipts]
        digest = hash_of("block", parent.ref.hash, height, time_s, self._branch, *outcomes)
        block = FakeBlock(BlockRef(height, digest), parent.ref.hash, time_s, tuple(receipts), state)
        self._chain.append(block)
        self._record(block)
        self._evict()

    def _record(self, block: FakeBlock) -> None:
        self.counts["blocks"] += 1
        for receipt in block.receipts:
            self._included[receipt.tx_id] = block.ref.height
            self.counts["failed"] += not receipt.succeeded
            self.counts["spends"] += receipt.sender is not None
            if receipt.sender is not None and receipt.nonce is not None:
                landing = Landing(receipt.tx_id, receipt.sender, receipt.nonce, block.ref)
                self._landings.append(landing)

    def _unwind(
        self, removed: list[FakeBlock], keep: Callable[[str], bool], *, to_pool: bool
    ) -> frozenset[str]:
        waiting, self._pool = self._pool, Mempool()
        kept = []
        for receipt in (receipt for block in removed for receipt in block.receipts):
            tx = self._txs[receipt.tx_id]
            del self._included[receipt.tx_id]
            is_kept = keep(receipt.tx_id)
            if is_kept:
                kept.append(receipt.tx_id)
            if is_kept or to_pool:
                self._pool.add(tx)
            kind = "spends" if isinstance(tx, SignedFakeTx | SignedCoinTx) else "arrivals"
            self.counts[f"reorged_{kind}"] += 1
            self.counts[f"dropped_{kind}"] += not (is_kept or to_pool)
        for tx_id in waiting:
            self._pool.add(waiting[tx_id])
        return frozenset(kept)

    def _forward_late(self) -> None:
        due = [raw for at, raw in self._late if at <= self.counts["blocks"]]
        self._late = [(at, raw) for at, raw in self._late if at > self.counts["blocks"]]
        for raw in due:
            self.counts["late_forwarded"] += self.submit(raw).outcome is BroadcastOutcome.ACCEPTED

    def _advance_finality(self) -> None:
        if self._finality_depth is not None and not self._is_stalled:
            depth_height = self.head.ref.height - self._finality_depth
            self._final_height = max(self._final_height, depth_height)

    def _set_token(self, token: Token) -> None:
        self.laws = replace(self.laws, tokens={**self.laws.tokens, token.key: token})


def _rejected(detail: str) -> BroadcastResult:
    return BroadcastResult(BroadcastOutcome.REJECTED, detail)
