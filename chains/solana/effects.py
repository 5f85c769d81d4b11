"""What one transaction did: balances before and after, and every call with its path. Pure.

An answer that does not fit the transaction (another number of balances, a call outside its keys)
is Unavailable. All calls of a transaction that succeeded count, inner ones too: one that fails
takes the whole transaction with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chains.solana import programs
from chains.solana.accounts import MalformedAnswer, fields, items, number
from chains.solana.address import ALPHABET, decode58
from chains.solana.blocks import Entry, IncompleteBlock
from chains.solana.wire import Call

CALLS_MAX = 1_024
DATA_TEXT_MAX = 400
"""Longest base58 of inner data that is read: no transfer is longer, and reading is quadratic."""
_VALUES = {char: value for value, char in enumerate(ALPHABET)}
_SYSTEM_PLACES = {0: (0, 1), 2: (0, 1), 5: (0, 1), 11: (0, 2)}
"""Source and destination of the system program's createAccount, transfer, withdrawNonceAccount and
transferWithSeed; their lamports follow the number of the instruction."""
_CREATE_WITH_SEED = 3
_TOKEN_PLACES = {3: (0, 1), 12: (0, 2), 7: (None, 1), 14: (None, 1), 8: (0, None), 15: (0, None)}
"""Source and destination account of transfer, transferChecked, mintTo, mintToChecked, burn and
burnChecked; their amounts follow the number of the instruction."""
_TRANSFER_WITH_FEE = bytes((26, 1))


@dataclass(frozen=True, slots=True)
class Move:
    """Money that a call says it moved, between places among the keys."""

    path: str
    source: int | None
    destination: int | None
    amount: int


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """What a token account held."""

    mint: str
    owner: str
    program: bytes | None
    amount: int


@dataclass(frozen=True, slots=True)
class Effects:
    """One transaction that succeeded, checked."""

    keys: tuple[bytes, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    tokens_before: Mapping[int, TokenBalance]
    tokens_after: Mapping[int, TokenBalance]
    native: tuple[Move, ...]
    tokens: tuple[Move, ...]


def all_keys(entry: Entry) -> tuple[bytes, ...]:
    """Return the keys of a transaction, those of lookup tables behind its own."""
    loaded = [decode58(text, 32) for text in entry.loaded]
    if None in loaded:
        raise MalformedAnswer("malformed_answer: a key of a lookup table")
    return entry.wire.keys + tuple(key for key in loaded if key is not None)


def native_balances(entry: Entry, keys: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return lamports before and after, in the order of the keys."""
    found = []
    for name in ("preBalances", "postBalances"):
        balances = items(entry.meta.get(name), name, most=keys)
        if len(balances) != keys:
            raise IncompleteBlock(f"{len(balances)} {name} of {keys} keys")
        found.append(tuple(number(each, name) for each in balances))
    return found[0], found[1]


def token_balances(entry: Entry, name: str, keys: int) -> Mapping[int, TokenBalance]:
    """Return token accounts by place; those that were not there yet, or are gone, are missing."""
    found: dict[int, TokenBalance] = {}
    for each in items(entry.meta.get(name), name, most=keys):
        page = fields(each, "token balance")
        place = number(page.get("accountIndex"), "accountIndex")
        mint, owner = page.get("mint"), page.get("owner")
        text = fields(page.get("uiTokenAmount"), "uiTokenAmount").get("amount")
        if place >= keys or place in found:
            raise IncompleteBlock(f"a token balance of place {place} of {keys}")
        if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 20):
            raise MalformedAnswer("malformed_answer: an amount of tokens")
        if not isinstance(mint, str) or not isinstance(owner, str):
            raise MalformedAnswer("malformed_answer: a token balance without owner")
        found[place] = TokenBalance(mint, owner, decode58(page.get("programId"), 32), int(text))
    return found


