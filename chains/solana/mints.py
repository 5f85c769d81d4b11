"""What the issuer of a token can do beyond the ordinary: extensions of a Token-2022 mint. Pure.

Source: token-2022, extension types: from byte 166 on, a type and a length of two bytes each, then
the data.
"""

from __future__ import annotations

from chains.solana.accounts import TOKEN_BYTES, Account

_FIRST = TOKEN_BYTES + 1
_NON_TRANSFERABLE, _PERMANENT_DELEGATE, _TRANSFER_HOOK = 9, 12, 14


def has_power_over_holders(mint: Account) -> bool:
    """Tell whether an issuer may move what others hold, or decides at every transfer anew.

    Fees and freezing are not meant: they show in what is delivered and in the account.
    """
    data, at = mint.data, _FIRST
    while at + 4 <= len(data):
        kind = int.from_bytes(data[at : at + 2], "little")
        size = int.from_bytes(data[at + 2 : at + 4], "little")
        body = data[at + 4 : at + 4 + size]
        at += 4 + size
        if kind == _NON_TRANSFERABLE:
            return True
        if kind == _PERMANENT_DELEGATE and any(body):
            return True
        if kind == _TRANSFER_HOOK and any(body[32:64]):
            return True
    return False
