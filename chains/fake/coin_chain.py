"""The node's face of a fake world that spends coins; what it shares with accounts is inherited."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from chains.base import (
    NATIVE,
    BalanceChange,
    Block,
    BlockRef,
    Coin,
    Decoded,
    Effect,
    FeeRate,
    Input,
    Payment,
    SignedTx,
    Simulation,
    SpendIntent,
    SpendKind,
    UnsignedTx,
)
from chains.fake import coin_tx
from chains.fake.chain import RATE_LIMIT, FakeChain
from chains.fake.coin_tx import CoinTx, SignedCoinTx
from chains.fake.faults import FaultKind
from chains.fake.state import execute
from core.errors import Reason, Refused, Unavailable

DUST = 100
"""Change below this is left to the miner."""


class FakeCoinChain(FakeChain):
    """One platform's connection to a world that spends coins.

    bands: (amount, blocks): payments from an amount on wait for so many final blocks more.
    """

    bands: tuple[tuple[int, int], ...] = ()

    # ---- reading ----------------------------------------------------------------------------

    def payments_in(self, block: Block, watched: Collection[str]) -> Sequence[Payment]:
        """Return every payment to a watched address in exactly this block, change included."""
        found = super().payments_in(block, watched)
        return [replace(paid, extra_depth=self._depth(paid.amount)) for paid in found]

    def used_in(self, block: Block, outpoints: Collection[str]) -> Mapping[str, str]:
        """Return which of these coins exactly this block uses up. Unavailable: as payments_in."""
        fault, top = self._ask("used_in")
        found = {
            name: receipt.tx_id
            for receipt in self._known(block.ref, top).receipts
            for name in receipt.used
            if name in outpoints
        }
        if fault is not None and fault.kind is FaultKind.INCOMPLETE and found:
            self._count(fault)
            raise Unavailable("incomplete_block")
        return found

    def pending(self, watched: Collection[str]) -> Sequence[Payment]:
        """Return the payments to watched addresses in the node's mempool."""
        self._ask("pending")
        return [paid for paid in self._world.waiting_payments() if paid.to_address in watched]

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:
        """Return which coins are spent after exactly this block.

        Unavailable: one that no block up to it has made.
        """
        _, top = self._ask("spent_coins")
        block = self._known(at, top)
        for name in outpoints:
            made = self._world.included(name.partition(":")[0])
            if made is None or made[0].ref.height > at.height:
                raise Unavailable("unknown_coin")
        return frozenset(name for name in outpoints if name not in block.state.coins)

    # ---- writing ----------------------------------------------------------------------------

    def fee_units(self, intent: SpendIntent, coins: Sequence[Coin] = ()) -> int:
        """Return how many units the transaction takes, with change but for a sweep."""
        outputs = len(intent.items) or 1
        if intent.kind not in (SpendKind.SWEEP, SpendKind.CANCELLATION):
            outputs += 1
        return coin_tx.units_of(max(1, len(coins)), outputs)

    def choose(
        self, intent: SpendIntent, coins: Sequence[Coin], *, rate: FeeRate
    ) -> tuple[Coin, ...]:
        """Return the coins to carry out an intent with; never one that is not worth its fee.

        The largest first; a sweep takes all. Refused: exceeds_available.
        """
        least = coin_tx.UNITS_INPUT * rate.max_rate
        worth = [coin for coin in coins if coin.amount > least][: coin_tx.INPUTS_MAX]
        if intent.kind is SpendKind.SWEEP:
            return tuple(worth)
        chosen: list[Coin] = []
        for coin in sorted(worth, key=lambda one: -one.amount):
            chosen.append(coin)
            needed = intent.amount + self.fee_units(intent, chosen) * rate.max_rate
            if sum(one.amount for one in chosen) >= needed:
                return tuple(chosen)
        raise Refused(Reason.EXCEEDS_AVAILABLE, f"{len(worth)} coins do not pay for it")

    def build(
        self,
        intent: SpendIntent,
        *,
        nonce: int,  # noqa: ARG002
        rate: FeeRate,
        units: int,
        coins: Sequence[Coin] = (),
        ticket: str = "",  # noqa: ARG002
    ) -> UnsignedTx:
        """Build the one transaction that carries out the intent, with all of these coins.

        What is left goes back to the source; of a sweep it is all fee. Refused: as on accounts,
        exceeds_available.
        """
        self._check_intent(intent)
        if intent.asset_key != NATIVE:
            raise Refused(Reason.INTENT_MISMATCH, "only the native asset is coins")
        if not 0 <= rate.tip_rate <= rate.max_rate < RATE_LIMIT:
            raise Refused(Reason.FEE_ABOVE_CAP, "the rate is out of range")
        fee = rate.max_rate * units
        if fee > intent.fee_max:
            raise Refused(Reason.FEE_ABOVE_CAP, f"{fee} of at most {intent.fee_max}")
        rest = sum(coin.amount for coin in coins) - intent.amount - fee
        if rest < 0 or not coins:
            raise Refused(Reason.EXCEEDS_AVAILABLE, f"the coins lack {-rest}")
        outputs = [(one.destination, one.amount) for one in intent.items]
        if intent.kind is SpendKind.CANCELLATION:
            outputs = [(intent.source, rest)]
        elif not outputs:
            outputs = [(intent.destination, intent.amount)]
        if intent.kind not in (SpendKind.SWEEP, SpendKind.CANCELLATION) and rest >= DUST:
            outputs.append((intent.source, rest))
        tx = CoinTx(intent.network, tuple(coins), tuple(outputs))
        if tx.fee > intent.fee_max:
            raise Refused(Reason.FEE_ABOVE_CAP, f"{tx.fee} of at most {intent.fee_max}")
        payload = coin_tx.encode(tx)
        name = bytes.fromhex(coin_tx.id_of(payload))
        return UnsignedTx(intent.chain, intent.source, 0, payload, name, tx.fee)

    def rate_of(self, payload: bytes) -> FeeRate:
        """Return the rate a payload was built with. Refused: undecodable."""
        return coin_tx.rate_of(payload)

    def decode(self, payload: bytes, *, sender: str) -> Decoded:
        """Read what a payload does. Refused: undecodable, wrong_network, as parse_address."""
        read = coin_tx.read(payload)
        if read.network != self._traits.network:
            raise Refused(Reason.WRONG_NETWORK, "the payload is for another network")
        for text in (sender, *(to for to, _ in read.outputs)):
            self.parse_address(text)
        return Decoded(
            network=read.network,
            nonce=0,
            effects=tuple(Effect(NATIVE, to, amount) for to, amount in read.outputs),
            fee_max=read.fee,
            digest=bytes.fromhex(coin_tx.id_of(payload)),
            inputs=tuple(
                Input(coin.outpoint, coin.owner, coin.amount, coin_tx.input_digest(payload, index))
                for index, coin in enumerate(read.inputs)
            ),
        )

    def simulate(self, unsigned: UnsignedTx) -> Simulation:
        """Run a transaction on the state that the node shows. Refused: undecodable."""
        _, height = self._ask("simulate")
        block = self._world.block(height)
        signed = SignedCoinTx("0" * 64, coin_tx.read(unsigned.payload), b"")
        after = block.state.copy()
        receipt = execute(signed, after, self._world.laws)
        if receipt is None:
            return Simulation(block.ref, succeeded=False, detail="a coin is not there")
        changes = []
        after.move(unsigned.sender, NATIVE, receipt.fee)
        for owner, asset_key in sorted({*block.state.balances, *after.balances}):
            was, now = (one.balance(owner, asset_key) for one in (block.state, after))
            if was != now:
                changes.append(BalanceChange(owner, asset_key, was, now))
        return Simulation(block.ref, succeeded=True, changes=tuple(changes))

    def assemble(self, unsigned: UnsignedTx, signature: bytes) -> SignedTx:
        """Join payload and signatures, one for each input. Refused: bad_signature."""
        read = coin_tx.read(unsigned.payload)
        name = coin_tx.id_of(unsigned.payload)
        if bytes.fromhex(name) != unsigned.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")
        signed = coin_tx.check_signatures(unsigned.payload, read, signature)
        return SignedTx(tx_id=name, raw=unsigned.payload + signed)

    def _depth(self, amount: int) -> int:
        return max((blocks for least, blocks in self.bands if amount >= least), default=0)
