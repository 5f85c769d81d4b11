"""One network, reading and writing. Nothing here holds a private key."""

from __future__ import annotations

from collections.abc import Sequence

from eth_hash.auto import keccak

from chains.base import (
    NATIVE,
    AssetSpec,
    BlockRef,
    BroadcastOutcome,
    BroadcastResult,
    Coin,
    Decoded,
    FeeRate,
    SignedTx,
    Simulation,
    SpendIntent,
    SpendKind,
    TxStatus,
    UnsignedTx,
)
from chains.evm import fees, simulation
from chains.evm.address import checksum, from_public_key, is_unspendable, raw_address
from chains.evm.batch_call import item_gas_of, needed_gas
from chains.evm.batch_payload import is_batch, item_statuses
from chains.evm.broadcast import plan_combined, plan_outcome
from chains.evm.build import build, call_of, check_intent
from chains.evm.decode import decode, rate_of, transaction_in
from chains.evm.effects import effect_amount, execution_failed, moves_of
from chains.evm.erc20 import says_success
from chains.evm.node import EvmNode
from chains.evm.odd import plan_delivered
from chains.evm.params import EvmParams
from chains.evm.parse import Header, Tx
from chains.evm.reader import EvmReader, token_events
from chains.evm.safe import EvmWallets
from chains.evm.signature import parse_signature, personal_digest, recover
from chains.evm.signing import signed_bytes
from chains.rpc import NodeSet, RpcError
from core.errors import Reason, Refused, Unavailable


class WouldRevert(Unavailable):
    """The transaction would fail on today's state: not worth its fee, asked again later."""


