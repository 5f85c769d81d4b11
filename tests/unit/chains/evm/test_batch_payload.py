"""A batch's bytes have one reading, and what became of its items is believed of nobody alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from chains.base import NATIVE, Effect, ItemStatus, SpendIntent, SpendItem, SpendKind
from chains.evm.address import checksum, raw_address
from chains.evm.batch_call import ITEM_GAS_NATIVE, ITEM_GAS_TOKEN, needed_gas, pay_call
from chains.evm.batch_payload import (
    ITEM_FAILED,
    ITEM_PAID,
    PAY_SELECTOR,
    item_statuses,
    read_pay_call,
)
from chains.evm.erc20 import TRANSFER_TOPIC
from chains.evm.parse import Log, Tx
from core.errors import Reason, Refused, Unavailable
from tests.support.evm import CHAIN
from tests.unit.custody.keys.evmroom import CUSTOMER, GOLD, THIEF, silent_chain, type_2

PAYER = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"
ITEMS = ((CUSTOMER, 5), (THIEF, 7))


def batch(*items: tuple[str, int], asset_key: str = GOLD) -> SpendIntent:
    rows = tuple(SpendItem(f"wd_{n}", to, amount) for n, (to, amount) in enumerate(items))
    return SpendIntent(
        "sp_1", SpendKind.BATCH, "batch_1", CHAIN, silent_chain().traits.network, asset_key,
        PAYER, PAYER, sum(amount for _, amount in items), 10**18, rows,
    )  # fmt: skip


def payload(data: bytes, **changes: Any) -> bytes:
    honest = {"to": raw_address(PAYER), "value": 0, "data": data, "gas": 2_000_000}
    return type_2(batch(*ITEMS), **{**honest, **changes})


addresses = st.binary(min_size=20, max_size=20).filter(any)


@given(
    st.lists(st.tuples(addresses, st.integers(0, 2**256 - 1)), min_size=1, max_size=64),
    st.one_of(st.just(None), addresses),
)
def test_what_the_library_builds_own_code_reads(
    rows: list[tuple[bytes, int]], token: bytes | None
) -> None:
    items = [(checksum(to), amount) for to, amount in rows]
    key = NATIVE if token is None else checksum(token)
    call = read_pay_call(pay_call(batch(*items, asset_key=key)))
    assert call.effects == tuple(Effect(key, to, amount) for to, amount in items)
    assert call.item_gas == (ITEM_GAS_NATIVE if token is None else ITEM_GAS_TOKEN)


def refused(content: bytes, sender: str = PAYER) -> Reason:
    with pytest.raises(Refused) as found:
        silent_chain().decode(content, sender=sender)
    return found.value.reason


def test_a_batch_is_its_own_accounts_call_and_nobody_elses() -> None:
    data = pay_call(batch(*ITEMS))
    decoded = silent_chain().decode(payload(data), sender=PAYER)
    assert (decoded.is_batch, decoded.runs_own_code) == (True, True)
    assert [effect.destination for effect in decoded.effects] == [CUSTOMER, THIEF]
    assert refused(payload(data, gas=400_000), CUSTOMER) is Reason.UNKNOWN_CALL
    elsewhere = payload(data, gas=400_000, to=raw_address(GOLD))
    assert refused(elsewhere) is Reason.UNKNOWN_CALL


def changed(place: int, word: int, data: bytes) -> bytes:
    at = 4 + 32 * place
    return data[:at] + word.to_bytes(32, "big") + data[at + 32 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d[:-1], Reason.UNDECODABLE),
        (lambda d: d + b"\0", Reason.UNDECODABLE),
        (lambda d: d + bytes(32), Reason.UNDECODABLE),
        (lambda d: d + bytes(64), Reason.UNDECODABLE),
        (lambda d: d[:-64], Reason.UNDECODABLE),
        (lambda d: changed(0, 1 << 160 | 1, d), Reason.UNDECODABLE),
        (lambda d: changed(2, 0x80, d), Reason.UNDECODABLE),
        (lambda d: changed(3, 1, d), Reason.UNDECODABLE),
        (lambda d: changed(3, 3, d), Reason.UNDECODABLE),
        (lambda d: changed(4, 1 << 255, d), Reason.UNDECODABLE),
        (lambda d: changed(1, 500_001, d), Reason.FEE_ABOVE_CAP),
        (lambda d: changed(4, 0, d), Reason.FORBIDDEN_DESTINATION),
        (lambda d: changed(4, 9, d), Reason.FORBIDDEN_DESTINATION),
        (lambda d: b"\0" + d[1:], Reason.UNKNOWN_CALL),
    ],
)
def test_call_data_with_anything_out_of_place_is_refused(change: Any, reason: Reason) -> None:
    assert refused(payload(change(pay_call(batch(*ITEMS))), gas=400_000)) is reason


def test_a_batch_has_at_most_sixty_four_items() -> None:
    items = [(CUSTOMER, 1)] * 64
    full = pay_call(batch(*items, asset_key=NATIVE))
    silent_chain().decode(payload(full, gas=10_000_000), sender=PAYER)
    more = changed(3, 65, full) + bytes(12) + raw_address(CUSTOMER) + (1).to_bytes(32, "big")
    assert refused(payload(more, gas=10_000_000)) is Reason.UNDECODABLE


def test_the_gas_of_a_batch_gives_every_item_its_bound_and_has_a_ceiling() -> None:
    data = pay_call(batch(*ITEMS))
    least = needed_gas(2, ITEM_GAS_TOKEN)
    silent_chain().decode(payload(data, gas=least), sender=PAYER)
    assert refused(payload(data, gas=least - 1)) is Reason.UNDECODABLE
    assert refused(payload(data, gas=(1 << 24) + 1)) is Reason.FEE_ABOVE_CAP
    assert refused(payload(data, value=1)) is Reason.UNDECODABLE


def test_only_a_batch_may_be_long() -> None:
    long = b"\xa9\x05\x9c\xbb" + bytes(600)
    assert refused(payload(long)) is Reason.UNDECODABLE


# ---- what became of the items -------------------------------------------------------------------

TOKEN, OWN = raw_address(GOLD), raw_address(PAYER)


def event(place: int, *, paid: bool = True, emitter: bytes = OWN, amount: int | None = None) -> Log:
    to, wanted = ITEMS[place]
    topics = (ITEM_PAID if paid else ITEM_FAILED, word(place), bytes(12) + raw_address(to))
    return Log(emitter, topics, word(wanted if amount is None else amount), "0x1", 0)


def moved(to: str, amount: int, *, emitter: bytes = TOKEN, sender: bytes = OWN) -> Log:
    topics = (TRANSFER_TOPIC, bytes(12) + sender, bytes(12) + raw_address(to))
    return Log(emitter, topics, word(amount), "0x1", 0)


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def statuses(*logs: Log, asset_key: str = GOLD) -> list[tuple[bool, int]]:
    data = pay_call(batch(*ITEMS, asset_key=asset_key))
    tx = Tx("0x1", OWN, OWN, 0, data, 0, True, 1, 1, tuple(logs))
    found: Sequence[ItemStatus] = item_statuses(tx)
    return [(item.paid, item.amount) for item in found]


A, B = moved(CUSTOMER, 5), moved(THIEF, 7)


def test_an_item_is_paid_by_its_event_and_what_its_token_says_before_it() -> None:
    assert data_selector() == PAY_SELECTOR
    assert statuses(A, event(0), B, event(1)) == [(True, 5), (True, 7)]
    assert statuses(event(0, paid=False), B, event(1)) == [(False, 0), (True, 7)]
    assert statuses(A, event(0), event(1)) == [(True, 5), (True, 0)], "the token was silent"
    assert statuses(moved(CUSTOMER, 4), event(0), B, event(1)) == [(True, 4), (True, 7)]
    other = moved(CUSTOMER, 5, emitter=raw_address(THIEF))
    stolen = moved(CUSTOMER, 5, sender=raw_address(THIEF))
    assert statuses(other, stolen, event(0), B, event(1)) == [(True, 0), (True, 7)]


def data_selector() -> bytes:
    return bytes(keccak(b"pay(address,uint256,(address,uint256)[])")[:4])


def test_of_native_coin_the_accounts_own_event_is_the_proof() -> None:
    logs = (event(0), event(1, paid=False))
    assert statuses(*logs, asset_key=NATIVE) == [(True, 5), (False, 0)]


def test_events_of_others_count_for_nothing() -> None:
    forged = event(1, emitter=raw_address(THIEF))
    assert statuses(forged, A, event(0), forged, event(1, paid=False)) == [(True, 5), (False, 0)]
    assert statuses(forged) == [(False, 0), (False, 0)]


def test_without_any_event_nothing_was_paid() -> None:
    assert statuses() == [(False, 0), (False, 0)]


@pytest.mark.parametrize(
    "logs",
    [
        (A,),
        (A, event(0)),
        (event(1), event(0)),
        (A, event(0), B, event(1), event(1)),
        (A, event(0, paid=False), B, event(1)),
        (A, event(0, amount=6), B, event(1)),
        (A, event(0), B, event(0)),
    ],
)
def test_events_that_contradict_the_call_stop_for_a_person(logs: tuple[Log, ...]) -> None:
    with pytest.raises(Unavailable, match="unreadable_batch"):
        statuses(*logs)
