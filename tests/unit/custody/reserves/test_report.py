"""Reports are frozen bytes in a chain, and the leaves rebuild what was published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Corrupt, Reason, Refused
from custody.reserves import verify
from custody.reserves.report import (
    NO_REPORT,
    Link,
    Sealed,
    last,
    leaves_file,
    proof_file,
    read_leaves,
    read_sealed,
    seal,
    write,
)
from tests.unit.custody.reserves import cases

DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def case() -> cases.Case:
    return cases.case()


@pytest.fixture(scope="module")
def second(case: cases.Case) -> cases.Case:
    return cases.case(header=cases.header(case.sealed.link, at_ns=cases.DATE_NS + DAY_NS))


def test_a_report_that_would_be_refuted_is_never_sealed(case: cases.Case) -> None:
    proofs = [bytes(65) for _ in case.draft.read()["addresses"]]
    with pytest.raises(Corrupt, match="does not verify"):
        seal(case.draft, proofs)


def test_a_tree_of_another_snapshot_is_never_sealed(case: cases.Case, second: cases.Case) -> None:
    control = json.loads(case.sealed.data)["control"]
    mixed = replace(case.draft, tree=second.draft.tree)
    with pytest.raises(Corrupt, match="another snapshot"):
        seal(mixed, [bytes.fromhex(each) for each in control])


def test_a_sealed_report_reads_back_as_it_was(case: cases.Case) -> None:
    assert read_sealed(case.sealed.data) == case.sealed
    with pytest.raises(Corrupt):
        read_sealed(case.sealed.data[:-1])


def test_an_auditor_rebuilds_the_root_from_the_leaves(case: cases.Case) -> None:
    data = leaves_file(case.sealed, case.draft.tree)
    tree = read_leaves(case.sealed, data)
    assert tree.commitment == case.draft.tree.commitment
    assert proof_file(case.sealed, tree, 2) == proof_file(case.sealed, case.draft.tree, 2)


def test_changed_missing_repeated_or_foreign_leaves_are_corrupt(
    case: cases.Case, second: cases.Case
) -> None:
    honest = json.loads(leaves_file(case.sealed, case.draft.tree))
    leaves = honest["leaves"]
    lies = [
        leaves[1:],
        [*leaves, leaves[0]],
        [{**leaves[0], "customer": "77"}, *leaves[1:]],
        [{**leaves[0], "balances": ["1", "1"]}, *leaves[1:]],
        [{**leaves[0], "balances": "1"}, *leaves[1:]],
    ]
    for lie in lies:
        with pytest.raises(Corrupt):
            read_leaves(case.sealed, verify.canonical({**honest, "leaves": lie}))
    with pytest.raises(Corrupt, match="another report"):
        read_leaves(second.sealed, verify.canonical(honest))


def test_v03_there_are_as_many_leaves_as_customers_with_something(case: cases.Case) -> None:
    leaves = json.loads(leaves_file(case.sealed, case.draft.tree))["leaves"]
    assert sorted(leaf["customer"] for leaf in leaves) == ["1", "2", "3"]
    assert len({leaf["salt"] for leaf in leaves}) == 3


def test_reports_are_published_in_order_and_twice_is_once(
    tmp_path: Path, case: cases.Case, second: cases.Case
) -> None:
    assert last(tmp_path) == NO_REPORT
    with pytest.raises(Refused) as refused:
        write(tmp_path, second.sealed)
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION
    path = write(tmp_path, case.sealed)
    assert write(tmp_path, case.sealed) == path
    assert path.read_bytes() == case.sealed.data
    assert last(tmp_path) == Link(1, case.sealed.link.hash)
    write(tmp_path, second.sealed)
    assert last(tmp_path) == second.sealed.link
    assert {each.suffix for each in tmp_path.iterdir()} == {".json"}


def test_a_number_is_published_once(tmp_path: Path, case: cases.Case) -> None:
    write(tmp_path, case.sealed)
    other: Sealed = cases.case(header=cases.header(entity="Rival")).sealed
    with pytest.raises(Refused) as refused:
        write(tmp_path, other)
    assert refused.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT


def test_a_report_that_vanished_or_changed_is_found(
    tmp_path: Path, case: cases.Case, second: cases.Case
) -> None:
    first = write(tmp_path, case.sealed)
    write(tmp_path, second.sealed)
    first.write_bytes(case.sealed.data.replace(b'"Demo"', b'"Dema"'))
    with pytest.raises(Corrupt, match="not what its hash says"):
        last(tmp_path)
    first.unlink()
    with pytest.raises(Corrupt, match="does not follow"):
        last(tmp_path)


def test_a_half_written_report_is_not_there(tmp_path: Path, case: cases.Case) -> None:
    (tmp_path / "0000000001.partial").write_bytes(case.sealed.data[:100])
    assert last(tmp_path) == NO_REPORT
    write(tmp_path, case.sealed)
    assert last(tmp_path) == case.sealed.link
