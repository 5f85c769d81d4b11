"""A new chain that answers nothing fails every fact, by what the fact says and not by accident."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from chains.base import Chain
from tests.conformance.skeleton import build, source

HERE = Path(__file__).parent
RIGHT = re.compile(
    r"AssertionError|assert |Failed: DID NOT RAISE (Refused|Unavailable|Corrupt)|Corrupt"
)
"""How a fact fails that is not true; whatever else is raised is a mistake of the facts."""

REASONS = {
    "test_a_node_of_another_network_is_corrupt": "'' != ''",
    "test_a_test_network_says_so_and_names_its_curve": "'' in {",
    "test_there_is_no_block_above_the_head": "None is not None",
    "test_a_bumped_rate_is_higher_and_stays_below_the_cap": "0 > 0",
    "test_bytes_that_are_no_payload_are_undecodable": "DID NOT RAISE Refused",
    "test_what_is_no_destination_is_refused_with_its_reason": "DID NOT RAISE Refused",
    "test_only_the_senders_low_signature_of_this_payload_is_taken": "DID NOT RAISE Refused",
    "test_the_same_bytes_again_are_already_known": "ACCEPTED",
    "test_a_spend_lands_as_built_and_its_fee_is_what_the_sender_lost": "(False, None)",
    "test_state_after_a_block_nobody_made_is_unavailable": "AssertionError",
    "test_a_nonce_gap_waits_until_it_is_filled": "0 == 2",
    "test_a_coin_that_nobody_ever_saw_is_unavailable": "DID NOT RAISE Unavailable",
}
"""Of some facts, what is missed first."""


def results(folder: Path) -> dict[str, tuple[str, str]]:
    """Run every fact over the skeleton; return how each ended and with which words."""
    report = folder / "report.xml"
    facts = sorted(str(path) for path in HERE.glob("test_every_chain*.py"))
    command = [
        sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "tests.conformance.only_skeleton",
        "-p", "no:cacheprovider", f"--junitxml={report}", *facts,
    ]  # fmt: skip
    subprocess.run(command, cwd=HERE.parents[1], capture_output=True, check=False, timeout=300)
    found = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        ended = [part for part in case if part.tag in ("failure", "error", "skipped")]
        kind = ended[0].tag if ended else "passed"
        found[case.attrib["name"]] = (kind, ended[0].attrib.get("message", "") if ended else "")
    return found


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    return results(tmp_path_factory.mktemp("skeleton"))


def test_a_skeleton_has_all_that_the_seam_asks_for() -> None:
    made = build()
    names = {name for name in dir(Chain) if not name.startswith("_")}
    assert names <= set(dir(made))
    for name in names:
        wanted = inspect.getattr_static(Chain, name)
        if inspect.isfunction(wanted):
            given = inspect.signature(inspect.getattr_static(made, name)).parameters
            assert list(given) == list(inspect.signature(wanted).parameters), name
    assert "class Skeleton" in source()


def test_no_fact_holds_for_a_chain_that_answers_nothing(
    ended: dict[str, tuple[str, str]],
) -> None:
    assert len(ended) > 60
    wrong = {name: words for name, words in ended.items() if words[0] != "failure"}
    assert not wrong


def test_every_fact_fails_by_what_it_says(ended: dict[str, tuple[str, str]]) -> None:
    accidents = {name: words for name, (_, words) in ended.items() if not RIGHT.search(words)}
    assert not accidents


@pytest.mark.parametrize("fact", REASONS)
def test_a_fact_names_what_is_missing(fact: str, ended: dict[str, tuple[str, str]]) -> None:
    words = [said for name, (_, said) in ended.items() if name.startswith(fact)]
    assert words
    assert all(REASONS[fact] in said for said in words), words
