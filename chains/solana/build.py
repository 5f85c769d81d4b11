"""The builder: one version 0 message for one intent, by library code (solders, solana-py).

The judge (chains.solana.decode) shares nothing with it. Nothing here asks a node: what must be
known of the chain is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chains.base import NATIVE, FeeRate, SpendIntent, SpendKind, UnsignedTx, check_batch
from chains.solana.address import raw_address
from chains.solana.params import SIGNATURE_FEE, SUPPLY_MAX, TRANSFERS_MAX, UNIT, SolanaParams
from chains.solana.programs import OPENING_COST
from core.errors import Corrupt, Reason, Refused
from core.money import require_int

if TYPE_CHECKING:
    from solders.instruction import Instruction
    from solders.message import MessageV0
    from solders.pubkey import Pubkey


@dataclass(frozen=True, slots=True)
class Facts:
    """What the chain says that a message depends on."""

    nonce_account: bytes
    nonce_value: bytes
    payer: bytes
    """The nonce's authority, who pays the fee."""
    token_program: bytes = b""
    """The program of the intent's mint; none for the native coin."""
    opens: frozenset[str] = frozenset()
    """Receivers whose token account is not there."""
    closes: bool = False
    """The transfer empties the sender's token account, whose rent is taken back."""


def check_intent(intent: SpendIntent, params: SolanaParams) -> None:
    """Refuse an intent of another network or of nothing.

    Refused: intent_mismatch, amount_out_of_range, zero_amount, unknown_asset.
    """
    if intent.chain != params.chain or intent.network != params.network:
        raise Refused(Reason.INTENT_MISMATCH, "the intent names another network")
    if not 0 <= require_int(intent.amount) <= SUPPLY_MAX:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "an amount fits 64 bits")
    if intent.kind in (SpendKind.DELEGATION, SpendKind.OWNERS):
        raise Refused(Reason.INTENT_MISMATCH, f"there is no {intent.kind} here")
    if intent.asset_key != NATIVE and intent.asset_key not in params.scales:
        raise Refused(Reason.UNKNOWN_ASSET, f"{intent.asset_key} is not listed")
    if intent.kind is SpendKind.CANCELLATION:
        if (intent.asset_key, intent.amount) != (NATIVE, 0) or intent.destination != intent.source:
            raise Refused(Reason.INTENT_MISMATCH, "a cancellation pays nothing to its own sender")
    elif intent.amount == 0:
        raise Refused(Reason.ZERO_AMOUNT, "nothing would be moved")
    if intent.kind is SpendKind.BATCH:
        check_batch(intent)
        if len(intent.items) > TRANSFERS_MAX:
            raise Refused(Reason.TOO_LARGE, f"a batch is at most {TRANSFERS_MAX} payments")


def payments_of(intent: SpendIntent) -> list[tuple[str, int]]:
    """Return whom an intent pays and how much, in order."""
    if intent.kind is SpendKind.BATCH:
        return [(one.destination, one.amount) for one in intent.items]
    return [(intent.destination, intent.amount)]


def build(
    intent: SpendIntent, params: SolanaParams, facts: Facts, *, rate: FeeRate, units: int
) -> UnsignedTx:
    """Build the one message of an intent.

    Refused: fee_above_cap, malformed, and as check_intent.
    """
    check_intent(intent, params)
    if not 0 <= rate.tip_rate <= require_int(rate.max_rate, "rate"):
        raise Refused(Reason.MALFORMED, "the tip is part of the highest rate")
    if rate.max_rate > params.fee_cap or not 0 < require_int(units, "units") <= params.units_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{units} units at {rate.max_rate}")
    message = compile_message(intent, params, facts, rate=rate.max_rate, units=units)
    fee_max = message.header.num_required_signatures * SIGNATURE_FEE + units * rate.max_rate
    if facts.opens:
        fee_max += len(facts.opens) * OPENING_COST[facts.token_program]
    if fee_max > intent.fee_max:
        raise Refused(Reason.FEE_ABOVE_CAP, f"the transaction may cost {fee_max}")
    payload = _bytes_of(message)
    return UnsignedTx(params.chain, intent.source, 0, payload, payload, fee_max)


