"""One network, reading and writing: what is asked of nodes, handed to the builder, judged and sent.

Every transaction of ours uses a durable nonce, so nothing that was signed ever expires: it lands,
or another one uses up its nonce. Nonce accounts and the wallets' own token accounts are opened by
operators (anybody can pay for them, their authority is a parameter), so nothing of ours is ever
signed over a block hash that expires. Nothing here holds a private key.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError, CryptoError

from chains.base import (
    NATIVE,
    AssetSpec,
    BlockRef,
    BroadcastOutcome,
    BroadcastResult,
    ChainTraits,
    Coin,
    Decoded,
    FeeRate,
    ItemStatus,
    SignedTx,
    Simulation,
    SpendIntent,
    SpendItem,
    SpendKind,
    Standing,
    TxStatus,
    UnsignedTx,
)
from chains.rpc import NodeSet, RpcClient
from chains.solana import fees, programs, simulation, standing, tickets
from chains.solana.accounts import CONFIRMED, ask_accounts, may_close, nonce_of, token_of
from chains.solana.address import encode58, raw_address, to_text
from chains.solana.broadcast import plan_combined, plan_outcome
from chains.solana.build import Facts, build, check_intent, payments_of
from chains.solana.decode import decode, rate_of
from chains.solana.history import Included, ask_included
from chains.solana.message import SIGNATURE_BYTES, split_transaction
from chains.solana.node import SolanaNode
from chains.solana.offchain import control_message
from chains.solana.params import SIGNATURE_FEE, SolanaParams
from chains.solana.reader import SolanaReader
from core.errors import Reason, Refused, Unavailable

TokenFacts = tuple[bytes, frozenset[str], bool]
"""The mint's program, receivers whose account is missing, whether the sender's is emptied."""


class WouldFail(Unavailable):
    """The transaction would fail on today's state: not worth its fee, asked again later."""


