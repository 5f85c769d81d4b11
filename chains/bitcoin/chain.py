"""One network, reading and writing. Nothing here holds a private key."""

from __future__ import annotations

from collections.abc import Sequence

from chains.base import (
    NATIVE,
    BlockRef,
    BroadcastResult,
    Coin,
    Decoded,
    FeeRate,
    ItemStatus,
    SignedTx,
    Simulation,
    SpendIntent,
    SpendKind,
    TxStatus,
    UnsignedTx,
)
from chains.bitcoin import bip322, fees, package, relay
from chains.bitcoin import build as building
from chains.bitcoin import decode as decoding
from chains.bitcoin.address import address_of_script, script_of
from chains.bitcoin.broadcast import plan_combined
from chains.bitcoin.further import check_further, is_installed
from chains.bitcoin.kinds import kind_of
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.owned import decode_owned, is_owned, may_be_owned
from chains.bitcoin.params import BitcoinParams
from chains.bitcoin.previous import PreviousTransactions
from chains.bitcoin.psbt_fields import read_parts
from chains.bitcoin.reader import BitcoinReader
from chains.bitcoin.select import INPUTS_MAX, Candidate, Need, select, worth_spending
from chains.bitcoin.simulation import changes_of, moves_of
from chains.bitcoin.sizes import frame_weight, input_weight, output_weight
from chains.bitcoin.tx import TxOut, parse_tx
from chains.bitcoin.verify import check_signed
from chains.bitcoin.wallet import OwnedCoins, open_wallet
from chains.rpc import NodeSet
from core.errors import Reason, Refused, Unavailable