def compile_message(
    intent: SpendIntent, params: SolanaParams, facts: Facts, *, rate: int, units: int
) -> MessageV0:
    """Put the calls of an intent together, the durable nonce's first."""
    from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
    from solders.hash import Hash
    from solders.message import MessageV0
    from solders.pubkey import Pubkey
    from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account

    payer = Pubkey.from_bytes(facts.payer)
    calls = [
        advance_nonce_account(
            AdvanceNonceAccountParams(
                nonce_pubkey=Pubkey.from_bytes(facts.nonce_account), authorized_pubkey=payer
            )
        ),
        set_compute_unit_limit(units * UNIT),
        set_compute_unit_price(rate * UNIT),
        *calls_of(intent, params, facts),
    ]
    message = MessageV0.try_compile(payer, calls, [], Hash.from_bytes(facts.nonce_value))
    if intent.asset_key == NATIVE:
        return message
    receivers = [Pubkey.from_bytes(raw_address(to)) for to, _ in payments_of(intent)]
    return _with_receivers(
        message, [each for each in receivers if each not in message.account_keys]
    )


def calls_of(intent: SpendIntent, params: SolanaParams, facts: Facts) -> list[Instruction]:
    """Return the calls that move the money.

    A cancellation has none; where another pays, its source sends itself nothing, and so signs.
    """
    from solders.pubkey import Pubkey
    from solders.system_program import TransferParams, transfer
    from spl.token import instructions as token
    from spl.token.models import CloseAccountParams, TransferCheckedParams

    if intent.kind is SpendKind.CANCELLATION and raw_address(intent.source) == facts.payer:
        return []
    source = Pubkey.from_bytes(raw_address(intent.source))
    paid = [(Pubkey.from_bytes(raw_address(to)), amount) for to, amount in payments_of(intent)]
    if intent.asset_key == NATIVE:
        return [
            transfer(TransferParams(from_pubkey=source, to_pubkey=to, lamports=amount))
            for to, amount in paid
        ]
    payer = Pubkey.from_bytes(facts.payer)
    program = Pubkey.from_bytes(facts.token_program)
    mint = Pubkey.from_bytes(raw_address(intent.asset_key))
    own = token.get_associated_token_address(source, mint, program)
    calls = [
        token.create_idempotent_associated_token_account(payer, to, mint, program)
        for to in dict.fromkeys(to for to, _ in paid)
        if str(to) in facts.opens
    ]
    calls += [
        token.transfer_checked(
            TransferCheckedParams(
                program_id=program,
                source=own,
                mint=mint,
                dest=token.get_associated_token_address(to, mint, program),
                owner=source,
                amount=amount,
                decimals=params.scales[intent.asset_key],
            )
        )
        for to, amount in paid
    ]
    if facts.closes:
        calls.append(
            token.close_account(
                CloseAccountParams(program_id=program, account=own, dest=payer, owner=source)
            )
        )
    return calls


def _with_receivers(message: MessageV0, receivers: Sequence[Pubkey]) -> MessageV0:
    """Name the owners of the accounts that are paid to, so that the message proves whose they are.

    Where an account is opened its owner stands in that call; else he is a key without a use.
    """
    from solders.message import MessageHeader, MessageV0

    header, extra = message.header, list(dict.fromkeys(receivers))
    named = MessageHeader(
        header.num_required_signatures,
        header.num_readonly_signed_accounts,
        header.num_readonly_unsigned_accounts + len(extra),
    )
    return MessageV0(
        named,
        [*message.account_keys, *extra],
        message.recent_blockhash,
        message.instructions,
        message.address_table_lookups,
    )


def _bytes_of(message: MessageV0) -> bytes:
    from solders.message import from_bytes_versioned, to_bytes_versioned

    payload = bytes(to_bytes_versioned(message))
    if from_bytes_versioned(payload) != message:
        raise Corrupt("a message is read back differently")
    return payload
