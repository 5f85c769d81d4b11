"""Native coin: what explains a balance and what does not. Odd tokens: what arrived is shared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.evm.block import IncompleteBlock
from chains.evm.erc20 import TokenEvent
from chains.evm.native import plan_checked, plan_payments, plan_residuals
from chains.evm.odd import plan_delivered
from chains.evm.parse import BlockContents, Header, Log, Tx
from chains.evm.trace import BlockTrace, Move, may_run_code
from chains.incoming import UNEXPLAINED

A, B, C, MINER = (bytes([number]) * 20 for number in (1, 2, 3, 9))
HEADER = Header(
    hash="0x" + "ab" * 32,
    parent_hash="0x" + "aa" * 32,
    height=5,
    time_s=0,
    miner=MINER,
    bloom=bytes(256),
    transactions_root=bytes(32),
    receipts_root=bytes(32),
    withdrawals_root=None,
    base_fee=1,
)
TX = Tx(
    tx_id="0x" + "cd" * 32,
    sender=A,
    to=B,
    value=10,
    input=b"",
    nonce=0,
    succeeded=True,
    gas_used=21_000,
    fee=3,
    logs=(),
)


def block(*txs: Tx, withdrawals: tuple[bytes, ...] = ()) -> BlockContents:
    """Return a block of these transactions."""
    return BlockContents(HEADER, txs, withdrawals)


def traced(*moves: Move) -> BlockTrace:
    """Return a trace of these moves."""
    return BlockTrace(moves, frozenset(a for move in moves for a in (move.sender, move.to)))


@pytest.mark.parametrize(
    ("tx", "differences"),
    [
        (TX, {A: -13, B: 10}),
        (replace(TX, succeeded=False), {A: -3, B: 0}),
        (replace(TX, to=A), {A: -3}),
        (replace(TX, to=None), {A: -13, B: 0}),
    ],
)
def test_the_header_s_own_transactions_explain_balances(
    tx: Tx, differences: dict[bytes, int]
) -> None:
    assert plan_residuals(block(tx), None, differences) == []


def test_a_gain_that_nothing_explains_is_listed_and_a_loss_stops() -> None:
    (payment,) = plan_residuals(block(TX), None, {A: -13, B: 17})
    assert (payment.amount, payment.claimed, payment.anomaly) == (7, 0, UNEXPLAINED)
    assert payment.tx_id == HEADER.hash
    with pytest.raises(IncompleteBlock, match="holds 1 less"):
        plan_residuals(block(TX), None, {B: 9})


ADDRESSES = st.sampled_from([A, B, C])
MOVES = st.builds(
    lambda sender, to, value: Move(TX.tx_id, 0, sender, to, value),
    ADDRESSES,
    ADDRESSES,
    st.integers(1, 100),
)
TXS = st.builds(
    lambda sender, to, value, succeeded, fee: replace(
        TX, sender=sender, to=to, value=value, succeeded=succeeded, fee=fee
    ),
    ADDRESSES,
    ADDRESSES | st.none(),
    st.integers(0, 100),
    st.booleans(),
    st.integers(0, 5),
)


@given(st.lists(TXS, max_size=4), st.lists(MOVES, max_size=6))
def test_payments_and_spends_add_up_to_the_balance_difference(
    txs: list[Tx], moves: list[Move]
) -> None:
    """An independent sum over the same block leaves no residual; one wei more leaves one."""
    truth = dict.fromkeys([A, B, C], 0)
    for tx in txs:
        truth[tx.sender] -= tx.fee + (tx.value if tx.succeeded else 0)
        if tx.succeeded and tx.to is not None:
            truth[tx.to] += tx.value
    for move in moves:
        truth[move.sender] -= move.value
        truth[move.to] += move.value
    contents, trace = block(*txs), traced(*moves)
    assert plan_residuals(contents, trace, truth) == []
    truth[B] += 1
    assert [p.amount for p in plan_residuals(contents, trace, truth)] == [1]
    received = dict.fromkeys([A, B, C], 0)
    for payment in plan_payments(contents, None, {A, B, C}.__contains__):
        received[bytes.fromhex(payment.to_address[2:])] += payment.amount
    for to, amount in received.items():
        assert amount == sum(
            tx.value for tx in txs if tx.succeeded and tx.to == to and tx.sender != to
        )


def test_only_what_no_root_covers_is_compared_with_balances() -> None:
    watched = {A, B, C, MINER}.__contains__
    assert plan_checked(block(TX), None, {A, B, C}.__contains__) == []
    assert plan_checked(block(TX), None, watched) == [MINER]
    assert plan_checked(block(TX, withdrawals=(C,)), None, watched) == [C, MINER]
    move = Move(TX.tx_id, 0, B, C, 1)
    assert plan_checked(block(TX), traced(move), {A, B, C}.__contains__) == [A, B, C]


@pytest.mark.parametrize(
    ("tx", "runs"),
    [
        (TX, False),
        (replace(TX, gas_used=21_001), True),
        (replace(TX, gas_used=20_999), True),
        (replace(TX, to=None), True),
        (replace(TX, gas_used=50_000, succeeded=False), False),
    ],
)
def test_only_transactions_that_may_have_run_code_need_a_trace(tx: Tx, runs: bool) -> None:
    assert may_run_code(tx) is runs


def events(values: list[int]) -> list[TokenEvent]:
    """Return one event for each claimed amount."""
    log = Log(C, (), b"", TX.tx_id, 0)
    return [TokenEvent(log, A, B, value) for value in values]


AMOUNTS = st.integers(0, 2**256 - 1)


@given(st.lists(AMOUNTS, min_size=1, max_size=6), st.none() | AMOUNTS, st.none() | AMOUNTS)
def test_D02_never_more_is_shared_out_than_arrived_or_was_claimed(
    claims: list[int], before: int | None, after: int | None
) -> None:
    shares = plan_delivered(events(claims), before=before, after=after)
    gained = 0 if after is None else max(0, after - (before or 0))
    assert sum(amount for _, amount, _ in shares) == min(sum(claims), gained)
    for event, amount, anomaly in shares:
        assert amount <= event.value
        if after is not None:
            assert (anomaly is None) == (amount == event.value)
        else:
            assert anomaly == "balance_unreadable"
