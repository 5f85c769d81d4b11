"""Messages that somebody tampered with, each with the reason that it is refused by.

Every edit is of an honest message that is taken apart and put together again; without the edit it
is honest (tests/unit/chains/solana/test_decode.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chains.base import UnsignedTx
from chains.solana import programs
from chains.solana.programs import token_account
from core.errors import Reason
from tests.support.solana import (
    CANCELLATION,
    DEPOSIT,
    HOT,
    MINT,
    NATIVE_PAYMENT,
    NONCE,
    OPENING_PAYMENT,
    OTHER_MINT,
    RECEIVER,
    STRANGER,
    SWEEP,
    TOKEN_PAYMENT,
    Call,
    Draft,
    draft_of,
    keypair,
    raw,
    with_key,
)

Edit = Callable[[Draft], None]


def _call(at: int, **changes: object) -> Edit:
    def edit(draft: Draft) -> None:
        draft.calls[at] = replace(draft.calls[at], **changes)  # type: ignore[arg-type]

    return edit


def _key(at: int, place: int, key: bytes) -> Edit:
    def edit(draft: Draft) -> None:
        draft.calls[at] = with_key(draft.calls[at], place, key)

    return edit


def _add(call: Call, at: int | None = None) -> Edit:
    def edit(draft: Draft) -> None:
        draft.calls.insert(len(draft.calls) if at is None else at, call)

    return edit


def _drop(at: int) -> Edit:
    def edit(draft: Draft) -> None:
        del draft.calls[at]

    return edit


def _swap(first: int, second: int) -> Edit:
    def edit(draft: Draft) -> None:
        calls = draft.calls
        calls[first], calls[second] = calls[second], calls[first]

    return edit


def _role(at: int, place: int, *, signs: bool | None = None, changes: bool | None = None) -> Edit:
    def edit(draft: Draft) -> None:
        accounts = list(draft.calls[at].accounts)
        key, was_signing, was_changing = accounts[place]
        accounts[place] = (
            key,
            was_signing if signs is None else signs,
            was_changing if changes is None else changes,
        )
        draft.calls[at] = replace(draft.calls[at], accounts=tuple(accounts))

    return edit


def _both(first: Edit, second: Edit) -> Edit:
    def edit(draft: Draft) -> None:
        first(draft)
        second(draft)

    return edit


def _named(key: bytes) -> Edit:
    def edit(draft: Draft) -> None:
        draft.named.append(key)

    return edit


def _unnamed(draft: Draft) -> None:
    draft.named.clear()


_STRANGER, _HOT = raw(STRANGER), raw(HOT)
_OWN = token_account(_HOT, raw(MINT), programs.TOKEN)
_DEPOSITED = token_account(raw(DEPOSIT), raw(MINT), programs.TOKEN)
_THEIRS = token_account(_STRANGER, raw(MINT), programs.TOKEN)
_NEVER = keypair("another program")


def _system(number: int, rest: bytes, *accounts: tuple[bytes, bool, bool]) -> Call:
    return Call(programs.SYSTEM, accounts, number.to_bytes(4, "little") + rest)


def _token(data: bytes, *accounts: tuple[bytes, bool, bool]) -> Call:
    return Call(programs.TOKEN, accounts, data)


_ONE = (1).to_bytes(8, "little")
_SIGNED = (_HOT, True, False)

TAMPERED: dict[str, tuple[UnsignedTx, Edit, Reason]] = {
    # the durable nonce
    "the nonce is not advanced first": (NATIVE_PAYMENT, _swap(0, 1), Reason.SIGNATURE_SCOPE),
    "no nonce is advanced": (NATIVE_PAYMENT, _drop(0), Reason.SIGNATURE_SCOPE),
    "money moves before the nonce": (NATIVE_PAYMENT, _swap(0, 3), Reason.SIGNATURE_SCOPE),
    "a nonce is advanced twice": (
        NATIVE_PAYMENT,
        lambda draft: draft.calls.append(draft.calls[0]),
        Reason.UNKNOWN_CALL,
    ),
    "the nonce is of another authority": (
        NATIVE_PAYMENT,
        _key(0, 2, _STRANGER),
        Reason.FOREIGN_INPUT,
    ),
    "another sysvar stands for the recent hashes": (
        NATIVE_PAYMENT,
        _key(0, 1, _STRANGER),
        Reason.UNKNOWN_CALL,
    ),
    "the nonce's coins are withdrawn instead": (
        NATIVE_PAYMENT,
        _call(0, data=(5).to_bytes(4, "little") + _ONE),
        Reason.SIGNATURE_SCOPE,
    ),
    "another may advance the nonce from now on": (
        NATIVE_PAYMENT,
        _add(_system(7, _STRANGER, (raw(NONCE), False, True), _SIGNED)),
        Reason.OWNER_CHANGE,
    ),
    "the nonce's coins are withdrawn too": (
        NATIVE_PAYMENT,
        _add(
            _system(
                5,
                _ONE,
                (raw(NONCE), False, True),
                (_STRANGER, False, True),
                (programs.RECENT_BLOCKHASHES, False, False),
                _SIGNED,
            )
        ),
        Reason.UNKNOWN_CALL,
    ),
    # what compute may cost
    "the price is above the cap": (
        NATIVE_PAYMENT,
        _call(2, data=b"\x03" + (1_001_000).to_bytes(8, "little")),
        Reason.FEE_ABOVE_CAP,
    ),
    "the price is 2^64 - 616": (
        NATIVE_PAYMENT,
        _call(2, data=b"\x03" + (2**64 - 616).to_bytes(8, "little")),
        Reason.FEE_ABOVE_CAP,
    ),
    "the price is no whole unit": (
        NATIVE_PAYMENT,
        _call(2, data=b"\x03" + (7_001).to_bytes(8, "little")),
        Reason.UNDECODABLE,
    ),
    "the limit is above what a transaction may use": (
        NATIVE_PAYMENT,
        _call(1, data=b"\x02" + (1_401_000).to_bytes(4, "little")),
        Reason.UNDECODABLE,
    ),
    "the limit is nothing": (
        NATIVE_PAYMENT,
        _call(1, data=b"\x02" + bytes(4)),
        Reason.UNDECODABLE,
    ),
    "there is no price": (NATIVE_PAYMENT, _drop(2), Reason.UNDECODABLE),
    "there are two prices": (
        NATIVE_PAYMENT,
        lambda draft: draft.calls.append(draft.calls[2]),
        Reason.UNKNOWN_CALL,
    ),
    "limit and price change places": (NATIVE_PAYMENT, _swap(1, 2), Reason.UNDECODABLE),
    "a heap is asked for": (
        NATIVE_PAYMENT,
        _add(Call(programs.COMPUTE_BUDGET, (), b"\x01" + bytes(4))),
        Reason.UNKNOWN_CALL,
    ),
    # programs and calls
    "an unknown program is called": (
        NATIVE_PAYMENT,
        _add(Call(raw(_NEVER), (_SIGNED,), b"hello")),
        Reason.UNKNOWN_CALL,
    ),
    "an account of ours becomes a program's": (
        NATIVE_PAYMENT,
        _add(_system(1, _STRANGER, (_HOT, True, True))),
        Reason.OWNER_CHANGE,
    ),
    "an account is made": (
        NATIVE_PAYMENT,
        _add(_system(0, bytes(48), (_HOT, True, True), (_STRANGER, True, True))),
        Reason.UNKNOWN_CALL,
    ),
    "a transfer has a byte more": (
        NATIVE_PAYMENT,
        lambda draft: _call(3, data=draft.calls[3].data + b"\0")(draft),
        Reason.UNKNOWN_CALL,
    ),
    "a transfer has an account more": (
        NATIVE_PAYMENT,
        lambda draft: _call(3, accounts=(*draft.calls[3].accounts, _SIGNED))(draft),
        Reason.UNKNOWN_CALL,
    ),
    "another pays the transfer": (NATIVE_PAYMENT, _key(3, 0, _STRANGER), Reason.FOREIGN_INPUT),
    "a stranger may spend the tokens": (
        TOKEN_PAYMENT,
        _add(_token(b"\x04" + _ONE, (_OWN, False, True), (_STRANGER, False, False), _SIGNED)),
        Reason.APPROVAL_CALL,
    ),
    "a stranger may spend the tokens, checked": (
        TOKEN_PAYMENT,
        _add(
            _token(
                b"\x0d" + _ONE + b"\x06",
                (_OWN, False, True),
                (raw(MINT), False, False),
                (_STRANGER, False, False),
                _SIGNED,
            )
        ),
        Reason.APPROVAL_CALL,
    ),
    "the token account gets another owner": (
        TOKEN_PAYMENT,
        _add(_token(b"\x06\x02\x01" + _STRANGER, (_OWN, False, True), _SIGNED)),
        Reason.OWNER_CHANGE,
    ),
    "a stranger may close the token account": (
        TOKEN_PAYMENT,
        _add(_token(b"\x06\x03\x01" + _STRANGER, (_OWN, False, True), _SIGNED)),
        Reason.OWNER_CHANGE,
    ),
    "tokens are burnt": (
        TOKEN_PAYMENT,
        _add(_token(b"\x08" + _ONE, (_OWN, False, True), (raw(MINT), False, True), _SIGNED)),
        Reason.UNKNOWN_CALL,
    ),
    "tokens are moved by the unchecked transfer": (
        TOKEN_PAYMENT,
        _add(_token(b"\x03" + _ONE, (_OWN, False, True), (_THEIRS, False, True), _SIGNED)),
        Reason.UNKNOWN_CALL,
    ),
    "a call without data": (TOKEN_PAYMENT, _add(_token(b"")), Reason.UNKNOWN_CALL),
    "a fee is taken on the way": (
        TOKEN_PAYMENT,
        _add(Call(programs.TOKEN_2022, (_SIGNED,), b"\x1a\x01" + bytes(17))),
        Reason.UNKNOWN_CALL,
    ),
    # whose accounts
    "the account paid to is a stranger's": (
        TOKEN_PAYMENT,
        _key(3, 2, _THEIRS),
        Reason.FORBIDDEN_DESTINATION,
    ),
    "the account paid to is of another program": (
        TOKEN_PAYMENT,
        _key(3, 2, token_account(raw(RECEIVER), raw(MINT), programs.TOKEN_2022)),
        Reason.FORBIDDEN_DESTINATION,
    ),
    "the account paid to is of another mint": (
        TOKEN_PAYMENT,
        _key(3, 2, token_account(raw(RECEIVER), raw(OTHER_MINT), programs.TOKEN)),
        Reason.FORBIDDEN_DESTINATION,
    ),
    "the account paid to is the receiver itself": (
        TOKEN_PAYMENT,
        _key(3, 2, raw(RECEIVER)),
        Reason.FORBIDDEN_DESTINATION,
    ),
    "nobody is named as the receiver": (TOKEN_PAYMENT, _unnamed, Reason.FORBIDDEN_DESTINATION),
    "tokens come from an account that is not derived": (
        TOKEN_PAYMENT,
        _key(3, 0, raw(keypair("some account"))),
        Reason.FOREIGN_INPUT,
    ),
    "another owner's tokens are moved": (
        TOKEN_PAYMENT,
        _key(3, 3, _STRANGER),
        Reason.FOREIGN_INPUT,
    ),
    "the mint is not listed": (TOKEN_PAYMENT, _key(3, 1, _STRANGER), Reason.UNKNOWN_ASSET),
    "the mint has other decimals": (
        TOKEN_PAYMENT,
        lambda draft: _call(3, data=draft.calls[3].data[:-1] + b"\x09")(draft),
        Reason.UNDECODABLE,
    ),
    "several owners sign for the tokens": (
        TOKEN_PAYMENT,
        lambda draft: _call(3, accounts=(*draft.calls[3].accounts, (_STRANGER, True, False)))(
            draft
        ),
        Reason.UNKNOWN_CALL,
    ),
    # openings
    "an account is opened at a stranger's cost": (
        OPENING_PAYMENT,
        _key(3, 0, _STRANGER),
        Reason.FOREIGN_INPUT,
    ),
    "the account opened is not its owner's": (
        OPENING_PAYMENT,
        _key(3, 2, _STRANGER),
        Reason.FORBIDDEN_DESTINATION,
    ),
    "an account is opened for nothing": (
        OPENING_PAYMENT,
        _drop(4),
        Reason.EXTRA_EFFECT,
    ),
    "an account is opened twice": (
        OPENING_PAYMENT,
        lambda draft: draft.calls.insert(4, draft.calls[3]),
        Reason.FORBIDDEN_DESTINATION,
    ),
    "an opening that fails when repeated": (
        OPENING_PAYMENT,
        _call(3, data=b"\x00"),
        Reason.UNKNOWN_CALL,
    ),
    "nested tokens are recovered": (OPENING_PAYMENT, _call(3, data=b"\x02"), Reason.UNKNOWN_CALL),
    "an account of an unknown program is opened": (
        OPENING_PAYMENT,
        _key(3, 5, _STRANGER),
        Reason.UNKNOWN_CALL,
    ),
    # closings
    "the rent goes to a stranger": (SWEEP, _key(4, 1, _STRANGER), Reason.EXTRA_EFFECT),
    "the rent goes to the receiver": (SWEEP, _key(4, 1, _HOT), Reason.EXTRA_EFFECT),
    "an account is closed that was not emptied": (
        SWEEP,
        _key(4, 0, token_account(raw(DEPOSIT), raw(OTHER_MINT), programs.TOKEN)),
        Reason.EXTRA_EFFECT,
    ),
    "an account is closed before it is emptied": (SWEEP, _swap(3, 4), Reason.EXTRA_EFFECT),
    "another owner's account is closed": (SWEEP, _key(4, 2, _STRANGER), Reason.FOREIGN_INPUT),
    "the wallet's own account is closed": (
        TOKEN_PAYMENT,
        _add(_token(b"\x09", (_OWN, False, True), (_HOT, True, True), _SIGNED)),
        Reason.EXTRA_EFFECT,
    ),
    "a closing has a byte more": (SWEEP, _call(4, data=b"\x09\x00"), Reason.UNKNOWN_CALL),
    # who signs and what may be changed
    "a stranger signs too": (NATIVE_PAYMENT, _role(3, 1, signs=True), Reason.SIGNATURE_SCOPE),
    "who is swept does not sign": (
        SWEEP,
        _both(_role(3, 3, signs=False), _role(4, 2, signs=False)),
        Reason.SIGNATURE_SCOPE,
    ),
    "the mint may be changed": (TOKEN_PAYMENT, _role(3, 1, changes=True), Reason.SIGNATURE_SCOPE),
    "the receiver may not be changed": (
        NATIVE_PAYMENT,
        _role(3, 1, changes=False),
        Reason.SIGNATURE_SCOPE,
    ),
    "the deposit key may be charged": (SWEEP, _role(3, 3, changes=True), Reason.SIGNATURE_SCOPE),
    "an account is there for nothing": (NATIVE_PAYMENT, _named(_STRANGER), Reason.SIGNATURE_SCOPE),
    "a second owner is named": (TOKEN_PAYMENT, _named(_STRANGER), Reason.SIGNATURE_SCOPE),
    "a cancellation names somebody": (CANCELLATION, _named(_STRANGER), Reason.SIGNATURE_SCOPE),
}


def tampered(case: str) -> tuple[UnsignedTx, bytes, Reason]:
    """Return the honest message, what became of it, and why that is refused."""
    unsigned, edit, reason = TAMPERED[case]
    draft = draft_of(unsigned.payload)
    edit(draft)
    return unsigned, draft.compiled(), reason
