"""Balances after one finalized slot: what a node says now, undone by what happened since.

A node answers about its newest finalized slot only. Whatever touched an account after the slot that
is asked for says what it held before: the first such transaction tells the balance.
"""

from __future__ import annotations

from collections.abc import Sequence

from chains.solana.accounts import Account, ask_accounts, token_of
from chains.solana.blocks import Contents
from chains.solana.effects import all_keys, native_balances, token_balances
from chains.solana.node import SolanaNode
from core.errors import Unavailable

WALK_MAX = 256
"""Slots that are undone at most: a balance further back is not told."""


def balances_after(
    node: SolanaNode, accounts: Sequence[bytes], slot: int, *, is_native: bool
) -> tuple[int, ...]:
    """Return what accounts held after a slot: lamports, or tokens.

    Unavailable: the node is behind, the slot is too old, a block since then is missing.
    """
    now, found = ask_accounts(node.client, accounts, least_slot=slot)
    if now - slot > WALK_MAX:
        raise Unavailable(f"balance_unreadable: slot {slot} is {now - slot} slots old")
    held = [_held(one, is_native=is_native) for one in found]
    open_places = {account: place for place, account in enumerate(accounts)}
    for since in range(slot + 1, now + 1):
        header = node.header_at(since)
        if header is None:
            raise Unavailable(f"node_null: slot {since}")
        if header.is_skipped:
            continue
        for account, before in _first_touches(node.contents(header), open_places, is_native):
            held[open_places.pop(account)] = before
        if not open_places:
            break
    return tuple(held)


def _held(account: Account | None, *, is_native: bool) -> int:
    if account is None:
        return 0
    if is_native:
        return account.lamports
    token = token_of(account)
    return 0 if token is None else token.amount


def _first_touches(
    contents: Contents, accounts: dict[bytes, int], is_native: bool
) -> list[tuple[bytes, int]]:
    """Return what accounts held before the first transaction of a block that names them."""
    found: dict[bytes, int] = {}
    for entry in contents.entries:
        keys = all_keys(entry)
        touched = [place for place, key in enumerate(keys) if key in accounts and key not in found]
        if not touched:
            continue
        if is_native:
            before, _ = native_balances(entry, len(keys))
            found.update((keys[place], before[place]) for place in touched)
            continue
        tokens = token_balances(entry, "preTokenBalances", len(keys))
        for place in touched:
            found[keys[place]] = tokens[place].amount if place in tokens else 0
    return list(found.items())