def read_effects(entry: Entry) -> Effects:
    """Read what a transaction did. Unavailable: the answer does not fit it."""
    keys = all_keys(entry)
    before, after = native_balances(entry, len(keys))
    native, tokens = [], []
    for path, call in _calls(entry, len(keys)):
        program = keys[call.program]
        if program == programs.SYSTEM:
            native += _native_move(path, call)
        elif program in programs.TOKEN_PROGRAMS:
            tokens += _token_move(path, call)
    return Effects(
        keys=keys,
        before=before,
        after=after,
        tokens_before=token_balances(entry, "preTokenBalances", len(keys)),
        tokens_after=token_balances(entry, "postTokenBalances", len(keys)),
        native=tuple(native),
        tokens=tuple(tokens),
    )


def _calls(entry: Entry, keys: int) -> Iterator[tuple[str, Call]]:
    """Yield every call with its path: `3` for the fourth of a transaction, `3.1` inside it."""
    inner = _inner(entry, keys)
    for place, call in enumerate(entry.wire.calls):
        yield str(place), call
        for number_inside, called in enumerate(inner.get(place, ())):
            yield f"{place}.{number_inside}", called


def _inner(entry: Entry, keys: int) -> Mapping[int, tuple[Call, ...]]:
    found: dict[int, tuple[Call, ...]] = {}
    groups = items(entry.meta.get("innerInstructions"), "innerInstructions", most=CALLS_MAX)
    for group in groups:
        page = fields(group, "innerInstructions")
        place = number(page.get("index"), "index")
        if place in found or place >= len(entry.wire.calls):
            raise IncompleteBlock(f"inner calls of a call {place}")
        calls = items(page.get("instructions"), "instructions", most=CALLS_MAX)
        found[place] = tuple(_inner_call(each, keys) for each in calls)
    return found


def _inner_call(value: object, keys: int) -> Call:
    page = fields(value, "instruction")
    program = number(page.get("programIdIndex"), "programIdIndex")
    accounts = [
        number(each, "account") for each in items(page.get("accounts"), "accounts", most=256)
    ]
    if program >= keys or any(place >= min(keys, 256) for place in accounts):
        raise IncompleteBlock("an inner call names a key that is not there")
    return Call(program, bytes(accounts), _data(page.get("data")))


def _data(text: object) -> bytes:
    """Return the bytes of base58; none of what is too long to be a transfer."""
    if not isinstance(text, str):
        raise MalformedAnswer("malformed_answer: the data of a call")
    if len(text) > DATA_TEXT_MAX:
        return b""
    value = 0
    for char in text:
        digit = _VALUES.get(char)
        if digit is None:
            raise MalformedAnswer("malformed_answer: the data of a call")
        value = value * 58 + digit
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _native_move(path: str, call: Call) -> list[Move]:
    tag, at = int.from_bytes(call.data[:4], "little"), 4
    places = _SYSTEM_PLACES.get(tag)
    if tag == _CREATE_WITH_SEED:
        # base, then the length of the seed and the seed.
        places, at = (0, 1), 44 + int.from_bytes(call.data[36:44], "little")
    if places is None or len(call.data) < at + 8 or max(places) >= len(call.accounts):
        return []
    amount = int.from_bytes(call.data[at : at + 8], "little")
    source, destination = (call.accounts[place] for place in places)
    return [Move(path, source, destination, amount)] if amount and source != destination else []


def _token_move(path: str, call: Call) -> list[Move]:
    data, places, at = call.data, _TOKEN_PLACES.get(call.data[0]) if call.data else None, 1
    if data[:2] == _TRANSFER_WITH_FEE:
        places, at = (0, 2), 2
    if places is None or len(data) < at + 8:
        return []
    if any(place is not None and place >= len(call.accounts) for place in places):
        return []
    source, destination = (None if place is None else call.accounts[place] for place in places)
    amount = int.from_bytes(data[at : at + 8], "little")
    return [Move(path, source, destination, amount)] if amount and source != destination else []
