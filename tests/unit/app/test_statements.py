"""Officers' statements from draft to deed, on the scripted chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.statements import carry_out, draft_recognition, draft_resolution
from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld
from core.errors import Reason, Refused
from custody import chain_state, deposit_rows
from custody.deposit_rows import DepositState
from custody.keys.statement import (
    Statement,
    StatementKind,
    StatementSignature,
    decode,
    encode,
    render,
    sign_statement,
)
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from tests.support.house import House, officer_key, open_house

LATER = 1 << 62


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld(finality_depth=2)


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    with open_house(database_url, FakeChain(world), world.listed_assets()) as opened:
        yield opened


def signed(statement: Statement, *persons: str) -> list[StatementSignature]:
    return [sign_statement(officer_key(person), statement) for person in persons]


def test_two_officers_move_funding_from_suspense_to_equity_once(
    house: House, world: FakeWorld
) -> None:
    world.fund(house.own_address("hot"), 5_000)
    world.mine(3)
    house.run(2)
    with house.platform.db.read() as conn:
        (row,) = deposit_rows.list_deposits(conn)
    statement = draft_recognition(house.platform, row.deposit_id, expires_ns=LATER)
    for given_by in (["ada"], ["ada", "ada"]):
        with pytest.raises(Refused) as refused:
            carry_out(house.platform, statement, signed(statement, *given_by))
        assert refused.value.reason is Reason.QUORUM_NOT_MET
    for _ in range(2):
        carry_out(house.platform, statement, signed(statement, "ada", "cleo"))
    with house.platform.db.read() as conn:
        totals = balances.totals(conn)
    native = house.asset_no(NATIVE)
    assert totals[(AccountKind.SUSPENSE, native)] == 0
    assert totals[(AccountKind.EQUITY, native)] == 5_000


def test_a_signed_plan_ends_a_deep_reorganisation(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 5_000)
    world.mine(4)
    house.run(2)
    assert house.balance(alice, NATIVE) == 5_000
    world.reorg(4, cross_finality=True)
    house.run(1)
    chain = house.home.chain.traits.chain
    statement = draft_resolution(house.platform, chain, expires_ns=LATER)
    other = replace(statement, lines=statement.lines[:1])
    with pytest.raises(Refused) as refused:
        carry_out(house.platform, other, signed(other, "ada", "ben"))
    assert refused.value.reason is Reason.INTENT_MISMATCH
    carry_out(house.platform, statement, signed(statement, "ada", "ben"))
    world.mine(3)
    house.run(3)
    assert house.balance(alice, NATIVE) == 0
    with house.platform.db.read() as conn:
        assert not chain_state.state(conn, chain).frozen
        states = {row.state for row in deposit_rows.list_deposits(conn, customer_no=alice)}
    assert states == {DepositState.REVERSED}


def test_an_expired_statement_does_nothing(house: House, world: FakeWorld) -> None:
    world.fund(house.own_address("hot"), 5_000)
    world.mine(3)
    house.run(2)
    with house.platform.db.read() as conn:
        (row,) = deposit_rows.list_deposits(conn)
    statement = draft_recognition(house.platform, row.deposit_id, expires_ns=1)
    with pytest.raises(Refused) as refused:
        carry_out(house.platform, statement, signed(statement, "ada", "ben"))
    assert refused.value.reason is Reason.APPROVAL_EXPIRED


text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


@given(
    statement_id=text, kind=st.sampled_from(StatementKind), subject=text,
    lines=st.lists(text, max_size=5), expires_ns=st.integers(0, LATER),
)  # fmt: skip
def test_a_statement_reads_back_as_it_was_written(
    statement_id: str, kind: StatementKind, subject: str, lines: list[str], expires_ns: int
) -> None:
    statement = Statement(statement_id, kind, subject, tuple(lines), expires_ns)
    assert decode(encode(statement)) == statement
    assert all(line in render(statement) for line in lines)
    with pytest.raises(Refused):
        decode(encode(statement)[:-1])
