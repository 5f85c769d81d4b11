"""Own wallets in the books: which kind of ledger account each wallet's money stands on."""

from __future__ import annotations

import sqlalchemy as sa

from core.ids import AssetNo
from custody.keys.signers.base import wallet_of
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from custody.wallets.addresses import DEPOSITS

HOT, GAS, WARM, COLD = "hot", "gas", "warm", "cold"
OWN_WALLETS = (HOT, GAS)
"""Wallets that every chain has from its first day."""

_KINDS = {
    DEPOSITS: AccountKind.DEPOSIT_ADDRESSES,
    HOT: AccountKind.HOT,
    GAS: AccountKind.HOT,
    WARM: AccountKind.WARM,
    COLD: AccountKind.COLD,
}


def kind_of(wallet: str) -> AccountKind:
    """Return the kind of ledger account on which a wallet's money stands.

    Wallets of several owners (`treasury`, …) are warm: people sign for them, none of them alone.
    """
    return _KINDS.get(wallet_of(wallet), AccountKind.WARM)


def custody_balances(conn: sa.Connection) -> dict[tuple[str, AssetNo], int]:
    """Return what the books say each wallet holds, by (wallet, asset number), in minor units."""
    kinds = frozenset(_KINDS.values())
    return {
        (account.key.owner, AssetNo(account.key.asset_no)): account.balance
        for account in balances.all_accounts(conn)
        if account.key.kind in kinds
    }
