"""A transaction as nodes tell it once it is finalized: what it cost, what it moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chains.rpc import RpcClient, required
from chains.solana import programs
from chains.solana.accounts import FINALIZED, MalformedAnswer, blob, fields, items, number
from chains.solana.address import decode58
from chains.solana.decode import CREATE_IDEMPOTENT, TOKEN_TRANSFER_CHECKED, TRANSFER
from chains.solana.message import Instruction, Message, read_message, split_transaction
from core.errors import Refused

KEYS_MAX = 256
BALANCES_MAX = 512


@dataclass(frozen=True, slots=True)
class Found:
    """A finalized transaction. Balances stand in the order of its keys."""

    slot: int
    message: bytes
    succeeded: bool
    before: tuple[int, ...]
    after: tuple[int, ...]
    tokens_before: Mapping[int, int]
    tokens_after: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Included:
    """Where a transaction of ours stands and what it did."""

    slot: int
    block_hash: str
    succeeded: bool
    fee: int
    amounts: tuple[int, ...]
    """What each of its transfers moved, in their order; nothing where it failed."""


def ask_transaction(client: RpcClient, tx_id: str) -> Found | None:
    """Ask one node for a finalized transaction, None when it has none. Unavailable: malformed."""
    options = {"encoding": "base64", "commitment": FINALIZED, "maxSupportedTransactionVersion": 0}
    answer = client.ask("getTransaction", tx_id, options)
    if answer is None:
        return None
    page = fields(required(answer, "getTransaction"), "transaction")
    signatures, message = _split(blob(page.get("transaction"), "transaction"))
    if signatures[0] != decode58(tx_id, 64):
        raise MalformedAnswer("malformed_answer: another transaction")
    meta = fields(page.get("meta"), "meta")
    return Found(
        slot=number(page.get("slot"), "slot"),
        message=message,
        succeeded=meta.get("err") is None,
        before=_numbers(meta.get("preBalances")),
        after=_numbers(meta.get("postBalances")),
        tokens_before=_tokens(meta.get("preTokenBalances")),
        tokens_after=_tokens(meta.get("postTokenBalances")),
    )


def ask_included(client: RpcClient, tx_id: str) -> Included | bool:
    """Ask one node where a transaction stands; not finalized: whether it has heard of it.

    Unavailable: malformed, or the node contradicts itself.
    """
    answer = client.read("getSignatureStatuses", [tx_id], {"searchTransactionHistory": True})
    (status,) = items(fields(answer, "statuses").get("value"), "statuses", most=1) or [None]
    if status is None:
        return False
    if fields(status, "status").get("confirmationStatus") != FINALIZED:
        return True
    found = ask_transaction(client, tx_id)
    if found is None:
        return True
    fee, amounts = costs_of(found)
    return Included(found.slot, ask_block_hash(client, found.slot), found.succeeded, fee, amounts)


def ask_block_hash(client: RpcClient, slot: int) -> str:
    """Return the hash of a finalized slot's block. Unavailable: the node does not say."""
    options = {
        "transactionDetails": "none",
        "rewards": False,
        "commitment": FINALIZED,
        "maxSupportedTransactionVersion": 0,
    }
    block_hash = fields(client.read("getBlock", slot, options), "block").get("blockhash")
    if not isinstance(block_hash, str):
        raise MalformedAnswer("malformed_answer: a block without a hash")
    return block_hash


def costs_of(found: Found) -> tuple[int, tuple[int, ...]]:
    """Return what a transaction cost and what each of its transfers moved.

    Fees are what left all accounts together: nodes exist that leave a part of it out. Rent of an
    account that it opened is part of the cost.
    """
    fee = sum(found.before) - sum(found.after)
    try:
        message = read_message(found.message)
    except Refused:
        message = None
    if fee < 0 or (message is not None and len(message.keys) != len(found.before)):
        raise MalformedAnswer("malformed_answer: balances of a transaction")
    if message is None or not found.succeeded:
        return fee, ()
    opened = {
        call.accounts[1]
        for call in _calls(message, programs.ASSOCIATED)
        if call.data == CREATE_IDEMPOTENT and len(call.accounts) > 1
    }
    rent = sum(max(0, found.after[place] - found.before[place]) for place in opened)
    return fee + rent, _moved(message, found, fee)


def _moved(message: Message, found: Found, fee: int) -> tuple[int, ...]:
    """Return what each transfer of one kind moved.

    What a receiver got is shared out to the transfers to it, in their order: a token may keep a
    part on the way.
    """
    native = [
        (call.accounts[1], int.from_bytes(call.data[4:12], "little"))
        for call in _calls(message, programs.SYSTEM)
        if call.data[:4] == TRANSFER and len(call.accounts) > 1
    ]
    tokens = [
        (call.accounts[2], int.from_bytes(call.data[1:9], "little"))
        for program in programs.TOKEN_PROGRAMS
        for call in _calls(message, program)
        if call.data[:1] == bytes((TOKEN_TRANSFER_CHECKED,)) and len(call.accounts) > 2
    ]
    gained: dict[int, int] = {}
    for place, _ in native:
        own_fee = 0 if place else fee  # the first key pays it
        gained[place] = found.after[place] - found.before[place] + own_fee
    for place, _ in () if native else tokens:
        gained[place] = found.tokens_after.get(place, 0) - found.tokens_before.get(place, 0)
    shares = []
    for place, claimed in native or tokens:
        share = max(0, min(claimed, gained[place]))
        gained[place] -= share
        shares.append(share)
    return tuple(shares)


def _calls(message: Message, program: bytes) -> list[Instruction]:
    return [call for call in message.instructions if message.keys[call.program] == program]


def _split(raw: bytes) -> tuple[tuple[bytes, ...], bytes]:
    try:
        return split_transaction(raw)
    except Refused as refused:
        raise MalformedAnswer(f"malformed_answer: {refused.detail}") from refused


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(number(each, "balance") for each in items(value, "balances", most=KEYS_MAX))


def _tokens(value: object) -> Mapping[int, int]:
    """Return the token amounts by place of the account; bounded, each place once."""
    held: dict[int, int] = {}
    for each in items([] if value is None else value, "token balances", most=BALANCES_MAX):
        page = fields(each, "token balance")
        place = number(page.get("accountIndex"), "place")
        text = fields(page.get("uiTokenAmount"), "amount").get("amount")
        if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 20:
            raise MalformedAnswer("malformed_answer: an amount of tokens")
        if place in held:
            raise MalformedAnswer("malformed_answer: an account stands twice")
        held[place] = int(text)
    return held
