"""Forty-odd misconfigurations, each one change of a good policy, are all found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.toml_text import toml_text
from core.errors import Reason, Refused
from custody.policy.cells import CELLS_MAX, lines
from custody.policy.check import check_policy
from custody.policy.document import parse_policy
from custody.policy.fields import BadPolicy
from custody.policy.flaws import Severity
from custody.policy.world import Asset, World
from tests.support.large_policy import large_policy
from tests.unit.custody.policy.misconfigured import (
    MISCONFIGURED,
    Change,
    Table,
    deny,
    good,
    without,
)

WORLD = World(
    assets=(
        Asset("devnet", "native", 18, is_priced=True),
        Asset("devnet", "0xt0", 6, is_priced=True),
        Asset("second", "native", 18, is_priced=True),
    ),
    wallets=frozenset({"hot", "cold", "treasury", "deposits", "gas"}),
    officers=frozenset({"ada", "ben", "eve", "kim", "lou", "max", "nia", "oda"}),
    threshold=2,
)


def found_in(page: Table, world: World = WORLD) -> set[tuple[str, str]]:
    """Return (code, place) of every flaw; a document that is refused has the code `refused`."""
    try:
        policy = parse_policy(toml_text(page).encode(), name="x")
    except BadPolicy as refusal:
        return {("refused", problem.split(": ", 1)[1]) for problem in refusal.problems}
    return {(flaw.code, flaw.place) for flaw in check_policy(policy, world)}


def test_the_good_policy_is_clean() -> None:
    assert found_in(good()) == set()


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [one[1:] for one in MISCONFIGURED],
    ids=[m[0] for m in MISCONFIGURED],
)
def test_a_misconfiguration_is_found(change: Change, code: str, place: str) -> None:
    page = good()
    change(page)
    assert page != good()
    found = found_in(page)
    assert (code, place) in found


def test_there_are_forty_misconfigurations_and_more() -> None:
    assert len({name for name, *_ in MISCONFIGURED}) == len(MISCONFIGURED) >= 40
    assert len({code for _, _, code, _ in MISCONFIGURED}) >= 35


def test_an_asset_without_a_price_is_found_wherever_usd_counts() -> None:
    blind = Asset("devnet", "0xnew", 8, is_priced=False)
    found = found_in(good(), replace(WORLD, assets=(*WORLD.assets, blind)))
    assert {where for code, where in found if code == "no_price_source"} == {
        "deny nothing-above-five-million",
        "rule small-known",
        "rule medium",
        "bucket customer-day",
        "bucket everything-day",
        "bucket own-day",
        "bucket destination-hour",
    }


def test_an_officer_who_left_the_roster_is_found() -> None:
    found = found_in(good(), replace(WORLD, officers=WORLD.officers - {"ada"}))
    assert ("not_an_officer", "group officers") in found
    found = found_in(good(), replace(WORLD, officers=WORLD.officers - {"ada", "ben"}))
    assert ("quorum_unreachable", "rule medium") in found
    found = found_in(good(), replace(WORLD, threshold=3))
    assert ("below_threshold", "rule medium") in found


def test_an_address_that_is_never_written_so_is_found() -> None:
    def spelled(text: str) -> str:
        if not text.lower().startswith("0x"):
            raise Refused(Reason.INVALID_ADDRESS, text)
        return "0x" + text[2:].upper()

    world = replace(WORLD, canonical={"devnet": spelled, "second": spelled})
    flaw = ("odd_address", "deny no-foreign-contracts")
    page = good()
    for address, is_odd in (("0xab", True), ("x", True), ("0XAB", True), ("0xAB", False)):
        deny("no-foreign-contracts", destinations=[address])(page)
        assert (flaw in found_in(page, world)) is is_odd
        assert flaw not in found_in(page)
    some = replace(WORLD, canonical={"devnet": lambda text: text, "second": spelled})
    assert flaw not in found_in(page, some)


def test_flaws_have_an_example_and_errors_stand_first() -> None:
    page = good()
    without("rules", "the-rest")(page)
    flaws = check_policy(parse_policy(toml_text(page).encode()), WORLD)
    gap = next(flaw for flaw in flaws if flaw.code == "gap")
    assert gap.example.startswith("withdrawal by customer")
    severities = [flaw.severity for flaw in flaws]
    assert severities == sorted(severities, key=(Severity.ERROR, Severity.WARNING).index)


def test_a_large_policy_is_checked_within_the_bound_of_cells() -> None:
    policy = large_policy()
    assets = tuple(Asset("devnet", f"0xa55e7{n}", 18, is_priced=True) for n in range(20))
    world = replace(WORLD, assets=assets)
    count = sum(len(line.cells) for line in lines(policy, world))
    assert 10_000 < count < CELLS_MAX
    codes = {flaw.code for flaw in check_policy(policy, world)}
    assert "too_large" not in codes
    assert {"gap", "not_an_officer"} <= codes
