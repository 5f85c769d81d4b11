"""What every event of the house means in the books: pure functions from the event to its transfers.

    projected (caused by the journal; ids from sequence, n and part; no time)
        deposit_credited      deposit_addresses -> balance
        deposit_reversed      balance -> deposit_addresses; receivable -> deposit_addresses
        trade_fill            buyer quote -> seller quote; seller base -> buyer base; then
                              each receiver -> fee_income
        withdrawal_held       balance -> withdrawing, the fee included
        withdrawal_captured   withdrawing -> in_transit; withdrawing -> fee_income
        withdrawal_received   in_transit -> balance, of a customer who was paid inside
        withdrawal_released   withdrawing -> balance
    treasury (caused by a spend, a payment or an officer; ids derived from the cause)
        withdrawal_broadcast  in_transit -> hot
        withdrawal_returned   hot -> in_transit, when the payment provably never left
        network_fee           network_fees -> the paying wallet
        own_transfer          wallet -> wallet; a sweep is hot (or cold) -> deposit_addresses
        lost_on_the_way       loss -> wallet, what a token kept of an own transfer
        operator_funding      hot -> suspense
        suspense_to_equity    suspense -> equity
        operator_funding_reversed  suspense or equity -> hot

"a -> b" debits a and credits b. Parts whose amount is zero are left out; the others keep their ids.
"""

from __future__ import annotations

from core.ids import AssetNo, CustomerNo, TransferId, transfer_id
from custody.ledger.chart import PLATFORM, AccountKey, AccountKind, customer_account
from custody.ledger.records import Chain, Transfer

_K = AccountKind
_PROJECTED_PREFIX = b"seq"
WALLET_KINDS = frozenset({_K.DEPOSIT_ADDRESSES, _K.HOT, _K.WARM, _K.COLD})


def projected_id(sequence: int, n: int, part: int) -> TransferId:
    """Return the id of a part of the n-th event of a sequence; ids sort like the journal."""
    return TransferId(
        _PROJECTED_PREFIX
        + sequence.to_bytes(8, "big")
        + n.to_bytes(4, "big")
        + part.to_bytes(1, "big")
    )


def deposit_credited(
    *,
    sequence: int,
    n: int,
    customer_no: CustomerNo | int,
    asset_no: AssetNo | int,
    amount: int,
    wallet: str,
    deposit_id: str,
) -> list[Transfer]:
    """Book a final deposit that the engine has credited. wallet holds the deposit addresses."""
    debit = AccountKey(_K.DEPOSIT_ADDRESSES, wallet, int(asset_no))
    credit = customer_account(_K.BALANCE, customer_no, int(asset_no))
    return _projected(sequence, n, "deposit", deposit_id, [(debit, credit, amount)])


def deposit_reversed(
    *,
    sequence: int,
    n: int,
    customer_no: CustomerNo | int,
    asset_no: AssetNo | int,
    taken: int,
    shortfall: int,
    wallet: str,
    deposit_id: str,
) -> list[Transfer]:
    """Take back a credited deposit that left the chain; what was spent becomes a receivable."""
    addresses = AccountKey(_K.DEPOSIT_ADDRESSES, wallet, int(asset_no))
    balance = customer_account(_K.BALANCE, customer_no, int(asset_no))
    receivable = customer_account(_K.RECEIVABLE, customer_no, int(asset_no))
    parts = [(balance, addresses, taken), (receivable, addresses, shortfall)]
    return _projected(sequence, n, "reversal", deposit_id, parts)


def trade_fill(
    *,
    sequence: int,
    n: int,
    base_asset_no: AssetNo | int,
    quote_asset_no: AssetNo | int,
    buyer_no: CustomerNo | int,
    seller_no: CustomerNo | int,
    base_minor: int,
    quote_minor: int,
    buyer_fee_base: int,
    seller_fee_quote: int,
) -> list[Transfer]:
    """Book one fill: each side gets the other's asset, then pays its fee in the asset received."""
    base, quote = int(base_asset_no), int(quote_asset_no)
    buyer_quote = customer_account(_K.BALANCE, buyer_no, quote)
    seller_quote = customer_account(_K.BALANCE, seller_no, quote)
    buyer_base = customer_account(_K.BALANCE, buyer_no, base)
    seller_base = customer_account(_K.BALANCE, seller_no, base)
    assert buyer_fee_base <= base_minor
    assert seller_fee_quote <= quote_minor
    parts = [
        (buyer_quote, seller_quote, quote_minor),
        (seller_base, buyer_base, base_minor),
        (buyer_base, AccountKey(_K.FEE_INCOME, PLATFORM, base), buyer_fee_base),
        (seller_quote, AccountKey(_K.FEE_INCOME, PLATFORM, quote), seller_fee_quote),
    ]
    return _projected(sequence, n, "trade", f"{sequence}.{n}", parts)