class SolanaChain(SolanaReader):
    """The whole seam (chains.base.Chain) over one network."""

    def __init__(
        self, params: SolanaParams, nodes: NodeSet[SolanaNode], assets: Sequence[AssetSpec]
    ) -> None:
        super().__init__(params, nodes, assets)
        self._mints = frozenset(asset.key for asset in assets if asset.key != NATIVE)

    def address_of(self, public_key: bytes) -> str:
        """Return the address of a public key, which it is. Refused: malformed."""
        if len(public_key) != 32:
            raise Refused(Reason.MALFORMED, "a public key has 32 bytes")
        return to_text(public_key)

    def parse_address(self, text: str) -> str:
        """Return canonical text.

        Refused: invalid_address; forbidden_destination (a program, a listed mint, an address that
        only a program can have).
        """
        raw = raw_address(text)
        standing.check_destination(raw, self._mints)
        return to_text(raw)

    def standing_of(self, address: str, *, asset_key: str) -> Standing:
        """Return what a quorum says stands at an address, and whether it takes an asset."""
        return self._nodes.agree(
            lambda node: standing.ask_standing(node.client, address, asset_key=asset_key),
            "standing",
        )

    def tickets(self, sender: str, at: BlockRef) -> Sequence[str]:
        """Return the durable nonces whose authority a sender is. Unavailable: nodes disagree."""
        return self._nodes.agree(
            lambda node: tickets.ask_open(node.client, self._params.tickets, sender, at=at),
            "tickets",
        )

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:
        """Return which tickets are used in the state after exactly this finalized block."""
        return self._nodes.agree(
            lambda node: tickets.ask_used(node.client, outpoints, at=at), "used tickets"
        )

    def used_nonces(self, sender: str, at: BlockRef) -> int:  # noqa: ARG002
        """Return 0: nobody counts nonces here."""
        return 0

    @property
    def traits(self) -> ChainTraits:
        """Return the pinned facts."""
        return replace(super().traits, batch_max=self._params.batch_max)

    def payable_items(self, intent: SpendIntent) -> tuple[bool, ...]:
        """Return which items of a batch would be paid today, each behind those before it.

        A transaction happens as a whole or not at all. Unavailable: nodes do not say.
        """
        check_intent(intent, self._params)
        if self._would_run(intent):
            return (True,) * len(intent.items)
        kept: list[SpendItem] = []
        verdicts = []
        for item in intent.items:
            runs = self._would_run(_of_items(intent, (*kept, item)))
            verdicts.append(runs)
            kept += [item] if runs else []
        return tuple(verdicts)

    def _would_run(self, intent: SpendIntent) -> bool:
        try:
            self.fee_units(intent)
        except WouldFail:
            return False
        return True

    def fee_rate(self) -> FeeRate:
        """Return what most of the last slots paid for compute, within floor and cap."""
        votes = self._nodes.votes(
            lambda node: fees.price_of(node.client.ask("getRecentPrioritizationFees", [])),
            "prioritization fees",
        )
        return fees.plan_rate([vote.value for vote in votes], self._params)

    def bump(self, rate: FeeRate, *, current: FeeRate) -> FeeRate:
        """Return the lowest rate >= rate that replaces one sent at `current`.

        Refused: fee_above_cap.
        """
        return fees.plan_bump(rate, current, self._params)

    def rate_of(self, payload: bytes) -> FeeRate:
        """Return the rate a payload was built with. Refused: undecodable."""
        return rate_of(payload)

    def fee_extra(self, intent: SpendIntent) -> int:
        """Return the lamports that it costs at any rate: signatures, the receiver's account."""
        check_intent(intent, self._params)
        owners = self._nodes.first(self._authorities, "tickets")
        cost = SIGNATURE_FEE * (1 if raw_address(intent.source) in owners else 2)
        if not _moves_tokens(intent):
            return cost
        program, opens, _ = self._token_facts(intent)
        return cost + (len(opens) * programs.OPENING_COST[program] if opens else 0)

    def fee_units(self, intent: SpendIntent, coins: Sequence[Coin] = ()) -> int:  # noqa: ARG002
        """Return how many thousand compute units the transaction may use.

        Unavailable: would_fail (a node runs it and it fails), no durable nonce to run it with.
        """
        check_intent(intent, self._params)
        if intent.kind is SpendKind.CANCELLATION:
            return fees.plan_units(intent, 0, self._params)
        token = self._token_facts(intent)

        def run(node: SolanaNode) -> int:
            facts = self._any_nonce(node, raw_address(intent.source), token)
            most = fees.plan_units(intent, 0, self._params)
            rate = FeeRate(self._params.fee_floor, self._params.fee_floor)
            unsigned = build(
                _unlimited(intent), self._params, facts, rate=rate, units=max(most, 400)
            )
            failure, used, _ = simulation.ask_run(node.client, unsigned.payload, [])
            if failure is not None:
                raise WouldFail(f"would_fail: {intent.spend_id}: {failure}")
            return used

        return fees.plan_units(intent, self._nodes.first(run, "simulation"), self._params)

    def build(
        self,
        intent: SpendIntent,
        *,
        nonce: int,
        rate: FeeRate,
        units: int,
        coins: Sequence[Coin] = (),  # noqa: ARG002
        ticket: str = "",
    ) -> UnsignedTx:
        """Build the one transaction that carries out the intent and uses up this ticket.

        Refused: malformed (no ticket, a nonce), fee_above_cap, intent_mismatch, zero_amount,
        unknown_asset, invalid_address, forbidden_destination. Unavailable: the ticket is used, or
        the mint is not there.
        """
        if nonce:
            raise Refused(Reason.MALFORMED, "a ticket is used up here, no nonce")
        if intent.kind is not SpendKind.CANCELLATION:
            for destination, _ in payments_of(intent):
                standing.check_destination(raw_address(destination), self._mints)
        check_intent(intent, self._params)
        wanted = tickets.read_ticket(ticket)
        found = self._nodes.agree(
            lambda node: nonce_of(ask_accounts(node.client, [wanted.account])[1][0]), "ticket"
        )
        if found is None or found.value != wanted.value:
            raise Unavailable(f"ticket_used: {ticket}")
        facts = Facts(wanted.account, wanted.value, found.authority)
        if _moves_tokens(intent):
            program, opens, closes = self._token_facts(intent)
            closes = closes and found.authority != raw_address(intent.source)
            facts = Facts(wanted.account, wanted.value, found.authority, program, opens, closes)
        return build(intent, self._params, facts, rate=rate, units=units)

    def decode(self, payload: bytes, *, sender: str) -> Decoded:
        """Read a payload. Refused: forbidden_destination, and as chains.solana.decode."""
        decoded = decode(payload, self._params, sender=sender)
        for effect in decoded.effects:
            standing.check_destination(raw_address(effect.destination), self._mints)
        return decoded

    def simulate(self, unsigned: UnsignedTx) -> Simulation:
        """Have a quorum of nodes run a transaction. Refused: as decode. Unavailable."""
        decoded = self.decode(unsigned.payload, sender=unsigned.sender)
        head = self.head()
        return self._nodes.agree(
            lambda node: simulation.run(node.client, unsigned, decoded, head), "simulation"
        )

    def assemble(self, unsigned: UnsignedTx, signature: bytes) -> SignedTx:
        """Join message and signatures, in the order of Decoded.signers.

        Refused: bad_signature (number, or not the signer's), undecodable.
        """
        decoded = decode(unsigned.payload, self._params, sender=unsigned.sender)
        if unsigned.digest != decoded.digest:
            raise Refused(Reason.INTENT_MISMATCH, "the digest is another payload's")
        signers = decoded.signers or (unsigned.sender,)
        if len(signature) != SIGNATURE_BYTES * len(signers):
            raise Refused(Reason.BAD_SIGNATURE, f"{len(signers)} signatures of 64 bytes")
        for place, signer in enumerate(signers):
            part = signature[place * SIGNATURE_BYTES : (place + 1) * SIGNATURE_BYTES]
            check_signature(raw_address(signer), part, unsigned.payload)
        raw = bytes((len(signers),)) + signature + unsigned.payload
        return SignedTx(tx_id=encode58(signature[:SIGNATURE_BYTES]), raw=raw)

    def broadcast(self, raw: bytes) -> BroadcastResult:
        """Send bytes to every node. Never raises for an answer or a missing one.

        No node runs them first: one that fails must land and use up its ticket, or it would stand
        between its ticket and the next one for ever.
        """
        try:
            signatures, _ = split_transaction(raw)
        except Refused as refused:
            return BroadcastResult(BroadcastOutcome.REJECTED, refused.detail)
        tx_id, text = encode58(signatures[0]), base64.b64encode(raw).decode()
        options = {"encoding": "base64", "skipPreflight": True}
        results = []
        for node in self._nodes.nodes:
            try:
                answer = node.client.send_once("sendTransaction", text, options)
                results.append(plan_outcome(answer, tx_id))
            except Unavailable as error:
                results.append(BroadcastResult(BroadcastOutcome.UNKNOWN, error.what))
        return plan_combined(results)

    def tx_status(self, tx_id: str) -> TxStatus:
        """Return where a transaction stands, included once its slot is finalized.

        A quorum agrees on what it cost and moved. Unavailable: too few nodes say so yet.
        """
        votes = self._nodes.votes(lambda node: ask_included(node.client, tx_id), "transaction")
        if not any(isinstance(vote.value, Included) for vote in votes):
            return TxStatus(known=any(vote.value for vote in votes))
        found = self._nodes.settle(votes, "transaction")
        if not isinstance(found, Included):
            return TxStatus(known=True)
        return TxStatus(
            known=True,
            block=BlockRef(found.slot, found.block_hash),
            succeeded=found.succeeded,
            fee=found.fee,
            effect_amount=sum(found.amounts),
            items=tuple(ItemStatus(amount > 0, amount) for amount in found.amounts)
            if len(found.amounts) > 1
            else (),
        )

    @property
    def wallets(self) -> None:
        """Return None: a wallet of several owners is not asked for over the seam here."""
        return

    def coin_wallet(self, address: str, descriptor: str) -> None:  # noqa: ARG002
        """Return None: there are no coins."""
        return

    def control_digest(self, challenge: bytes, *, address: str) -> bytes:
        """Return the off-chain message that proves control of an address once signed."""
        return control_message(challenge, address=address)

    def control_proof(self, challenge: bytes, signature: bytes, *, address: str) -> bytes:
        """Return key and signature over the off-chain message. Refused: bad_signature."""
        check_signature(
            raw_address(address), signature, control_message(challenge, address=address)
        )
        return raw_address(address) + signature

    def _authorities(self, node: SolanaNode) -> frozenset[bytes]:
        accounts = [raw_address(text) for text in self._params.tickets]
        if not accounts:
            return frozenset()
        _, found = ask_accounts(node.client, accounts)
        return frozenset(nonce.authority for nonce in map(nonce_of, found) if nonce is not None)

    def _any_nonce(self, node: SolanaNode, source: bytes, token: TokenFacts) -> Facts:
        """Return a nonce to run a transaction with: the source's own, or that of who pays for it.

        As it stands now, not as finalized: the simulation runs on that state.
        """
        accounts = [raw_address(text) for text in self._params.tickets]
        if not accounts:
            raise WouldFail("no_tickets: no nonce account is configured")
        _, found = ask_accounts(node.client, accounts, commitment=CONFIRMED)
        pairs = zip(accounts, map(nonce_of, found), strict=True)
        open_ones = [(account, nonce) for account, nonce in pairs if nonce is not None]
        own = [each for each in open_ones if each[1].authority == source]
        if not open_ones:
            raise WouldFail("no_tickets: no configured account holds a nonce")
        account, nonce = (own or open_ones)[0]
        program, opens, closes = token
        closes = closes and nonce.authority != source
        return Facts(account, nonce.value, nonce.authority, program, opens, closes)

    def _token_facts(self, intent: SpendIntent) -> TokenFacts:
        """Return the mint's program, whether the receiver's account is missing, and whether the
        intent empties the sender's.
        """
        if not _moves_tokens(intent):
            return b"", frozenset(), False
        return self._nodes.agree(lambda node: _ask_token(node.client, intent), "token accounts")