class EvmChain(EvmReader):
    """The whole seam (chains.base.Chain) over one network."""

    def __init__(
        self, params: EvmParams, nodes: NodeSet[EvmNode], assets: Sequence[AssetSpec]
    ) -> None:
        super().__init__(params, nodes, assets)
        self._tokens = frozenset(raw_address(asset.key) for asset in assets if asset.key != NATIVE)
        self._wallets = EvmWallets(params, nodes)

    @property
    def wallets(self) -> EvmWallets:
        """Return what wallets of several owners need."""
        return self._wallets

    def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.nodes:
            node.client.close()

    def address_of(self, public_key: bytes) -> str:
        """Return the address of a compressed public key. Refused: malformed."""
        return checksum(from_public_key(public_key))

    def parse_address(self, text: str) -> str:
        """Return checksummed text.

        Refused: invalid_address (syntax, letter case); forbidden_destination (zero, burn,
        precompile, a listed token's own contract).
        """
        raw = raw_address(text)
        self._refuse_forbidden(raw)
        return checksum(raw)

    def fee_rate(self) -> FeeRate:
        """Return twice the next base fee plus the tip, within floor and cap."""
        votes = self._nodes.votes(lambda node: fees.base_fee_of(node.fee_history()), "fee history")
        return fees.plan_rate([vote.value for vote in votes], self._params)

    def fee_units(self, intent: SpendIntent, coins: Sequence[Coin] = ()) -> int:  # noqa: ARG002
        """Return the gas limit.

        Unavailable: would_revert (the simulation fails), an absurd estimate.
        """
        transaction = self._transaction_of(intent)
        data = transaction["data"] != "0x"
        if intent.kind is SpendKind.BATCH:
            if not any(self.payable_items(intent)):
                raise WouldRevert(f"would_revert: {intent.spend_id}: every item fails")
            return needed_gas(len(intent.items), item_gas_of(intent))

        def simulate(node: EvmNode) -> int:
            answer = node.call(transaction)
            if isinstance(answer, RpcError) or (data and not says_success(answer)):
                raise WouldRevert(f"would_revert: {intent.spend_id}: {answer!r}"[:300])
            estimate = node.estimate_gas(transaction)
            if isinstance(estimate, RpcError):
                raise WouldRevert(f"would_revert: {intent.spend_id}: {estimate.message}"[:300])
            return estimate

        return fees.plan_units(self._nodes.first(simulate, "simulation"), self._params)

    def payable_items(self, intent: SpendIntent) -> tuple[bool, ...]:
        """Return which items the account's own code would pay on today's state.

        Unavailable: would_revert (the account runs no such code), the node does not answer.
        """
        units = needed_gas(len(intent.items), item_gas_of(intent))
        transaction = self._transaction_of(intent) | {"gas": hex(units)}

        def simulate(node: EvmNode) -> bytes:
            answer = node.call(transaction)
            if isinstance(answer, RpcError) or len(answer) != 32:
                raise WouldRevert(f"would_revert: {intent.spend_id}: {answer!r}"[:300])
            return answer

        paid = int.from_bytes(self._nodes.first(simulate, "simulation"), "big")
        return tuple(bool(paid >> place & 1) for place in range(len(intent.items)))

    def _transaction_of(self, intent: SpendIntent) -> dict[str, str]:
        check_intent(intent, self._params)
        to, value, data = call_of(intent)
        return {
            "from": intent.source,
            "to": checksum(to),
            "value": hex(value),
            "data": "0x" + data.hex(),
        }

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        """Return what a quorum says of the nonces spent after one block."""
        owner = raw_address(sender)
        return self._nodes.agree(lambda node: node.used_nonces(owner, at.hash), "nonces")

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

        Refused: fee_above_cap, intent_mismatch, zero_amount, invalid_address,
        forbidden_destination.
        """
        for destination in (intent.destination, *(one.destination for one in intent.items)):
            self._refuse_forbidden(raw_address(destination))
        return build(intent, self._params, nonce=nonce, rate=rate, units=units)

    def bump(self, rate: FeeRate, *, current: FeeRate) -> FeeRate:
        """Return the lowest rate >= rate that replaces one sent at `current`.

        Refused: fee_above_cap.
        """
        return fees.plan_bump(rate, current, self._params)

    def rate_of(self, payload: bytes) -> FeeRate:
        """Return the rate a payload was built with. Refused: undecodable."""
        return rate_of(payload)

    def decode(self, payload: bytes, *, sender: str) -> Decoded:
        """Read a payload. Refused: forbidden_destination, and as chains.evm.decode."""
        raw_address(sender)
        decoded = decode(payload, self._params, sender=sender)
        for effect in decoded.effects:
            self._refuse_forbidden(raw_address(effect.destination))
        return decoded

    def simulate(self, unsigned: UnsignedTx) -> Simulation:
        """Have a quorum of nodes run a transaction, as chains.evm.simulation.

        Refused: undecodable, … Unavailable.
        """
        calls = simulation.calls_of(unsigned, self._params)
        head = self.head()
        return self._nodes.agree(lambda node: simulation.run(node, calls, head), "simulation")

    def assemble(self, unsigned: UnsignedTx, signature: bytes) -> SignedTx:
        """Join payload and signature.

        Refused: bad_signature (form, high s, another signer), undecodable (also where one
        signature makes no transaction: of a contract wallet, an authorisation).
        """
        parse_signature(signature)
        transaction = transaction_in(unsigned.payload)
        digest = keccak(transaction)
        if digest != unsigned.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")
        if checksum(recover(digest, signature)) != unsigned.sender:
            raise Refused(Reason.BAD_SIGNATURE, "the signature is not the sender's")
        raw = signed_bytes(transaction, signature)
        return SignedTx(tx_id="0x" + keccak(raw).hex(), raw=raw)

    def broadcast(self, raw: bytes) -> BroadcastResult:
        """Send bytes to every node. Never raises for an answer or a missing one."""
        tx_id = "0x" + keccak(raw).hex()
        results = []
        for node in self._nodes.nodes:
            try:
                results.append(plan_outcome(node.send(raw), tx_id))
            except Unavailable as error:
                results.append(BroadcastResult(BroadcastOutcome.UNKNOWN, error.what))
        return plan_combined(results)

    def tx_status(self, tx_id: str) -> TxStatus:
        """Return where a transaction stands, proven by its block's hash once included."""
        votes = self._nodes.votes(lambda node: node.transaction_height(tx_id), "transaction")
        heights = {height for _, height in (vote.value for vote in votes) if height is not None}
        for height in sorted(heights):
            # Nodes only say where to look: the block agreed there proves what it holds.
            header = self._agreed_header(height)
            if header is None:
                continue
            for tx in self._contents(header).transactions:
                if tx.tx_id == tx_id:
                    return TxStatus(
                        known=True,
                        block=BlockRef(header.height, header.hash),
                        succeeded=tx.succeeded and not execution_failed(tx),
                        inner_failed=tx.succeeded and execution_failed(tx),
                        fee=tx.fee,
                        effect_amount=self._arrived(header, tx),
                        items=item_statuses(tx) if tx.succeeded and is_batch(tx) else (),
                    )
        return TxStatus(known=any(vote.value[0] for vote in votes))

    def control_digest(self, challenge: bytes, *, address: str) -> bytes:  # noqa: ARG002
        """Return the EIP-191 personal-message digest of a challenge."""
        return personal_digest(challenge)

    def control_proof(self, challenge: bytes, signature: bytes, *, address: str) -> bytes:
        """Return r ‖ s ‖ v with v 27 or 28, as wallets and EIP-191 verifiers take it.

        Refused: bad_signature.
        """
        signer = recover(personal_digest(challenge), signature)
        if signer != raw_address(address):
            raise Refused(Reason.BAD_SIGNATURE, "the signature is another address's")
        return signature[:64] + bytes((27 + signature[64],))

    def _arrived(self, header: Header, tx: Tx) -> int:
        """Return what the transaction really moved to its destination.

        An odd token's events are not believed: no more arrived than the destination's balance grew
        across the block, what it sent on in the same block added back; several transfers to it
        share that growth in their order.
        """
        claimed = effect_amount(tx)
        moves = moves_of(tx) if claimed else []
        if len(moves) != 1 or moves[0].token not in self._odd or moves[0].token is None:
            return claimed
        token, owner = checksum(moves[0].token), moves[0].to
        before = self._token_balance(token, owner, header.parent_hash)
        after = self._token_balance(token, owner, header.hash)
        if after is None:
            raise Unavailable(f"balance_unreadable: {token}")
        moved = [e for e in token_events(self._contents(header)) if e.log.emitter == moves[0].token]
        sent_on = sum(event.value for event in moved if event.sender == owner != event.to)
        arrived = [event for event in moved if event.to == owner != event.sender]
        shares = plan_delivered(arrived, before=before, after=after + sent_on)
        mine = sum(amount for event, amount, _ in shares if event.log.tx_id == tx.tx_id)
        return min(claimed, mine)

    def _refuse_forbidden(self, raw: bytes) -> None:
        if is_unspendable(raw):
            raise Refused(Reason.FORBIDDEN_DESTINATION, "nobody can spend from this address")
        if raw in self._tokens:
            raise Refused(Reason.FORBIDDEN_DESTINATION, "this is a token's own contract")
