"""Short words for the ledger's tests: events with few arguments, and balances to look at."""

from __future__ import annotations

from custody.db import Database
from custody.ledger import templates
from custody.ledger.balances import balance_of
from custody.ledger.chart import AccountKind, customer_owner
from custody.ledger.records import Chain, Transfer
from custody.ledger.transfers import PostResult, post

ETH, USD = 0, 1
ANN, BOB = 1, 2
AT_NS = 1_700_000_000_000_000_000


def deposit(sequence: int, customer_no: int, asset_no: int, amount: int) -> list[Transfer]:
    return templates.deposit_credited(
        sequence=sequence, n=0, customer_no=customer_no, asset_no=asset_no, amount=amount,
        wallet="deposits", deposit_id=f"dep_{sequence}",
    )  # fmt: skip


def reversal(
    sequence: int, customer_no: int, asset_no: int, *, taken: int, shortfall: int
) -> list[Transfer]:
    return templates.deposit_reversed(
        sequence=sequence, n=0, customer_no=customer_no, asset_no=asset_no, taken=taken,
        shortfall=shortfall, wallet="deposits", deposit_id=f"dep_{sequence}",
    )  # fmt: skip


def fill(
    sequence: int, *, base: int, quote: int, base_fee: int = 0, quote_fee: int = 0, n: int = 0
) -> list[Transfer]:
    """Ann buys ETH from Bob for USD."""
    return templates.trade_fill(
        sequence=sequence, n=n, base_asset_no=ETH, quote_asset_no=USD, buyer_no=ANN, seller_no=BOB,
        base_minor=base, quote_minor=quote, buyer_fee_base=base_fee, seller_fee_quote=quote_fee,
    )  # fmt: skip


def hold(sequence: int, customer_no: int, asset_no: int, amount: int) -> list[Transfer]:
    return templates.withdrawal_held(
        sequence=sequence, n=0, customer_no=customer_no, asset_no=asset_no, amount=amount,
        withdrawal_id=f"wd_{sequence}",
    )  # fmt: skip


def release(sequence: int, customer_no: int, asset_no: int, amount: int) -> list[Transfer]:
    return templates.withdrawal_released(
        sequence=sequence, n=0, customer_no=customer_no, asset_no=asset_no, amount=amount,
        withdrawal_id=f"wd_{sequence}",
    )  # fmt: skip


def capture(
    sequence: int, customer_no: int, asset_no: int, *, amount: int, fee: int
) -> list[Transfer]:
    return templates.withdrawal_captured(
        sequence=sequence, n=0, customer_no=customer_no, asset_no=asset_no, amount=amount, fee=fee,
        wallet="hot", withdrawal_id=f"wd_{sequence}",
    )  # fmt: skip


def sweep(amount: int, *, spend_id: str) -> list[Transfer]:
    """ETH from the deposit addresses to the hot wallet."""
    return templates.own_transfer(
        asset_no=ETH, amount=amount, from_wallet="deposits",
        from_kind=AccountKind.DEPOSIT_ADDRESSES, to_wallet="hot", to_kind=AccountKind.HOT,
        spend_id=spend_id,
    )  # fmt: skip


def book(db: Database, batch: list[Transfer]) -> PostResult:
    """Post in a transaction of its own; treasury transfers are dated AT_NS."""
    at_ns = AT_NS if batch and batch[0].chain is Chain.TREASURY else None
    return db.run(lambda conn: post(conn, batch, at_ns=at_ns))


def of_customer(
    db: Database, customer_no: int, asset_no: int, kind: AccountKind = AccountKind.BALANCE
) -> int:
    with db.read() as conn:
        return balance_of(conn, kind, customer_owner(customer_no), asset_no)


def of_house(db: Database, kind: AccountKind, owner: str, asset_no: int) -> int:
    with db.read() as conn:
        return balance_of(conn, kind, owner, asset_no)
