"""Accounts as nodes tell them: of programs, tokens, durable nonces. Every field is doubted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from chains.rpc import RpcClient
from chains.solana import programs
from chains.solana.address import decode58, to_text
from core.errors import Unavailable

ACCOUNTS_AT_ONCE = 100
"""Most accounts of one question. Source: getMultipleAccounts."""
FINALIZED, CONFIRMED = "finalized", "confirmed"
MINT_BYTES, TOKEN_BYTES, MULTISIG_BYTES = 82, 165, 355
_NONCE_BYTES = 80
_INITIALIZED = 1
_NUMBER_MAX = (1 << 64) - 1
_WITHHELD = 2
_HARMLESS = frozenset({7, 8, 15})
"""Owner for ever, memo demanded, part of a mint with a hook. Source: token-2022, extensions."""


class MalformedAnswer(Unavailable):
    """A node answered something else than what it was asked for."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account: the program that owns it, its lamports and its data."""

    owner: bytes
    lamports: int
    data: bytes
    is_program: bool


@dataclass(frozen=True, slots=True)
class Nonce:
    """A durable nonce: who may advance it, and its value."""

    authority: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """An account of tokens, without what its extensions say."""

    mint: bytes
    owner: bytes
    amount: int
    is_frozen: bool
    has_delegate: bool
    has_close_authority: bool


def fields(value: object, what: str) -> dict[str, object]:
    """Return a JSON object. Unavailable: it is none."""
    if not isinstance(value, dict):
        raise MalformedAnswer(f"malformed_answer: {what} is no object")
    return cast("dict[str, object]", value)


def items(value: object, what: str, *, most: int) -> list[object]:
    """Return a JSON list of at most so many items. Unavailable: it is none, or longer."""
    if not isinstance(value, list) or len(value) > most:
        raise MalformedAnswer(f"malformed_answer: {what} is no list of up to {most}")
    return cast("list[object]", value)


def number(value: object, what: str) -> int:
    """Return an integer of 64 bits without a sign. Unavailable: it is none."""
    if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
        raise MalformedAnswer(f"malformed_answer: {what} is no number of 64 bits")
    return value


def blob(value: object, what: str) -> bytes:
    """Return the bytes of a [text, "base64"] pair. Unavailable: it is none."""
    if not isinstance(value, list) or len(value) != 2 or value[1] != "base64":
        raise MalformedAnswer(f"malformed_answer: {what} is not in base64")
    try:
        return base64.b64decode(str(value[0]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedAnswer(f"malformed_answer: {what} is not in base64") from error


def read_account(value: object, what: str) -> Account | None:
    """Return an account of an answer, None where there is none. Unavailable: malformed."""
    if value is None:
        return None
    page = fields(value, what)
    owner, is_program = decode58(page.get("owner"), 32), page.get("executable")
    if owner is None or type(is_program) is not bool:
        raise MalformedAnswer(f"malformed_answer: {what} has no owner")
    lamports = number(page.get("lamports"), what)
    return Account(owner, lamports, blob(page.get("data"), what), is_program)


def ask_accounts(
    client: RpcClient,
    addresses: Sequence[bytes],
    *,
    commitment: str = FINALIZED,
    least_slot: int = 0,
) -> tuple[int, list[Account | None]]:
    """Ask one node for accounts; return the slot of its answer too.

    Unavailable: malformed, or the node has not come to least_slot.
    """
    if len(addresses) > ACCOUNTS_AT_ONCE:
        raise ValueError(f"at most {ACCOUNTS_AT_ONCE} accounts at once")
    options = {"encoding": "base64", "commitment": commitment}
    answer = client.read("getMultipleAccounts", [to_text(one) for one in addresses], options)
    page = fields(answer, "accounts")
    slot = number(fields(page.get("context"), "context").get("slot"), "slot")
    if slot < least_slot:
        raise Unavailable(f"node_behind: at slot {slot}, asked for {least_slot}")
    found = items(page.get("value"), "accounts", most=len(addresses))
    if len(found) != len(addresses):
        raise MalformedAnswer("malformed_answer: another number of accounts")
    pairs = zip(found, addresses, strict=True)
    return slot, [read_account(each, f"account {to_text(raw)}") for each, raw in pairs]


def nonce_of(account: Account | None) -> Nonce | None:
    """Return the durable nonce that an account holds, None where it holds none.

    Source: solana nonce account: version u32, state u32, authority, value, fee u64.
    """
    if account is None or account.owner != programs.SYSTEM or len(account.data) != _NONCE_BYTES:
        return None
    version, state = (int.from_bytes(account.data[at : at + 4], "little") for at in (0, 4))
    if version != 1 or state != _INITIALIZED:
        return None  # an old version's value is no durable one
    return Nonce(account.data[8:40], account.data[40:72])


def token_of(account: Account | None) -> TokenAccount | None:
    """Return the token account that an account is, None where it is none.

    Source: spl-token state; token-2022 puts its extensions behind the same 165 bytes.
    """
    if account is None or account.owner not in programs.TOKEN_PROGRAMS:
        return None
    data = account.data
    is_plain = len(data) == TOKEN_BYTES
    is_extended = len(data) > TOKEN_BYTES and len(data) != MULTISIG_BYTES and data[165] == 2
    if not is_plain and not (is_extended and account.owner == programs.TOKEN_2022):
        return None
    state = data[108]
    if not state:
        return None
    return TokenAccount(
        mint=data[:32],
        owner=data[32:64],
        amount=int.from_bytes(data[64:72], "little"),
        is_frozen=state == 2,
        has_delegate=data[72:76] != bytes(4),
        has_close_authority=data[129:133] != bytes(4),
    )


def extensions_of(account: Account) -> list[tuple[int, bytes]]:
    """Return what stands behind a token account or a mint, by kind. Source: token-2022 (TLV)."""
    found, at, data = [], TOKEN_BYTES + 1, account.data
    while at + 4 <= len(data):
        kind, size = (int.from_bytes(data[at + step : at + step + 2], "little") for step in (0, 2))
        if kind == 0:
            break
        found.append((kind, data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


def may_close(account: Account) -> bool:
    """Tell whether the owner of an emptied token account can close it.

    Not where another may, nor where fees are withheld in it or an extension is not known here.
    """
    held = token_of(account)
    if held is None or held.is_frozen or held.has_close_authority:
        return False
    return all(
        kind in _HARMLESS or (kind == _WITHHELD and not any(data))
        for kind, data in extensions_of(account)
    )


def is_mint(account: Account | None) -> bool:
    """Tell whether an account is the mint of a token."""
    if account is None or account.owner not in programs.TOKEN_PROGRAMS:
        return False
    data = account.data
    if len(data) == MINT_BYTES:
        return True
    return account.owner == programs.TOKEN_2022 and len(data) > TOKEN_BYTES and data[165] == 1