class BitcoinChain(BitcoinReader):
    """The whole seam (chains.base.Chain) over one network."""

    def __init__(self, params: BitcoinParams, nodes: NodeSet[BitcoinNode]) -> None:
        super().__init__(params, nodes)
        self._previous = PreviousTransactions(self._without_witnesses)

    @property
    def wallets(self) -> None:
        """Return None: wallets of several owners are no contracts here (coin_wallet)."""
        return None

    def coin_wallet(self, address: str, descriptor: str) -> OwnedCoins:
        """Return the wallet of several owners at an address; see chains.base."""
        return open_wallet(
            address, descriptor, self._params, previous_of=self._previous.get, height=self._height
        )

    def address_of(self, public_key: bytes) -> str:
        """Return the address of a compressed public key, of the kind that own addresses have.

        Refused: malformed. Sources: BIP-84, BIP-86.
        """
        script = kind_of(self._params).script_of_key(public_key)
        address = address_of_script(script, self._params.place)
        assert address is not None, "a key's script has an address"
        return address

    # ---- what it costs, and what pays for it --------------------------------------------------

    def fee_rate(self) -> FeeRate:
        """Return what the nodes' estimates and the newest blocks' payments say, bounded.

        Unavailable: fewer than a quorum of nodes answer.
        """
        expected = self._nodes.votes(relay.expected_rate, "estimates")
        paid = self._nodes.votes(relay.paid_rate, "paid rates")
        least = self._nodes.votes(relay.pool_rate, "the pool's least rate")
        return fees.plan_rate(
            [vote.value for vote in expected],
            [vote.value for vote in paid],
            self._params,
            least=[vote.value for vote in least],
        )

    def fee_units(self, intent: SpendIntent, coins: Sequence[Coin] = ()) -> int:
        """Return the virtual bytes with these coins as inputs, change included where there is any.

        Without coins: with one of the source's. Refused: as build.plan_of.
        """
        plan = building.plan_of(intent, self._params)
        owners = [coin.owner for coin in coins] or [intent.source]
        spent = [script_of(owner, self._params.place) for owner in owners]
        return building.size_of(plan, spent, self._params)

    def fee_extra(self, intent: SpendIntent) -> int:  # noqa: ARG002
        """Return 0: all of the fee depends on the rate."""
        return 0

    def choose(
        self, intent: SpendIntent, coins: Sequence[Coin], *, rate: FeeRate
    ) -> tuple[Coin, ...]:
        """Return the coins to carry out an intent with; of a sweep or cancellation, all of use.

        Never dust, nor what costs more than it holds; at most select.INPUTS_MAX, the largest.
        Refused: exceeds_available, and as build.plan_of.
        """
        plan = building.plan_of(intent, self._params)
        place = self._params.place
        candidates = [Candidate(coin, input_weight(script_of(coin.owner, place))) for coin in coins]
        if intent.kind in (SpendKind.SWEEP, SpendKind.CANCELLATION):
            useful = worth_spending(candidates, rate.max_rate)[:INPUTS_MAX]
            if not useful:
                raise Refused(Reason.EXCEEDS_AVAILABLE, "no coin is worth its fee")
            return tuple(one.coin for one in useful)
        change = script_of(intent.source, place)
        outputs = [script_of(address, place) for address, _ in plan.outputs]
        need = Need(
            amount=plan.amount,
            weight=frame_weight(min(len(coins), INPUTS_MAX), len(outputs) + 1)
            + sum(map(output_weight, outputs)),
            change_weight=output_weight(change),
            change_least=building.change_least(change),
            spend_weight=input_weight(change),
            rate=rate.max_rate,
        )
        return tuple(one.coin for one in select(candidates, need))

    def payable_items(self, intent: SpendIntent) -> tuple[bool, ...]:
        """Return that all items would be paid: they are outputs of one transaction.

        Refused: as build.plan_of.
        """
        return (True,) * len(building.plan_of(intent, self._params).outputs)

    def used_nonces(self, sender: str, at: BlockRef) -> int:  # noqa: ARG002
        """Return 0: nothing counts here, coins are spent (spent_coins). Refused: parse_address."""
        self.parse_address(sender)
        return 0

    def tickets(self, sender: str, at: BlockRef) -> Sequence[str]:  # noqa: ARG002
        """Return nothing: coins are spent."""
        return ()

    def delegate_of(self, address: str, at: BlockRef) -> str | None:  # noqa: ARG002
        """Return None: accounts run no code here."""
        return None

    def bump(self, rate: FeeRate, *, current: FeeRate) -> FeeRate:
        """Return the lowest rate >= rate that replaces one sent at `current`.

        Refused: fee_above_cap.
        """
        return fees.plan_bump(rate, current, self._params)

    # ---- building, judging, joining -----------------------------------------------------------

    def build(
        self,
        intent: SpendIntent,
        *,
        nonce: int,  # noqa: ARG002
        rate: FeeRate,
        units: int,  # noqa: ARG002
        coins: Sequence[Coin] = (),
        ticket: str = "",  # noqa: ARG002
    ) -> UnsignedTx:
        """Build the one transaction that carries out the intent, over all of these coins.

        Unavailable: no node has the transaction that a coin comes from. Refused: as build.build.
        """
        proven = [building.proven(coin, self._previous.get) for coin in coins]
        return building.build(intent, self._params, coins=proven, rate=rate.max_rate)

    def rate_of(self, payload: bytes) -> FeeRate:
        """Return the rate a payload pays. Refused: as decode.read_spend."""
        return decoding.rate_of(payload, kind_of(self._params))

    def decode(self, payload: bytes, *, sender: str) -> Decoded:
        """Read a payload. Refused: as decode.decode; Unavailable when it is locked to a height."""
        script = script_of(sender, self._params.place)
        if may_be_owned(script):
            parts = read_parts(payload)
            if is_owned(parts, script):
                return decode_owned(parts, self._params, sender=sender, height=self._height)
        return decoding.decode(payload, self._params, height=self._height)

    def simulate(self, unsigned: UnsignedTx) -> Simulation:
        """Return what an unsigned transaction would do if its coins are there, as nodes say.

        It fails when one of them is spent, in a block or in a pool. Refused: as decode.
        Unavailable: too few nodes answer alike, or know a coin.
        """
        decoded = self.decode(unsigned.payload, sender=unsigned.sender)
        at = self.head()
        gone = self.spent_coins([one.outpoint for one in decoded.inputs], at)
        if gone:
            return Simulation(at, succeeded=False, detail=f"spent: {', '.join(sorted(gone)[:3])}")
        moves = moves_of(decoded, sender=unsigned.sender)
        balances = self.balances_of(list(moves), NATIVE, at)
        return Simulation(at, succeeded=True, changes=changes_of(moves, balances))

    def assemble(self, unsigned: UnsignedTx, signature: bytes) -> SignedTx:
        """Join a payload and 65 bytes per input (64 of a taproot key's), in the inputs' order.

        Refused: bad_signature (length, form, another key's, or a second library's script engine
        refuses the result), intent_mismatch (the digest is another payload's), and as
        decode.read_spend.
        """
        kind = kind_of(self._params)
        spend, size = decoding.read_spend(unsigned.payload, kind), kind.signature_bytes
        if spend.tx.tx_hash != unsigned.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")
        if len(signature) != size * len(spend.coins):
            raise Refused(Reason.BAD_SIGNATURE, "one signature per input")
        witnesses = [
            kind.witness(signature[number * size : (number + 1) * size], digest, coin.script)
            for number, (digest, coin) in enumerate(
                zip(decoding.digests_of(spend), spend.coins, strict=True)
            )
        ]
        signed = spend.tx.signed(tuple(witnesses))
        raw = signed.serialise()
        check_signed(raw, spend.coins)
        if is_installed():
            check_further(raw, signed)
        return SignedTx(tx_id=signed.tx_id, raw=raw)

    # ---- sending ------------------------------------------------------------------------------

    def broadcast(self, raw: bytes) -> BroadcastResult:
        """Send bytes to every node. Never raises for an answer or a missing one."""
        try:
            tx_id = parse_tx(raw).tx_id
        except Refused:
            tx_id = ""  # whatever it is, nodes say it better
        return plan_combined([relay.send(node, raw, tx_id) for node in self._nodes.nodes])

    def tx_status(self, tx_id: str) -> TxStatus:
        """Return where a transaction stands; once included, with its fee and what it moved.

        What it moved is what it paid to others than the owners of its coins; each such output is
        an item. Unavailable: too few nodes answer, or one of its coins' transactions is missing.
        """
        status = super().tx_status(tx_id)
        if status.block is None:
            return status
        tx = parse_tx(self._previous.get(tx_id))
        spent = [self._spent(one.outpoint.tx_id, one.outpoint.index) for one in tx.inputs]
        owners = {coin.script for coin in spent}
        paid = [output.amount for output in tx.outputs if output.script not in owners]
        fee = sum(coin.amount for coin in spent) - sum(output.amount for output in tx.outputs)
        return TxStatus(
            known=True,
            block=status.block,
            succeeded=True,
            fee=fee,
            effect_amount=sum(paid),
            items=tuple(ItemStatus(paid=True, amount=amount) for amount in paid),
        )

    def _without_witnesses(self, tx_id: str) -> bytes:
        """Return a transaction without what proves nothing of its outputs, and may be most of it.

        All that a payload tells of its coins has to fit one record of the signer's log.
        """
        return parse_tx(self.transaction(tx_id)).stripped

    def _spent(self, tx_id: str, index: int) -> TxOut:
        """Return the coin of an input. Unavailable: nobody has it."""
        outputs = parse_tx(self._previous.get(tx_id)).outputs
        if index >= len(outputs):
            raise Unavailable(f"unknown_coin: {tx_id}:{index}")
        return outputs[index]

    def child_fee(self, tx_id: str, intent: SpendIntent, coin: Coin, *, rate: FeeRate) -> int:
        """Return what a child that spends one waiting coin must pay to lift the coin's payment.

        The intent is a sweep of that coin, whose amount is what the fee leaves of it. Refused: as
        package.plan_child_fee. Unavailable: no node has the payment waiting.
        """
        waiting = self._nodes.first(lambda node: package.package_of(node, tx_id), "package")
        return package.plan_child_fee(waiting, self.fee_units(intent, [coin]), rate.max_rate)

    # ---- control ------------------------------------------------------------------------------

    def control_digest(self, challenge: bytes, *, address: str) -> bytes:
        """Return the digest of a challenge signed for an address. Source: BIP-322.

        Refused: unknown_call (no key alone spends from there), and as parse_address.
        """
        return bip322.digest_of(challenge, script_of(address, self._params.place))

    def control_proof(self, challenge: bytes, signature: bytes, *, address: str) -> bytes:
        """Return the witness stack that BIP-322 calls simple. Refused: bad_signature."""
        return bip322.prove(challenge, script_of(address, self._params.place), signature)