def check_signature(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature. Refused: bad_signature."""
    try:
        if len(signature) != SIGNATURE_BYTES:
            raise BadSignatureError("a signature has 64 bytes")
        crypto_sign_open(signature + message, public_key)
    except (CryptoError, ValueError) as error:
        raise Refused(Reason.BAD_SIGNATURE, "not the signer's signature over this") from error


def _moves_tokens(intent: SpendIntent) -> bool:
    return intent.asset_key != NATIVE and intent.kind is not SpendKind.CANCELLATION


def _unlimited(intent: SpendIntent) -> SpendIntent:
    return replace(intent, fee_max=1 << 64)


def _of_items(batch: SpendIntent, items: tuple[SpendItem, ...]) -> SpendIntent:
    return replace(batch, items=items, amount=sum(one.amount for one in items))


def _ask_token(client: RpcClient, intent: SpendIntent) -> TokenFacts:
    mint, source = raw_address(intent.asset_key), raw_address(intent.source)
    _, (minted,) = ask_accounts(client, [mint], commitment=CONFIRMED)
    program = None if minted is None else minted.owner
    if program not in programs.TOKEN_PROGRAMS:
        raise Unavailable(f"no_mint: {intent.asset_key}")
    receivers = [to for to, _ in payments_of(intent)]
    asked = [
        programs.token_account(owner, mint, program)
        for owner in (source, *map(raw_address, receivers))
    ]
    _, (held, *paid) = ask_accounts(client, asked, commitment=CONFIRMED)
    missing = (to for to, one in zip(receivers, paid, strict=True) if token_of(one) is None)
    account = token_of(held)
    empties = account is not None and account.amount == intent.amount
    closes = empties and held is not None and may_close(held) and intent.kind is SpendKind.SWEEP
    return program, frozenset(missing), closes
