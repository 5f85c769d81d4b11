"""The judge: what an own transaction does, read from its message alone.

It knows exactly one form. First a durable nonce is advanced, whose authority pays the fee; then
limit and price of compute; then transfers of the native coin, or of listed tokens to the derived
account of an owner that the message names, opened where it may be missing (several of them are a
batch, which happens as a whole or not at all); last an emptied account may be closed to who pays
the fee. Every key has a reason to be there, to sign and to be changed; everything else is refused.
No code is shared with the builder, which uses libraries.

A message names no network. What binds it to one is the nonce's value: it stands in no account of
another network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chains.base import NATIVE, Decoded, Effect, FeeRate
from chains.solana import programs
from chains.solana.address import raw_address, to_text
from chains.solana.message import Instruction, Message, read_message, refusal
from chains.solana.params import SIGNATURE_FEE, TRANSFERS_MAX, UNIT, UNITS_MAX, SolanaParams
from core.errors import Reason, Refused

ADVANCE_NONCE = (4).to_bytes(4, "little")
TRANSFER = (2).to_bytes(4, "little")
UNITS_LIMIT, UNITS_PRICE = 2, 3
TOKEN_CLOSE, TOKEN_TRANSFER_CHECKED = 9, 12
CREATE_IDEMPOTENT = b"\x01"

_SYSTEM_NAMES = {
    1: Reason.OWNER_CHANGE,  # assign
    7: Reason.OWNER_CHANGE,  # authorise another for a nonce account
    10: Reason.OWNER_CHANGE,  # assign with seed
}
_TOKEN_NAMES = {
    4: Reason.APPROVAL_CALL,  # approve
    6: Reason.OWNER_CHANGE,  # set authority
    13: Reason.APPROVAL_CALL,  # approve checked
}


@dataclass(frozen=True, slots=True)
class Budget:
    """The durable nonce and what compute may cost."""

    nonce_account: bytes
    payer: bytes
    units: int
    rate: int


@dataclass(slots=True)
class _Reading:
    """A message being judged: what explains each key so far."""

    message: Message
    params: SolanaParams
    sender: bytes
    payer: bytes = b""
    signing: set[bytes] = field(default_factory=set)
    changing: set[bytes] = field(default_factory=set)
    named: set[bytes] = field(default_factory=set)
    opened: dict[bytes, tuple[bytes, bytes, bytes]] = field(default_factory=dict)
    """Of each account that is opened: owner, mint, token program."""
    paid: set[bytes] = field(default_factory=set)
    emptied: set[bytes] = field(default_factory=set)
    """Token accounts that got money, and those of the sender that it was taken from."""
    effects: list[Effect] = field(default_factory=list)
    cost: int = 0

    def keys(self, call: Instruction, count: int) -> list[bytes]:
        if len(call.accounts) != count:
            raise Refused(Reason.UNKNOWN_CALL, f"a call with {len(call.accounts)} accounts")
        found = [self.message.keys[place] for place in call.accounts]
        self.named.update(found)
        return found


def decode(payload: bytes, params: SolanaParams, *, sender: str) -> Decoded:
    """Read a payload.

    Refused: undecodable, unknown_asset (the mint is not listed), forbidden_destination (an account
    that is derived from no owner the message names), approval_call, owner_change, unknown_call,
    foreign_input (nonce, source or authority are another's), signature_scope (who signs, or what
    may be changed, is not explained), extra_effect, fee_above_cap.
    """
    message = read_message(payload)
    reading = _Reading(message, params, raw_address(sender))
    budget = _read_budget(reading)
    if budget.rate > params.fee_cap or budget.units > params.units_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{budget.units} units at {budget.rate} lamports")
    calls = message.instructions[3:]
    if len(calls) > 3 * TRANSFERS_MAX:
        raise refusal("a transaction with that many calls is never made")
    for call in calls:
        _read_call(reading, call)
    if set(reading.opened) - reading.paid:
        raise Refused(Reason.EXTRA_EFFECT, "an account is opened that is not paid to")
    _check_roles(reading)
    keys = [to_text(key) for key in message.keys[: message.signers]]
    return Decoded(
        network=params.network,
        nonce=0,
        effects=tuple(reading.effects),
        is_batch=len(reading.effects) > 1,
        fee_max=SIGNATURE_FEE * message.signers + budget.units * budget.rate + reading.cost,
        digest=payload,
        ticket=f"{to_text(budget.nonce_account)}:{to_text(message.blockhash)}",
        signers=() if keys == [sender] else tuple(keys),
    )


def rate_of(payload: bytes) -> FeeRate:
    """Return the rate that a payload carries. Refused: undecodable, …"""
    rate = read_budget(read_message(payload)).rate
    return FeeRate(max_rate=rate, tip_rate=rate)


def read_budget(message: Message) -> Budget:
    """Return the durable nonce, who pays and how much for compute.

    Refused: undecodable, foreign_input, unknown_call, signature_scope.
    """
    if message.is_legacy:
        raise refusal("only version 0 is signed")
    if len(message.instructions) < 3:
        raise refusal("a durable nonce, a limit and a price stand first")
    advance, limit, price = message.instructions[:3]
    keys = message.keys
    if keys[advance.program] != programs.SYSTEM or advance.data != ADVANCE_NONCE:
        raise Refused(Reason.SIGNATURE_SCOPE, "the first call does not advance a durable nonce")
    if len(advance.accounts) != 3:
        raise Refused(Reason.UNKNOWN_CALL, "a durable nonce is advanced over three accounts")
    account, sysvar, authority = (keys[place] for place in advance.accounts)
    if sysvar != programs.RECENT_BLOCKHASHES:
        raise Refused(Reason.UNKNOWN_CALL, "that is not where recent hashes stand")
    if authority != keys[0]:
        raise Refused(Reason.FOREIGN_INPUT, "the durable nonce is not of who pays the fee")
    units = _budget_number(message, limit, UNITS_LIMIT, 4)
    micro = _budget_number(message, price, UNITS_PRICE, 8)
    if units % UNIT or micro % UNIT or not 0 < units <= UNIT * UNITS_MAX:
        raise refusal("limit and price are whole units")
    return Budget(account, authority, units // UNIT, micro // UNIT)


def _read_budget(reading: _Reading) -> Budget:
    budget = read_budget(reading.message)
    keys = reading.message.keys
    reading.payer = budget.payer
    reading.signing.add(budget.payer)
    reading.changing.update((budget.payer, budget.nonce_account))
    for call in reading.message.instructions[:3]:
        reading.named.update((keys[call.program], *(keys[place] for place in call.accounts)))
    return budget


def _budget_number(message: Message, call: Instruction, kind: int, size: int) -> int:
    if message.keys[call.program] != programs.COMPUTE_BUDGET or call.accounts:
        raise refusal("limit and price of compute stand second and third")
    if call.data[:1] != bytes((kind,)) or len(call.data) != 1 + size:
        raise refusal("limit and price of compute stand second and third")
    return int.from_bytes(call.data[1:], "little")


def _read_call(reading: _Reading, call: Instruction) -> None:
    program = reading.message.keys[call.program]
    reading.named.add(program)
    if program == programs.SYSTEM:
        _read_native(reading, call)
    elif program in programs.TOKEN_PROGRAMS:
        _read_token(reading, call, program)
    elif program == programs.ASSOCIATED:
        _read_opening(reading, call)
    else:
        raise Refused(Reason.UNKNOWN_CALL, f"program {to_text(program)}")


def _read_native(reading: _Reading, call: Instruction) -> None:
    if call.data[:4] != TRANSFER or len(call.data) != 12:
        number = int.from_bytes(call.data[:4], "little")
        reason = _SYSTEM_NAMES.get(number, Reason.UNKNOWN_CALL)
        raise Refused(reason, f"call {number} of the system program")
    source, destination = reading.keys(call, 2)
    _check_source(reading, source)
    reading.changing.update((source, destination))
    amount = int.from_bytes(call.data[4:], "little")
    reading.effects.append(Effect(NATIVE, to_text(destination), amount))


def _read_token(reading: _Reading, call: Instruction, program: bytes) -> None:
    kind = call.data[0] if call.data else -1
    if kind == TOKEN_CLOSE and len(call.data) == 1:
        _read_closing(reading, call)
        return
    if kind != TOKEN_TRANSFER_CHECKED or len(call.data) != 10:
        raise Refused(_TOKEN_NAMES.get(kind, Reason.UNKNOWN_CALL), f"call {kind} of a token")
    source, mint, destination, owner = reading.keys(call, 4)
    scale = reading.params.scales.get(to_text(mint))
    if scale is None:
        raise Refused(Reason.UNKNOWN_ASSET, f"mint {to_text(mint)} is not listed")
    if call.data[9] != scale:
        raise refusal(f"the mint has {scale} decimals, not {call.data[9]}")
    _check_source(reading, owner)
    if source != programs.token_account(owner, mint, program):
        raise Refused(Reason.FOREIGN_INPUT, "tokens are taken from an account not derived")
    receiver = _receiver(reading, destination, mint, program)
    reading.changing.update((source, destination))
    reading.emptied.add(source)
    reading.paid.add(destination)
    amount = int.from_bytes(call.data[1:9], "little")
    reading.effects.append(Effect(to_text(mint), to_text(receiver), amount))


def _receiver(reading: _Reading, destination: bytes, mint: bytes, program: bytes) -> bytes:
    """Return whose derived account is paid to: named where it is opened, or by a key alone."""
    opened = reading.opened.get(destination)
    if opened is not None:
        owner, its_mint, its_program = opened
        if (its_mint, its_program) != (mint, program):
            raise Refused(Reason.FORBIDDEN_DESTINATION, "the account is opened for another mint")
        return owner
    for key in reversed(reading.message.keys):
        if programs.token_account(key, mint, program) == destination:
            reading.named.add(key)
            return key
    raise Refused(Reason.FORBIDDEN_DESTINATION, "the account paid to is of nobody who is named")


def _read_opening(reading: _Reading, call: Instruction) -> None:
    if call.data != CREATE_IDEMPOTENT:
        raise Refused(Reason.UNKNOWN_CALL, "only an opening that may be repeated is made")
    payer, account, owner, mint, system, program = reading.keys(call, 6)
    if payer != reading.payer:
        raise Refused(Reason.FOREIGN_INPUT, "an account is opened by another than who pays")
    if system != programs.SYSTEM or program not in programs.TOKEN_PROGRAMS:
        raise Refused(Reason.UNKNOWN_CALL, "an account of an unknown program is opened")
    if account != programs.token_account(owner, mint, program) or account in reading.opened:
        raise Refused(Reason.FORBIDDEN_DESTINATION, "the account opened is not its owner's")
    reading.opened[account] = (owner, mint, program)
    reading.changing.update((payer, account))
    reading.cost += programs.OPENING_COST[program]


def _read_closing(reading: _Reading, call: Instruction) -> None:
    account, destination, owner = reading.keys(call, 3)
    _check_source(reading, owner)
    if destination != reading.payer:
        raise Refused(Reason.EXTRA_EFFECT, "an account is closed to another than who pays")
    if account not in reading.emptied - reading.paid or owner == reading.payer:
        raise Refused(Reason.EXTRA_EFFECT, "only an account that was emptied here is closed")
    reading.changing.update((account, destination))


def _check_source(reading: _Reading, source: bytes) -> None:
    if source != reading.sender:
        raise Refused(Reason.FOREIGN_INPUT, f"{to_text(source)} is not the sender")
    reading.signing.add(source)


def _check_roles(reading: _Reading) -> None:
    """Check that every key is named, signs and may be changed exactly where a call needs it."""
    message = reading.message
    wanted: Mapping[str, set[bytes]] = {"sign": reading.signing, "change": reading.changing}
    for place, key in enumerate(message.keys):
        if key not in reading.named:
            raise Refused(Reason.SIGNATURE_SCOPE, f"{to_text(key)} is there for nothing")
        told = {"sign": message.is_signer(place), "change": message.is_writable(place)}
        for role, is_told in told.items():
            if is_told is not (key in wanted[role]):
                raise Refused(Reason.SIGNATURE_SCOPE, f"{to_text(key)}: {role} is {is_told}")