def withdrawal_held(
    *,
    sequence: int,
    n: int,
    customer_no: CustomerNo | int,
    asset_no: AssetNo | int,
    amount: int,
    withdrawal_id: str,
) -> list[Transfer]:
    """Book a hold; amount includes the flat fee."""
    debit = customer_account(_K.BALANCE, customer_no, int(asset_no))
    credit = customer_account(_K.WITHDRAWING, customer_no, int(asset_no))
    return _projected(sequence, n, "hold", withdrawal_id, [(debit, credit, amount)])


def withdrawal_captured(
    *,
    sequence: int,
    n: int,
    customer_no: CustomerNo | int,
    asset_no: AssetNo | int,
    amount: int,
    fee: int,
    wallet: str,
    withdrawal_id: str,
) -> list[Transfer]:
    """Book a final payment: amount has left through wallet, fee is ours."""
    held = customer_account(_K.WITHDRAWING, customer_no, int(asset_no))
    parts = [
        (held, AccountKey(_K.IN_TRANSIT, wallet, int(asset_no)), amount),
        (held, AccountKey(_K.FEE_INCOME, PLATFORM, int(asset_no)), fee),
    ]
    return _projected(sequence, n, "capture", withdrawal_id, parts)


def withdrawal_received(
    *,
    sequence: int,
    n: int,
    customer_no: CustomerNo | int,
    asset_no: AssetNo | int,
    amount: int,
    wallet: str,
    withdrawal_id: str,
) -> list[Transfer]:
    """Book what a customer got of another's withdrawal that was captured just before."""
    debit = AccountKey(_K.IN_TRANSIT, wallet, int(asset_no))
    credit = customer_account(_K.BALANCE, customer_no, int(asset_no))
    return _projected(sequence, n, "receive", withdrawal_id, [(debit, credit, amount)])


def withdrawal_released(
    *,
    sequence: int,
    n: int,
    customer_no: CustomerNo | int,
    asset_no: AssetNo | int,
    amount: int,
    withdrawal_id: str,
) -> list[Transfer]:
    """Give a hold back; amount includes the flat fee."""
    debit = customer_account(_K.WITHDRAWING, customer_no, int(asset_no))
    credit = customer_account(_K.BALANCE, customer_no, int(asset_no))
    return _projected(sequence, n, "release", withdrawal_id, [(debit, credit, amount)])


def withdrawal_broadcast(
    *,
    wallet: str,
    asset_no: AssetNo | int,
    amount: int,
    withdrawal_id: str,
    kind: AccountKind = AccountKind.HOT,
) -> list[Transfer]:
    """Book the first broadcast of a withdrawal's payment; replacements of it book nothing."""
    debit = AccountKey(_K.IN_TRANSIT, wallet, int(asset_no))
    return _treasury("broadcast", withdrawal_id, debit, _wallet(kind, wallet, asset_no), amount)


def withdrawal_returned(
    *,
    wallet: str,
    asset_no: AssetNo | int,
    amount: int,
    withdrawal_id: str,
    kind: AccountKind = AccountKind.HOT,
) -> list[Transfer]:
    """Take a broadcast back: finality proved that the payment never left the wallet."""
    credit = AccountKey(_K.IN_TRANSIT, wallet, int(asset_no))
    return _treasury("returned", withdrawal_id, _wallet(kind, wallet, asset_no), credit, amount)


