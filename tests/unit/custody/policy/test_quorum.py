"""Quorums: how they are written, and that a person counts once."""

from __future__ import annotations

import pytest

from core.errors import Reason, Refused
from custody.policy.quorum import PERSONS_MAX, Quorum

GROUPS = {
    "officers": {"ada", "ben", "eve"},
    "compliance": {"kim", "ada"},
    "board": {"max", "nia", "oda"},
}


@pytest.mark.parametrize(
    ("text", "persons", "is_met"),
    [
        ("2 of officers", "ada ben", True),
        ("2 of officers", "ada kim", False),
        ("1 of officers and 1 of compliance", "ada", False),
        ("1 of officers and 1 of compliance", "ada kim", True),
        ("1 of officers and 1 of compliance", "ada ben", True),
        ("1 of officers and 1 of compliance", "ben eve", False),
        ("1 of officers and 1 of officers", "ben", False),
        ("1 of officers and 1 of officers", "ben eve", True),
        ("2 of officers and (1 of compliance or 3 of board)", "ada ben", False),
        ("2 of officers and (1 of compliance or 3 of board)", "ada ben eve", True),
        ("2 of officers and (1 of compliance or 3 of board)", "ben eve max nia oda", True),
        ("1 of board or 1 of officers and 1 of compliance", "max", True),
        ("(1 of board or 1 of officers) and 1 of compliance", "max", False),
        ("1 of nobody", "ada ben eve kim max", False),
    ],
)
def test_a_quorum_is_met_by_distinct_persons(text: str, persons: str, is_met: bool) -> None:
    assert Quorum.parse(text).is_met(GROUPS, persons.split()) is is_met


def test_the_same_person_given_twice_counts_once() -> None:
    assert not Quorum.parse("2 of officers").is_met(GROUPS, ["ada", "ada"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "officers",
        "2 officers",
        "0 of officers",
        "02 of officers",
        "-1 of officers",
        "1 of officers and",
        "1 of officers 1 of board",
        "(1 of officers",
        "1 of officers)",
        "1 of and",
        "1 of Officers",
        "1 of officers or or 1 of board",
        "65 of officers",
        "64 of officers and 1 of board",
        "１ of officers",
        "1 of a " + "and 1 of a " * 60,
        " and ".join(["(1 of a or 1 of b)"] * 7),
    ],
)
def test_what_is_no_quorum_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        Quorum.parse(text)
    assert caught.value.reason is Reason.MALFORMED


def test_a_quorum_tells_its_groups_and_the_fewest_persons() -> None:
    quorum = Quorum.parse("2 of officers and (1 of compliance or 3 of board)")
    assert quorum.groups == {"officers", "compliance", "board"}
    assert quorum.least == 3


def test_a_large_quorum_is_judged_quickly() -> None:
    persons = [f"p{n}" for n in range(256)]
    quorum = Quorum.parse(f"{PERSONS_MAX // 2} of a and {PERSONS_MAX // 2} of b")
    assert quorum.is_met({"a": persons, "b": persons}, persons)
    assert not quorum.is_met({"a": persons[:40], "b": persons[:40]}, persons)
