"""On a main network a signer does not start with a roster that leaves it open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.signer_home import unfit
from core.ids import ChainId
from custody.keys.roster import Node, SpendLimit
from tests.unit.custody.keys.networks import traits
from tests.unit.custody.keys.officers import ROSTER

MAIN = traits(is_main_network=True)
NAME = MAIN.chain
LIMIT = SpendLimit(NAME, "native", 10, 100, 1, 10)


def urls(*texts: str) -> list[str]:
    roster = replace(ROSTER, nodes=(Node(NAME, texts, 1),), limits=(LIMIT,))
    return unfit(MAIN, roster)


@pytest.mark.parametrize(
    "url", ["https://node.example/key", "http://127.0.0.1:8545", "http://[::1]:8545"]
)
def test_nodes_over_https_or_on_this_machine_are_fit(url: str) -> None:
    assert urls(url) == []


@pytest.mark.parametrize(
    "url",
    ["http://node.example", "http://10.0.0.7:8545", "http://127.0.0.1.evil.example", "ws://a.b"],
)
def test_one_node_in_the_clear_is_named(url: str) -> None:
    (problem,) = urls("https://node.example", url)
    assert "in the clear" in problem
    assert url not in problem, "a URL may hold a key"


def test_a_main_network_without_limits_is_named() -> None:
    other = replace(LIMIT, chain=ChainId("another"))
    for limits in ((), (other,)):
        (problem,) = unfit(MAIN, replace(ROSTER, limits=limits))
        assert "no limits" in problem


def test_a_test_network_may_do_without() -> None:
    assert unfit(traits(), replace(ROSTER, nodes=(Node(NAME, ("http://a.b",), 1),))) == []