def network_fee(
    *,
    wallet: str,
    native_asset_no: AssetNo | int,
    amount: int,
    tx_id: str,
    kind: AccountKind = AccountKind.HOT,
) -> list[Transfer]:
    """Book what one own transaction cost at finality, failed ones included."""
    debit = AccountKey(_K.NETWORK_FEES, wallet, int(native_asset_no))
    credit = _wallet(kind, wallet, native_asset_no)
    return _treasury("network_fee", tx_id, debit, credit, amount)


def own_transfer(
    *,
    asset_no: AssetNo | int,
    amount: int,
    from_wallet: str,
    from_kind: AccountKind,
    to_wallet: str,
    to_kind: AccountKind,
    spend_id: str,
) -> list[Transfer]:
    """Book a final move between own wallets: a sweep, a gas top-up, a refill, money going cold."""
    debit = _wallet(to_kind, to_wallet, asset_no)
    credit = _wallet(from_kind, from_wallet, asset_no)
    return _treasury("own_transfer", spend_id, debit, credit, amount)


def lost_on_the_way(
    *,
    asset_no: AssetNo | int,
    amount: int,
    wallet: str,
    kind: AccountKind,
    spend_id: str,
) -> list[Transfer]:
    """Book what an odd token kept of a final move between own wallets."""
    debit = AccountKey(_K.LOSS, PLATFORM, int(asset_no))
    return _treasury("lost_on_the_way", spend_id, debit, _wallet(kind, wallet, asset_no), amount)


def operator_funding(
    *,
    wallet: str,
    asset_no: AssetNo | int,
    amount: int,
    deposit_id: str,
    kind: AccountKind = AccountKind.HOT,
) -> list[Transfer]:
    """Book money that the operator sent to an own wallet; it waits in suspense for an officer."""
    credit = AccountKey(_K.SUSPENSE, wallet, int(asset_no))
    return _treasury("funding", deposit_id, _wallet(kind, wallet, asset_no), credit, amount)


def operator_funding_reversed(
    *,
    wallet: str,
    asset_no: AssetNo | int,
    amount: int,
    deposit_id: str,
    recognised: bool,
    kind: AccountKind = AccountKind.HOT,
) -> list[Transfer]:
    """Take funding back that fell out of the chain: from suspense, or equity once recognised."""
    number = int(asset_no)
    suspense = AccountKey(_K.SUSPENSE, wallet, number)
    debit = AccountKey(_K.EQUITY, PLATFORM, number) if recognised else suspense
    return _treasury("funding_reversed", deposit_id, debit, _wallet(kind, wallet, number), amount)


def suspense_to_equity(
    *, wallet: str, asset_no: AssetNo | int, amount: int, entry_id: str
) -> list[Transfer]:
    """Book an officer's statement that funding in suspense is the operator's own money."""
    debit = AccountKey(_K.SUSPENSE, wallet, int(asset_no))
    credit = AccountKey(_K.EQUITY, PLATFORM, int(asset_no))
    return _treasury("equity", entry_id, debit, credit, amount)


def _wallet(kind: AccountKind, wallet: str, asset_no: AssetNo | int) -> AccountKey:
    if kind not in WALLET_KINDS:
        raise ValueError(f"{kind.value} is not where a wallet keeps money")
    return AccountKey(kind, wallet, int(asset_no))


def _projected(
    sequence: int,
    n: int,
    cause_kind: str,
    cause_id: str,
    parts: list[tuple[AccountKey, AccountKey, int]],
) -> list[Transfer]:
    assert any(amount for _, _, amount in parts), "an event that moves nothing"
    return [
        Transfer(
            id=projected_id(sequence, n, part),
            chain=Chain.PROJECTED,
            debit=debit,
            credit=credit,
            amount=amount,
            cause_kind=cause_kind,
            cause_id=cause_id,
        )
        for part, (debit, credit, amount) in enumerate(parts)
        if amount
    ]


def _treasury(
    cause_kind: str, cause_id: str, debit: AccountKey, credit: AccountKey, amount: int
) -> list[Transfer]:
    return [
        Transfer(
            id=transfer_id(cause_kind, cause_id),
            chain=Chain.TREASURY,
            debit=debit,
            credit=credit,
            amount=amount,
            cause_kind=cause_kind,
            cause_id=cause_id,
        )
    ]
