"""Balances in trade: available, locked by open orders, held for withdrawals. Never negative."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Corrupt
from engine.base import Balance, Totals
from engine.market import FillAmounts


@dataclass(slots=True)
class Account:
    """One customer's minor units of one asset."""

    available: int = 0
    locked: int = 0
    held: int = 0


@dataclass(slots=True)
class AssetTotal:
    """What entered and did not leave, and the part of it collected as fees."""

    supply: int = 0
    fees: int = 0


class Balances:
    """Every movement of money in the engine. Callers check first; a negative here is Corrupt."""

    def __init__(self) -> None:
        self.assets: dict[int, AssetTotal] = {}
        self._accounts: dict[int, dict[int, Account]] = {}

    def account(self, customer_no: int, asset_no: int) -> Account:
        """Return the account, made empty when it is new."""
        of_customer = self._accounts.setdefault(customer_no, {})
        account = of_customer.get(asset_no)
        if account is None:
            account = of_customer[asset_no] = Account()
        return account

    def available(self, customer_no: int, asset_no: int) -> int:
        """Return what may be locked, held or taken."""
        account = self._accounts.get(customer_no, {}).get(asset_no)
        return account.available if account else 0

    def enter(self, customer_no: int, asset_no: int, amount: int) -> None:
        """Bring money into the engine."""
        self.assets[asset_no].supply += amount
        self.account(customer_no, asset_no).available += amount

    def leave(self, customer_no: int, asset_no: int, amount: int, *, of_held: bool) -> None:
        """Take money out of the engine, from held or from available."""
        account = self.account(customer_no, asset_no)
        if of_held:
            account.held = _less(account.held, amount, "held")
        else:
            account.available = _less(account.available, amount, "available")
        total = self.assets[asset_no]
        total.supply = _less(total.supply, amount, "supply")

    def lock(self, customer_no: int, asset_no: int, amount: int) -> None:
        """Move available to locked; a negative amount moves back."""
        account = self.account(customer_no, asset_no)
        account.available = _less(account.available, amount, "available")
        account.locked = _less(account.locked, -amount, "locked")

    def hold(self, customer_no: int, asset_no: int, amount: int) -> None:
        """Move available to held; a negative amount moves back."""
        account = self.account(customer_no, asset_no)
        account.available = _less(account.available, amount, "available")
        account.held = _less(account.held, -amount, "held")

    def settle(self, fill: FillAmounts, *, buyer_lock_minor: int) -> None:
        """Move both legs of a fill out of the locks, and the fees to the house.

        buyer_lock_minor is what these lots locked at the buyer's limit; what the price paid saves
        of it goes back to available.
        """
        paying = self.account(fill.buyer_customer_no, fill.quote_asset_no)
        paying.locked = _less(paying.locked, buyer_lock_minor, "locked")
        paying.available += _less(buyer_lock_minor, fill.quote_minor, "price improvement")
        giving = self.account(fill.seller_customer_no, fill.base_asset_no)
        giving.locked = _less(giving.locked, fill.base_minor, "locked")
        bought = self.account(fill.buyer_customer_no, fill.base_asset_no)
        bought.available += _less(fill.base_minor, fill.buyer_fee_base, "bought")
        earned = self.account(fill.seller_customer_no, fill.quote_asset_no)
        earned.available += _less(fill.quote_minor, fill.seller_fee_quote, "earned")
        self.assets[fill.base_asset_no].fees += fill.buyer_fee_base
        self.assets[fill.quote_asset_no].fees += fill.seller_fee_quote

    def of_customer(self, customer_no: int) -> dict[int, Balance]:
        """Return the balances that are not all zero, by ascending asset number."""
        found = sorted(self._accounts.get(customer_no, {}).items())
        views = ((asset, Balance(a.available, a.locked, a.held)) for asset, a in found)
        return {asset: view for asset, view in views if any(view)}

    def rows(self) -> Iterator[tuple[int, int, Balance]]:
        """Yield (customer, asset, balance) ascending, zeros left out."""
        for customer_no in sorted(self._accounts):
            for asset_no, view in self.of_customer(customer_no).items():
                yield customer_no, asset_no, view

    def totals(self, asset_no: int) -> Totals:
        """Return the sums of one asset, added up from the accounts and not from a running total."""
        total = self.assets[asset_no]
        accounts = [of[asset_no] for of in self._accounts.values() if asset_no in of]
        return Totals(
            available=sum(account.available for account in accounts),
            locked=sum(account.locked for account in accounts),
            held=sum(account.held for account in accounts),
            fees=total.fees,
            supply=total.supply,
        )


def _less(value: int, amount: int, what: str) -> int:
    rest = value - amount
    if rest < 0:
        raise Corrupt(f"{what} would become negative: {value} - {amount}")
    return rest
