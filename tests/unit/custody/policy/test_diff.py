"""What a new version changes: in the text, and for whose payments."""

from __future__ import annotations

import pytest

from app.toml_text import toml_text
from custody.policy.diff import Shift, TextChange, shifts, text_changes
from custody.policy.document import parse_policy
from custody.policy.ease import Direction, direction
from custody.policy.rules import Policy
from tests.unit.custody.policy.misconfigured import (
    MISCONFIGURED,
    Change,
    at,
    bucket,
    copied,
    deny,
    good,
    rule,
    without,
)
from tests.unit.custody.policy.test_check import WORLD


def changed(change: Change) -> tuple[Policy, Policy]:
    """Return the good policy and a changed one."""
    page = good()
    change(page)
    return parse_policy(toml_text(good()).encode()), parse_policy(toml_text(page).encode())


def shifted(change: Change) -> dict[tuple[str, str], Shift]:
    """Return what is answered differently by (before, after)."""
    return {(one.before, one.after): one for one in shifts(*changed(change), WORLD)}


def test_nothing_changes_between_equal_versions() -> None:
    same = changed(at("issued_ns", value=good()["issued_ns"] + 1))
    assert text_changes(*same) == ()
    assert shifts(*same, WORLD) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            rule("small-known", max_usd="2000"),
            TextChange("rule small-known", "usd", "usd < 1000", "usd < 2000"),
        ),
        (
            rule("medium", quorum="3 of officers"),
            TextChange("rule medium", "quorum", "2 of officers", "3 of officers"),
        ),
        (rule("large", delay_s=60), TextChange("rule large", "delay", "3600 s", "60 s")),
        (
            bucket("customer-day", cap="1"),
            TextChange("bucket customer-day", "cap", "100000", "1"),
        ),
        (
            at("groups", "compliance", "persons", value=["kim"]),
            TextChange("group compliance", "persons", "kim lou", "kim"),
        ),
        (
            at("groups", "spare", value={"persons": ["ada"]}),
            TextChange("group spare", "persons", "", "ada"),
        ),
        (
            at("price", "stale_after_s", value=60),
            TextChange("price", "stale_after_s", "900 s", "60 s"),
        ),
        (
            at("publish", "delay_s", value=60),
            TextChange("publish", "delay_s", "86400 s", "60 s"),
        ),
        (
            rule("medium", in_book=None),
            TextChange("rule medium", "in_book", "true", ""),
        ),
    ],
)
def test_a_changed_line_is_told(change: Change, expected: TextChange) -> None:
    assert text_changes(*changed(change)) == (expected,)


def test_what_comes_and_goes_and_moves_is_told() -> None:
    (gone,) = text_changes(*changed(without("denies", "no-foreign-contracts")))
    assert (gone.place, gone.what, gone.after) == ("deny no-foreign-contracts", "removed", "")
    assert "destination_kinds contract" in gone.before
    (new,) = text_changes(*changed(copied("rules", "medium", before="large")))
    assert (new.place, new.what, new.before) == ("rule added", "added", "")
    assert "quorum 2 of officers" in new.after

    def last_first(page: dict[str, list[object]]) -> None:
        page["rules"].insert(0, page["rules"].pop())

    (moved,) = text_changes(*changed(last_first))
    assert (moved.place, moved.what) == ("rules", "order")
    assert moved.before.startswith("own-transfers")
    assert moved.after.startswith("the-rest own-transfers")


def test_whose_payments_become_easier_or_harder_is_told_with_an_example() -> None:
    wider = shifted(rule("small-known", max_usd="2000"))
    (found,) = wider.values()
    assert (found.before, found.after) == (
        "rule medium: 2 of officers",
        "allowed by rule small-known",
    )
    assert found.direction is Direction.LOOSER
    assert ", 1000 USD, in the address book for 86400 s" in found.example
    tighter = shifted(deny("no-foreign-contracts", destination_kinds=["contract", "external"]))
    assert Direction.LOOSER not in {one.direction for one in tighter.values()}
    assert ("allowed by rule small-known", "blocked by deny no-foreign-contracts") in tighter
    longer = shifted(rule("large", delay_s=7_200))
    assert [one.direction for one in longer.values()] == [Direction.STRICTER]
    mixed = shifted(rule("large", quorum="4 of officers", delay_s=0))
    assert {one.direction for one in mixed.values()} == {Direction.OTHER}


def test_a_moved_rule_that_decides_nothing_else_changes_the_text_only() -> None:
    def swap(page: dict[str, list[object]]) -> None:
        page["rules"][0], page["rules"][1] = page["rules"][1], page["rules"][0]

    assert [one.what for one in text_changes(*changed(swap))] == ["order"]
    assert shifted(swap) == {}


def test_every_misconfiguration_that_is_a_policy_differs_from_the_good_one() -> None:
    seen = 0
    for name, change, code, _ in MISCONFIGURED:
        if code != "refused":
            assert text_changes(*changed(change)), name
            seen += 1
    assert seen > 40


def test_fewer_persons_and_less_delay_are_looser() -> None:
    assert direction((2, 5), (1, 5)) is Direction.LOOSER
    assert direction((2, 5), (3, 6)) is Direction.STRICTER
    assert direction((2, 5), (1, 6)) is Direction.OTHER
    assert direction(None, (9, 9)) is Direction.LOOSER
    assert direction((0, 0), None) is Direction.STRICTER
    assert direction(None, None) is Direction.OTHER
