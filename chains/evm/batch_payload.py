"""A batch as the judges read it: its call data byte by byte, and what became of its items.

    selector 4 ‖ token 32 ‖ item gas 32 ‖ 0x60 32 ‖ count 32 ‖ count × (to 32 ‖ amount 32)

Read by own code; chains.evm.batch_call builds it by a library. What became of an item is read from
the account's own events, in their order, and of a token also from the token's: between the events
of two items stands exactly what the second one did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak

from chains.base import BATCH_ITEMS_MAX, NATIVE, Effect, ItemStatus
from chains.evm.address import checksum
from chains.evm.batch_call import BATCH_GAS_MAX, needed_gas
from chains.evm.erc20 import transfer_event
from chains.evm.params import EvmParams
from chains.evm.parse import Log, Tx
from core.errors import Reason, Refused, Unavailable

PAY_SELECTOR = keccak(b"pay(address,uint256,(address,uint256)[])")[:4]
ITEM_PAID = keccak(b"ItemPaid(uint256,address,uint256)")
ITEM_FAILED = keccak(b"ItemFailed(uint256,address,uint256)")
PAYLOAD_MAX = 512 + 64 * BATCH_ITEMS_MAX
_HEAD = 4 + 4 * 32
_ITEM = 64
_ZERO = bytes(20)


@dataclass(frozen=True, slots=True)
class BatchCall:
    """What a batch's call data says; token zero is native coin."""

    token: bytes
    item_gas: int
    items: tuple[tuple[bytes, int], ...]
    """Whom and how much, in smallest units."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Return the movements, in their order."""
        key = NATIVE if self.token == _ZERO else checksum(self.token)
        return tuple(Effect(key, checksum(to), amount) for to, amount in self.items)


def is_batch_call(sender: bytes, to: bytes | None, data: bytes) -> bool:
    """Tell whether a transaction is an account's call of its own payer."""
    return to == sender and data[:4] == PAY_SELECTOR


def is_batch(tx: Tx) -> bool:
    """Tell whether an included transaction is an account's call of its own payer."""
    return is_batch_call(tx.sender, tx.to, tx.input)


def read_pay_call(data: bytes) -> BatchCall:
    """Read the call data of a batch, every byte of which has its place. Refused: undecodable."""
    count, rest = divmod(len(data) - _HEAD, _ITEM)
    if data[:4] != PAY_SELECTOR or rest or not 1 <= count <= BATCH_ITEMS_MAX:
        raise _refusal("call data is not exactly that of a batch")
    words = [data[at : at + 32] for at in range(4, len(data), 32)]
    numbers = [int.from_bytes(word, "big") for word in words]
    if numbers[2] != 0x60 or numbers[3] != count:
        raise _refusal("the items of a batch stand elsewhere or are another number")
    items = tuple((_address(words[at]), numbers[at + 1]) for at in range(4, len(words), 2))
    return BatchCall(_address(words[0]), numbers[1], items)


def check_gas(call: BatchCall, gas: int, value: int, params: EvmParams) -> None:
    """Return when the transaction's gas gives every item its own bound, and no coin rides along.

    Refused: undecodable, fee_above_cap.
    """
    if value:
        raise _refusal("a batch carries no native coin to its own account")
    if call.item_gas > params.gas_cap or gas > BATCH_GAS_MAX:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{gas} gas, {call.item_gas} for an item")
    if gas < needed_gas(len(call.items), call.item_gas):
        raise _refusal("the gas does not suffice for every item")


def item_statuses(tx: Tx) -> tuple[ItemStatus, ...]:
    """Return what became of every item of an included batch, by the account's own events.

    Without any event the account ran no code of ours: nothing was paid. Unavailable: the events
    contradict the call or the token's own; a person has to look.
    """
    call = read_pay_call(tx.input)
    segments, found = [], []
    start = 0
    for at, log in enumerate(tx.logs):
        if log.emitter == tx.sender and log.topics[:1] in ((ITEM_PAID,), (ITEM_FAILED,)):
            found.append(log)
            segments.append(tx.logs[start:at])
            start = at + 1
    if not found and not any(_moved(call, tx, tx.logs, to) for to, _ in call.items):
        return (ItemStatus(paid=False, amount=0),) * len(call.items)
    if len(found) != len(call.items):
        raise Unavailable(f"unreadable_batch: {tx.tx_id}")
    return tuple(_status(call, tx, place, log, segments[place]) for place, log in enumerate(found))


def _status(call: BatchCall, tx: Tx, place: int, log: Log, segment: Sequence[Log]) -> ItemStatus:
    to, amount = call.items[place]
    told = (log.topics[1:], log.data)
    if told != ((_word(place), bytes(12) + to), _word(amount)):
        raise Unavailable(f"unreadable_batch: {tx.tx_id} item {place}")
    paid = log.topics[0] == ITEM_PAID
    moved = _moved(call, tx, segment, to)
    if not paid and moved:
        raise Unavailable(f"unreadable_batch: {tx.tx_id} item {place} failed and moved")
    if call.token == _ZERO:
        return ItemStatus(paid, amount if paid else 0)
    return ItemStatus(paid, moved)


def _moved(call: BatchCall, tx: Tx, logs: Sequence[Log], to: bytes) -> int:
    """Return what the token's events say went from the account to a destination."""
    events = [transfer_event(log) for log in logs if log.emitter == call.token]
    return sum(
        event.value
        for event in events
        if event is not None and (event.sender, event.to) == (tx.sender, to)
    )


def _address(word: bytes) -> bytes:
    if any(word[:12]):
        raise _refusal("an address has 20 bytes")
    return word[12:]


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, detail)
