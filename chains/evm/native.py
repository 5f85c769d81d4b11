"""Which native coin reached watched addresses in one block, and what of it nothing explains.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from chains.base import NATIVE, Payment
from chains.evm.address import checksum
from chains.evm.block import IncompleteBlock
from chains.evm.parse import BlockContents, Tx
from chains.evm.trace import BlockTrace, may_run_code
from chains.incoming import UNEXPLAINED

IsWatched = Callable[[bytes], bool]


def needs_trace(contents: BlockContents) -> bool:
    """Tell whether any transaction of the block may have moved coin in an inner frame."""
    return any(map(may_run_code, contents.transactions))


def plan_payments(
    contents: BlockContents, trace: BlockTrace | None, is_watched: IsWatched
) -> list[Payment]:
    """Return payments of transactions and of frames, in the order of the block.

    Own-to-own is none.
    """
    inner: dict[str, list[Payment]] = {}
    for move in trace.moves if trace else ():
        if is_watched(move.to):
            payment = _payment(move.tx_id, f"trace:{move.place}", move.sender, move.to, move.value)
            inner.setdefault(move.tx_id, []).append(payment)
    payments: list[Payment] = []
    for tx in contents.transactions:
        to = tx.to if tx.succeeded and tx.value and tx.to != tx.sender else None
        if to is not None and is_watched(to):
            payments.append(_payment(tx.tx_id, "tx", tx.sender, to, tx.value))
        payments += inner.get(tx.tx_id, [])
    return payments


def plan_checked(
    contents: BlockContents, trace: BlockTrace | None, is_watched: IsWatched
) -> list[bytes]:
    """Return the watched addresses whose balance must be compared across the block.

    Without code, fee or withdrawal to them everything that moved is proven by the header already.
    """
    touched: set[bytes] = {contents.header.miner, *contents.withdrawal_addresses}
    if trace is not None:
        touched |= trace.touched
        touched |= {tx.sender for tx in contents.transactions}
        touched |= {tx.to for tx in contents.transactions if tx.to is not None}
    return sorted(filter(is_watched, touched))


def plan_residuals(
    contents: BlockContents, trace: BlockTrace | None, differences: Mapping[bytes, int]
) -> list[Payment]:
    """Return one unattributed payment for each address that gained more than its payments explain.

    Forced ether (SELFDESTRUCT), the block's fees and validators' withdrawals end here: seen, not
    credited. IncompleteBlock: an address holds less than its payments say, so a trace or a
    balance is a lie.
    """
    expected = dict.fromkeys(differences, 0)
    for tx in contents.transactions:
        _book_transaction(expected, tx)
    for move in trace.moves if trace else ():
        _add(expected, move.to, move.value)
        _add(expected, move.sender, -move.value)
    payments: list[Payment] = []
    for address, difference in differences.items():
        residual = difference - expected[address]
        if residual < 0:
            raise IncompleteBlock(
                f"{checksum(address)} holds {-residual} less than its payments explain"
            )
        if residual:
            payments.append(_unexplained(contents, address, residual))
    return payments


def _book_transaction(expected: dict[bytes, int], tx: Tx) -> None:
    _add(expected, tx.sender, -tx.fee)
    if tx.succeeded:
        _add(expected, tx.sender, -tx.value)
        if tx.to is not None:
            _add(expected, tx.to, tx.value)


def _add(expected: dict[bytes, int], address: bytes, amount: int) -> None:
    if address in expected:
        expected[address] += amount


def _payment(tx_id: str, position: str, sender: bytes, to: bytes, amount: int) -> Payment:
    return Payment(
        tx_id=tx_id,
        position=position,
        asset_key=NATIVE,
        to_address=checksum(to),
        from_address=checksum(sender),
        amount=amount,
        claimed=amount,
    )


def _unexplained(contents: BlockContents, address: bytes, amount: int) -> Payment:
    # No transaction carries it, so the block stands in for one and the address keeps the key
    # unique.
    return Payment(
        tx_id=contents.header.hash,
        position=f"balance:{checksum(address)}",
        asset_key=NATIVE,
        to_address=checksum(address),
        from_address=None,
        amount=amount,
        claimed=0,
        anomaly=UNEXPLAINED,
    )


def watched_test(watched: Iterable[str]) -> IsWatched:
    """Return the test for membership; a set is used as it is, anything else is copied into one."""
    known = watched if isinstance(watched, (set, frozenset)) else frozenset(watched)
    return lambda address: checksum(address) in known
