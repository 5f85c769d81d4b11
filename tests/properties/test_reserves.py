"""The two builders always agree, everybody is in, and no byte of what is published is slack."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.ids import CustomerNo
from custody.ledger.balances import CustomerBalance
from custody.ledger.chart import AccountKind
from custody.reserves import verify
from custody.reserves.assets import Holding
from custody.reserves.merkle_sum import Leaf, Tree, commit_naive, salt_of
from custody.reserves.report import proof_file
from custody.reserves.snapshot import Books
from custody.reserves.verify import Refuted, check_proof, check_report
from tests.unit.custody.reserves import cases

AMOUNTS = st.one_of(st.integers(0, 3), st.integers(0, 10**30))
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[AMOUNTS] * width), max_size=40).map(
        lambda rows: (width, rows)
    )
)


@given(ROWS, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
@example((1, []), bytes(32), bytes(32))
def test_the_fast_root_is_the_naive_root(
    table: tuple[int, list[tuple[int, ...]]], context: bytes, secret: bytes
) -> None:
    width, rows = table
    leaves = [Leaf(no, salt_of(secret, no), row) for no, row in enumerate(rows)]
    fast, naive = (
        Tree.build(context, width, leaves).commitment,
        commit_naive(context, width, leaves),
    )
    assert fast == naive
    assert fast.root == naive.root
    assert fast.top.sums == tuple(sum(row[at] for row in rows) for at in range(width))


def books_owing(balances: list[tuple[int, int]]) -> tuple[Books, tuple[Holding, ...]]:
    """Return books in which everything owed lies on the hot wallet's address."""
    owed = tuple(
        CustomerBalance(CustomerNo(no), asset, amount, amount // 3)
        for no, row in enumerate(balances, 1)
        for asset, amount in zip((cases.COIN, cases.TOKEN), row, strict=True)
    )
    totals: dict[tuple[AccountKind, int], int] = {}
    for line in owed:
        for kind, amount in (
            (AccountKind.BALANCE, line.balance),
            (AccountKind.WITHDRAWING, line.withdrawing),
            (AccountKind.HOT, line.total),
        ):
            place = (kind, int(line.asset_no))
            totals[place] = totals.get(place, 0) + amount
    held = tuple(
        (number, totals.get((AccountKind.HOT, number), 0))
        for number in (1, 2)
        if totals.get((AccountKind.HOT, number), 0)
    )
    books = replace(cases.books(), owed=owed, totals=totals, in_flight=())
    return books, (Holding(cases.OWN["hot"], held),) if held else ()


@settings(max_examples=25)
@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=20), st.binary(min_size=32, max_size=32))
def test_every_customer_with_something_has_a_proof_that_holds(
    balances: list[tuple[int, int]], secret: bytes
) -> None:
    books, held = books_owing(balances)
    case = cases.case(books=books, holdings=held, secret=secret)
    report = check_report(case.sealed.data)
    owners = {no: row for no, row in enumerate(balances, 1) if any(row)}
    assert report.leaf_count == len(owners)
    for no, row in owners.items():
        proof = check_proof(report, proof_file(case.sealed, case.draft.tree, no))
        assert proof["balances"] == [str(amount + amount // 3) for amount in row]
    assert sum(map(int, report.body["tree"]["sums"])) == sum(
        amount + amount // 3 for row in balances for amount in row
    )


@functools.cache
def published() -> tuple[bytes, verify.Report, bytes]:
    case = cases.case()
    proof = proof_file(case.sealed, case.draft.tree, 2)
    return case.sealed.data, check_report(case.sealed.data), proof


def must_be_refuted(name: str, data: bytes) -> None:
    check = check_report if name == "report" else functools.partial(check_proof, published()[1])
    with pytest.raises(Refuted):
        check(data)


def honest(name: str) -> bytes:
    report, _, proof = published()
    return report if name == "report" else proof


@pytest.mark.parametrize("name", ["report", "proof"])
def test_every_byte_matters(name: str) -> None:
    data = honest(name)
    for place in range(len(data)):
        for change in (1, 0x20):
            changed = bytearray(data)
            changed[place] ^= change
            must_be_refuted(name, bytes(changed))


@pytest.mark.parametrize("name", ["report", "proof"])
def test_no_byte_can_be_left_out_or_slipped_in(name: str) -> None:
    data = honest(name)
    for place in range(len(data)):
        without = data[:place] + data[place + 1 :]
        must_be_refuted(name, without)
        must_be_refuted(name, data[:place] + b" " + data[place:])
    must_be_refuted(name, data + b" ")
    must_be_refuted(name, data + data)


@settings(max_examples=300)
@given(st.sampled_from(["report", "proof"]), st.integers(0, 10**6), st.integers(1, 255))
def test_any_other_value_of_any_byte_is_refuted(name: str, place: int, change: int) -> None:
    changed = bytearray(honest(name))
    changed[place % len(changed)] ^= change
    must_be_refuted(name, bytes(changed))


def texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        for name in value:
            yield from texts(value[name], (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))
    else:
        yield path


def altered(text: str) -> str:
    """Return another text of the same form: the next digit or letter at its end."""
    follow = {"9": "8", "f": "e", "Z": "Y", "z": "y", "0": "1"}
    last = text[-1:] or "x"
    return text[:-1] + follow.get(last, chr(ord(last) + 1) if text else "x")


def alter(path: tuple[str | int, ...]) -> Any:
    def change(body: dict[str, Any]) -> None:
        target: Any = body
        for step in path[:-1]:
            target = target[step]
        assert target[path[-1]] != altered(target[path[-1]])
        target[path[-1]] = altered(target[path[-1]])

    return change


def accepted_after_a_change(*, sign_again: bool) -> set[str]:
    """Return which fields, altered one at a time under a right hash, still give a valid report."""
    data = published()[0]
    accepted = set()
    for path in texts(json.loads(data)["body"]):
        changed = cases.resealed(data, alter(path), sign_again=sign_again)
        assert changed != data
        try:
            check_report(changed)
        except Refuted:
            continue
        accepted.add(".".join(str(step) for step in path if isinstance(step, str)))
    return accepted


def test_without_the_keys_no_field_can_be_changed_under_a_right_hash() -> None:
    assert accepted_after_a_change(sign_again=False) == set()


def test_with_the_keys_only_plain_statements_can_be_told_otherwise() -> None:
    # Nothing offline can contradict these two; everything with a number in it is bound by another.
    assert accepted_after_a_change(sign_again=True) == {"addresses.encumbrance", "in_flight.id"}
