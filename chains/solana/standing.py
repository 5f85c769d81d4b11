"""What stands at an address, and whether a payment to it could be spent by anybody again."""

from __future__ import annotations

from collections.abc import Collection

from chains.base import NATIVE, Standing
from chains.rpc import RpcClient
from chains.solana import programs
from chains.solana.accounts import CONFIRMED, Account, ask_accounts, extensions_of, token_of
from chains.solana.address import is_on_curve, raw_address, to_text
from core.errors import Reason, Refused

MEMO_REQUIRED, NOT_TRANSFERABLE = 8, 13
"""Extensions of token accounts that refuse a plain transfer. Source: token-2022."""


def check_destination(raw: bytes, mints: Collection[str]) -> None:
    """Refuse an address that nobody has the key of. Refused: forbidden_destination."""
    if raw in programs.KNOWN or to_text(raw) in mints:
        raise Refused(Reason.FORBIDDEN_DESTINATION, f"{to_text(raw)} is a program or a mint")
    if not is_on_curve(raw):
        raise Refused(Reason.FORBIDDEN_DESTINATION, f"{to_text(raw)} belongs to a program")


def ask_standing(client: RpcClient, address: str, *, asset_key: str) -> Standing:
    """Ask one node what stands at an address. Refused: invalid_address."""
    raw = raw_address(address)
    if asset_key == NATIVE:
        _, (account,) = ask_accounts(client, [raw], commitment=CONFIRMED)
        return standing_of(account)
    mint = raw_address(asset_key)
    accounts = [programs.token_account(raw, mint, one) for one in programs.TOKEN_PROGRAMS]
    _, (owner, *held) = ask_accounts(client, [raw, *accounts], commitment=CONFIRMED)
    standing = standing_of(owner)
    if any(_refuses(account, raw) for account in held if account is not None):
        return Standing.REFUSES
    return standing


def standing_of(account: Account | None) -> Standing:
    """Judge an account as a receiver of coins, or as the owner of a token account.

    Only what the system program owns, without data, gives back what is paid to it; programs,
    mints, accounts of tokens and durable nonces keep it.
    """
    if account is None:
        return Standing.ACCOUNT
    is_plain = account.owner == programs.SYSTEM and not account.data and not account.is_program
    return Standing.ACCOUNT if is_plain else Standing.REFUSES


def _refuses(account: Account, owner: bytes) -> bool:
    """Tell whether a derived token account takes no transfer, or is no longer its owner's."""
    held = token_of(account)
    if held is None:
        return account.owner != programs.SYSTEM  # lamports alone do not stop its opening
    if held.is_frozen or held.owner != owner:
        return True
    return any(
        kind == NOT_TRANSFERABLE or (kind == MEMO_REQUIRED and any(data))
        for kind, data in extensions_of(account)
    )
