"""The node's face of a fake world: what custody may ask of a chain, with scripted misbehaviour.

An honest answer is the world's. A misbehaving one is what a truthful reader makes of a bad node: it
raises Unavailable where it can notice and passes on a stale answer where nobody could. Every
misbehaviour that changed an answer is counted in `world.counts` under `fault.<kind>`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chains.accounts import AccountChain
from chains.base import (
    NATIVE,
    Block,
    BlockRef,
    BroadcastOutcome,
    BroadcastResult,
    ChainTraits,
    Coin,
    Decoded,
    Effect,
    FeeRate,
    Payment,
    SignedTx,
    Simulation,
    SpendIntent,
    Standing,
    TxStatus,
    UnsignedTx,
)
from chains.fake import address, reader, tx
from chains.fake.checks import check_intent
from chains.fake.faults import Fault, FaultKind, FaultScript
from chains.fake.history import FakeBlock
from chains.fake.pool import least_replacement
from chains.fake.simulation import simulate
from chains.fake.state import payable, units_of
from chains.fake.world import FakeWorld
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId

TIP_RATE = 2
UNITS_MARGIN = 15
RATE_LIMIT = 1 << 64


class FakeChain(AccountChain):
    """One platform's connection to a world; throw it away and make another one after a crash.

    lying=True passes an INCOMPLETE list on as an empty one, which only a planted bug would do.
    """

    def __init__(
        self,
        world: FakeWorld,
        *,
        faults: FaultScript | None = None,
        chain: str = "fake",
        network: str | None = None,
        rate_floor: int = 1,
        rate_cap: int = 1_000,
        tip: int = TIP_RATE,
        reorg_limit: int = 64,
        lying: bool = False,
        batch_max: int = 0,
    ) -> None:
        self._world = world
        self._faults = faults or FaultScript()
        self._rate_floor = rate_floor
        self._rate_cap = rate_cap
        self._tip = tip
        self._lying = lying
        self._traits = ChainTraits(
            chain=ChainId(chain),
            network=network or world.network,
            is_main_network=False,
            coin_type=1,
            curve="secp256k1",
            control="fake",
            reorg_limit=reorg_limit,
            spends_coins=world.laws.spends_coins,
            batch_max=batch_max,
        )

    # ---- reading ----------------------------------------------------------------------------

    @property
    def traits(self) -> ChainTraits:
        """Return the pinned facts."""
        return self._traits

    def close(self) -> None:
        """Do nothing: a scripted chain has no connection."""

    def check_identity(self) -> None:
        """Compare the world's network with the pinned one. Corrupt when they differ."""
        self._ask("check_identity")
        if self._world.network != self._traits.network:
            raise Corrupt(f"the node is {self._world.network}, not {self._traits.network}")

    def head(self) -> BlockRef:
        """Return the newest block the node shows."""
        fault, height = self._ask("head")
        if fault is not None and fault.kind is FaultKind.OTHER_BRANCH:
            return self._elsewhere(self._world.head).ref
        return self._world.block(height).ref

    def final_head(self) -> BlockRef | None:
        """Return the newest final block the node shows, None while that is genesis."""
        _, height = self._ask("final_head")
        behind = self._world.head.ref.height - height
        final_height = max(0, self._world.final.ref.height - behind)
        return self._world.block(final_height).ref if final_height else None

    def block_at(self, height: int) -> Block | None:
        """Return the block the node shows at a height, None above its head."""
        fault, top = self._ask("block_at")
        if not 0 <= height <= top:
            return None
        block = self._world.block(height)
        if fault is not None and fault.kind is FaultKind.OTHER_BRANCH:
            block = self._elsewhere(block)
        return Block(ref=block.ref, parent_hash=block.parent_hash, time_s=block.time_s)

    def payments_in(self, block: Block, watched: Collection[str]) -> Sequence[Payment]:
        """Return every payment to a watched address in exactly this block.

        Unavailable: unknown_block (not on the node's branch, or above its head), incomplete_block.
        """
        fault, top = self._ask("payments_in")
        receipts = self._known(block.ref, top).receipts
        found = [p for receipt in receipts for p in receipt.payments if p.to_address in watched]
        if fault is not None and fault.kind is FaultKind.INCOMPLETE and found:
            self._count(fault)
            if not self._lying:
                raise Unavailable("incomplete_block")
            return []
        return found

    def balance_of(self, address: str, asset_key: str, at: BlockRef) -> int:
        """Return a balance in the state after exactly this block. Unavailable: unknown_block."""
        _, top = self._ask("balance_of")
        return self._known(at, top).state.balance(address, asset_key)

    def standing_of(self, address: str, *, asset_key: str) -> Standing:
        """Return what the world's laws say stands there; it may be scripted to be silent."""
        self._ask("standing_of")
        laws = self._world.laws
        if address not in laws.contracts:
            return Standing.ACCOUNT
        refuses = asset_key == NATIVE and address in laws.refusing
        return Standing.REFUSES if refuses else Standing.CONTRACT

    def delegate_of(self, address: str, at: BlockRef) -> str | None:  # noqa: ARG002
        """Return None: accounts run no code here, the chain itself has batches."""
        return None

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        """Return how many nonces are spent after exactly this block. Unavailable: unknown_block."""
        fault, top = self._ask("used_nonces")
        used = self._known(at, top).state.nonces.get(sender, 0)
        if fault is not None and fault.kind is FaultKind.STALE_NONCE and used:
            self._count(fault)
            return max(0, used - 3)
        return used

    def tx_status(self, tx_id: str) -> TxStatus:
        """Return where a transaction stands as far as the node has followed."""
        _, top = self._ask("tx_status")
        included = self._world.included(tx_id)
        if included is None or included[0].ref.height > top:
            return TxStatus(known=self._world.knows(tx_id))
        block, receipt = included
        return TxStatus(
            known=True,
            block=block.ref,
            succeeded=receipt.succeeded,
            fee=receipt.fee,
            effect_amount=receipt.effect_amount,
            items=receipt.items if receipt.succeeded else (),
        )

    def fee_rate(self) -> FeeRate:
        """Return the rate to pay now, clamped between floor and cap whatever the node says."""
        fault, _ = self._ask("fee_rate")
        base = self._world.laws.base_rate
        if fault is not None and fault.kind is FaultKind.ODD_FEE:
            self._count(fault)
            base = (0, -1, base * 1_000_000)[fault.which % 3]
        max_rate = min(max(2 * base + self._tip, self._rate_floor), self._rate_cap)
        return FeeRate(max_rate=max_rate, tip_rate=min(self._tip, max_rate))

    # ---- writing ----------------------------------------------------------------------------

    def address_of(self, public_key: bytes) -> str:
        """Return the address of a compressed public key."""
        return address.to_text(address.key_body(public_key), self._traits.network)

    def parse_address(self, text: str) -> str:
        """Return canonical text.

        Refused: invalid_address, forbidden_destination (zero, burn, a token contract).
        """
        body = address.to_body(text, self._traits.network)
        if body in (address.ZERO_BODY, address.BURN_BODY):
            raise Refused(Reason.FORBIDDEN_DESTINATION, "nobody can spend from there")
        if text in self._world.laws.tokens:
            raise Refused(Reason.FORBIDDEN_DESTINATION, "a token contract")
        return text

    def fee_units(self, intent: SpendIntent, coins: Sequence[Coin] = ()) -> int:  # noqa: ARG002
        """Return how many units the transaction may use; tokens with a margin."""
        needed = units_of(intent.asset_key, len(intent.items))
        return needed if intent.asset_key == NATIVE else needed + UNITS_MARGIN

    def payable_items(self, intent: SpendIntent) -> tuple[bool, ...]:
        """Return which items would be paid on the node's newest state. Unavailable: no answer."""
        _, top = self._ask("payable_items")
        self._check_intent(intent)
        return payable(intent, self._world.block(top).state.copy(), self._world.laws)

    def build(
        self,
        intent: SpendIntent,
        *,
        nonce: int,
        rate: FeeRate,
        units: int,
        coins: Sequence[Coin] = (),  # noqa: ARG002
        ticket: str = "",  # noqa: ARG002
    ) -> UnsignedTx:
        """Build the one transaction that carries out the intent.

        Refused: intent_mismatch (another chain or network, a cancellation that pays),
        zero_amount, fee_above_cap, invalid_address, forbidden_destination.
        """
        self._check_intent(intent)
        if not 0 <= rate.tip_rate <= rate.max_rate < RATE_LIMIT:
            raise Refused(Reason.FEE_ABOVE_CAP, "the rate is out of range")
        fee_max = rate.max_rate * units
        if fee_max > intent.fee_max:
            raise Refused(Reason.FEE_ABOVE_CAP, f"{fee_max} of at most {intent.fee_max}")
        payload = tx.encode(
            tx.FakeTx(
                network=intent.network,
                nonce=nonce,
                to=intent.destination,
                asset_key=intent.asset_key,
                amount=intent.amount,
                max_rate=rate.max_rate,
                tip_rate=rate.tip_rate,
                units=units,
                items=tuple((one.destination, one.amount) for one in intent.items),
            )
        )
        digest = tx.digest_of(payload)
        return UnsignedTx(intent.chain, intent.source, nonce, payload, digest, fee_max)

    def bump(self, rate: FeeRate, *, current: FeeRate) -> FeeRate:
        """Return the lowest rate >= rate that nodes accept in place of `current`.

        Refused: fee_above_cap.
        """
        max_rate = max(rate.max_rate, least_replacement(current.max_rate))
        if max_rate > self._rate_cap:
            raise Refused(Reason.FEE_ABOVE_CAP, f"a replacement needs a rate of {max_rate}")
        tip_rate = max(rate.tip_rate, least_replacement(current.tip_rate))
        return FeeRate(max_rate=max_rate, tip_rate=min(tip_rate, max_rate))

    def rate_of(self, payload: bytes) -> FeeRate:
        """Return the rate a payload was built with. Refused: undecodable."""
        read = reader.read_payload(payload)
        return FeeRate(max_rate=read.max_rate, tip_rate=read.tip_rate)

    def decode(self, payload: bytes, *, sender: str) -> Decoded:
        """Read what a payload does.

        Refused: undecodable, wrong_network, invalid_address (the sender's), forbidden_destination.
        """
        read = reader.read_payload(payload)
        if read.network != self._traits.network:
            raise Refused(Reason.WRONG_NETWORK, "the payload is for another network")
        address.to_body(sender, self._traits.network)
        self.parse_address(read.to)
        if read.items and (
            read.to != sender or sum(amount for _, amount in read.items) != read.amount
        ):
            raise Refused(Reason.UNDECODABLE, "a batch says who sends it, and its sum")
        moves = read.items or ((read.to, read.amount),)
        for to, _ in moves:
            self.parse_address(to)
        return Decoded(
            network=read.network,
            nonce=read.nonce,
            effects=tuple(Effect(read.asset_key, to, amount) for to, amount in moves),
            fee_max=read.fee_max,
            digest=tx.digest_of(payload),
            is_batch=bool(read.items),
        )

    def simulate(self, unsigned: UnsignedTx) -> Simulation:
        """Run a transaction on the state that the node shows. Refused: undecodable."""
        _, height = self._ask("simulate")
        return simulate(unsigned, self._world.block(height), self._world.laws)

    def assemble(self, unsigned: UnsignedTx, signature: bytes) -> SignedTx:
        """Join payload and signature. Refused: bad_signature, intent_mismatch (the digest's)."""
        digest = tx.digest_of(unsigned.payload)
        if digest != unsigned.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")
        network = self._traits.network
        raw = unsigned.payload + tx.checked(
            signature, digest, signer=unsigned.sender, network=network
        )
        return SignedTx(tx_id=tx.id_of(raw), raw=raw)

    def broadcast(self, raw: bytes) -> BroadcastResult:
        """Send bytes to the node; what is heard may not be what happened."""
        fault = self._faults.take("broadcast")
        result = self._send(raw, fault)
        self._world.counts[f"broadcast.{result.outcome}"] += 1
        return result

    @property
    def wallets(self) -> None:
        """Return None: there are no wallets of several owners."""
        return None

    def control_digest(self, challenge: bytes, *, address: str) -> bytes:  # noqa: ARG002
        """Return the 32 bytes that prove control of an address when signed."""
        return tx.control_digest_of(challenge, self._traits.network)

    def control_proof(self, challenge: bytes, signature: bytes, *, address: str) -> bytes:
        """Return the 65-byte recoverable signature. Refused: bad_signature."""
        digest = self.control_digest(challenge, address=address)
        return tx.checked(signature, digest, signer=address, network=self._traits.network)

    def _check_intent(self, intent: SpendIntent) -> None:
        check_intent(intent, self._traits)
        for to in (intent.destination, *(one.destination for one in intent.items)):
            self.parse_address(to)

    # ---- the node behind the face -----------------------------------------------------------

    def _ask(self, call: str) -> tuple[Fault | None, int]:
        """Return what befalls a call, and the highest block the answering node has."""
        fault = self._faults.take(call)
        top = self._world.head.ref.height
        if fault is None:
            return None, top
        if fault.kind in (FaultKind.UNAVAILABLE, FaultKind.NULL):
            self._count(fault)
            raise Unavailable(
                f"no answer to {call}" if fault.kind is FaultKind.UNAVAILABLE else "null"
            )
        if fault.kind is FaultKind.LAGGING and top:
            self._count(fault)
            top = max(0, top - fault.blocks)
        return fault, top

    def _known(self, ref: BlockRef, top: int) -> FakeBlock:
        if ref.height > top or not self._world.has(ref):
            raise Unavailable("unknown_block")
        return self._world.block(ref.height)

    def _elsewhere(self, block: FakeBlock) -> FakeBlock:
        """Return the block of the branch that was left last, unless finality contradicts it."""
        other = self._world.abandoned(block.ref.height)
        if other is None or block.ref.height <= self._world.final.ref.height:
            return block
        self._world.counts["fault.other_branch"] += 1
        return other

    def _send(self, raw: bytes, fault: Fault | None) -> BroadcastResult:
        if fault is None:
            return self._world.submit(raw)
        self._count(fault)
        if fault.kind in (FaultKind.ANSWER_LOST, FaultKind.FALSE_REJECT):
            self._world.submit(raw)
        elif fault.kind is FaultKind.LATE:
            self._world.submit_late(raw, blocks=fault.blocks)
        if fault.kind in (FaultKind.FALSE_REJECT, FaultKind.TRUE_REJECT):
            return BroadcastResult(BroadcastOutcome.REJECTED, "invalid signature")
        return BroadcastResult(BroadcastOutcome.UNKNOWN, "no answer")

    def _count(self, fault: Fault) -> None:
        self._world.counts[f"fault.{fault.kind}"] += 1
