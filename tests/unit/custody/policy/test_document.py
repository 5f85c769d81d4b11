"""A document is read strictly: every fault is named with file, line, place and reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from core.errors import Reason
from custody.policy.document import DOCUMENT_BYTES_MAX, parse_policy
from custody.policy.fields import BadPolicy
from custody.policy.rules import Per

EXAMPLE = Path(__file__).parents[4] / "docs" / "policy.example.toml"


def text() -> str:
    """Return the example of the documentation."""
    return EXAMPLE.read_text("ascii")


def line_of(what: str) -> int:
    """Return the number of the line that has a text."""
    (number,) = (n for n, line in enumerate(text().splitlines(), 1) if what in line)
    return number


def complaints(body: str) -> tuple[str, ...]:
    """Return what is wrong with a document."""
    with pytest.raises(BadPolicy) as caught:
        parse_policy(body.encode(), name="new.toml")
    return caught.value.problems


def test_the_example_is_read_and_its_hash_is_that_of_its_bytes() -> None:
    data = EXAMPLE.read_bytes()
    policy = parse_policy(data)
    assert policy.hash == hashlib.sha256(data).digest()
    assert (policy.serial, policy.previous, len(policy.rules)) == (1, b"", 7)
    medium = policy.rule("medium")
    assert medium is not None
    assert medium.quorum is not None
    assert medium.quorum.text == "2 of officers"
    assert policy.buckets[0].per == (Per.CUSTOMER,)
    assert policy.groups["compliance"] == {"kim", "lou"}
    assert parse_policy(data + b"# a comment makes another version\n").hash != policy.hash


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('id = "medium"', 'id = "Medium"', "rule 'Medium': id: must look like"),
        ('id = "medium"', 'id = "large"', "rule 'large': id: stands twice"),
        ('max_usd = "50000"', "max_usd = 50000", "rule 'medium': max_usd: must be a text"),
        ('max_usd = "50000"', 'max_usd = "5e4"', "rule 'medium': max_usd: must be a decimal"),
        ('max_usd = "50000"', 'max_usd = "0"', "rule 'medium': max_usd: nothing lies in"),
        ('max_usd = "50000"', 'max_usd = "1.0000001"', "rule 'medium': max_usd: has at most 6"),
        ('max_usd = "50000"', 'max_coins = "5"', "rule 'medium': max_coins: whole coins are of"),
        ('max_usd = "50000"', 'max_euro = "5"', "rule 'medium': max_euro: is not a key here"),
        ("expiry_s = 259_200", "expiry_s = 3_600", "rule 'large': delay_s: approvals expire"),
        ("expiry_s = 259_200", "expiry_s = true", "rule 'large': expiry_s: must be an integer"),
        ("expiry_s = 259_200", "expiry_s = -1", "rule 'large': expiry_s: must be at least 1"),
        ("expiry_s = 259_200", 'code = "x"', "rule 'large': code: is not a key here"),
        ('quorum = "2 of officers"', 'quorum = "2 of pirates"', "there is no group 'pirates'"),
        ('quorum = "2 of officers"', 'quorum = "two of us"', "quorum: a quorum has a number"),
        ('code = "not_foreseen"', "", "rule 'the-rest': code: is missing"),
        ('code = "not_foreseen"', 'code = "Not Foreseen"', "rule 'the-rest': code: must look"),
        ('outcome = "block"', 'outcome = "deny"', "rule 'the-rest': outcome: must be one of"),
        ('destination_kinds = ["contract"]', 'destination_kinds = ["moon"]', "'moon' is none"),
        ('kinds = ["rotation", "owner_change"]', "", "rule 'owners': kinds: is missing"),
        (
            'kinds = ["rotation", "owner_change"]',
            'kinds = ["rotation", "*"]',
            "rule 'owners': kinds: `*` stands alone",
        ),
        (
            'kinds = ["rotation", "owner_change"]',
            'kinds = ["rotation", "rotation"]',
            "rule 'owners': kinds: rotation stands twice",
        ),
        ('kinds = ["rotation", "owner_change"]', 'kinds = "*"', "kinds: must be a list"),
        ('per = ["global"]', 'per = ["global", "asset"]', "bucket 'everything-day': per: some of"),
        ('per = ["global"]', "per = []", "bucket 'everything-day': per: some of"),
        ('cap = "20000000"', 'cap = "-1"', "bucket 'everything-day': cap: must be a decimal"),
        ("window_s = 3_600", "window_s = 0", "bucket 'destination-hour': window_s: must be at"),
        ("window_s = 3_600", 'window_s = "1 h"', "window_s: must be an integer"),
        ("stale_after_s = 900", "stale_after_s = 0", "price: stale_after_s: must be at least 1"),
        ('persons = ["kim", "lou"]', 'persons = ["Kim L"]', "'Kim L' must look like"),
        ("[groups.compliance]", "[groups.and]", "a group has a lower-case name"),
        ('previous = ""', 'previous = "ab"', "previous: must look like"),
        ("issued_ns = 1_790_000_000_000_000_000", 'issued_ns = "now"', "issued_ns: must be an int"),
        ("serial = 1", "serial = 2", "previous: the first version follows none"),
    ],
)
def test_a_fault_is_named_with_its_file_line_place_and_reason(
    old: str, new: str, place: str
) -> None:
    body = text().replace(old, new)
    assert body != text()
    found = complaints(body)
    fitting = [one for one in found if place in one]
    assert fitting, found
    if text().count(old) == 1 and new and "twice" not in place:
        table = line_of(old)
        named = int(fitting[0].split(":")[1])
        assert fitting[0].startswith("new.toml:")
        assert abs(named - table) <= 3, fitting[0]


def test_the_line_is_exact() -> None:
    body = text().replace('max_usd = "50000"', 'max_usd = "-1"')
    (found,) = complaints(body)
    number = line_of('max_usd = "50000"')
    assert found.startswith(f"new.toml:{number}: rule 'medium': max_usd: ")


def test_all_faults_are_told_at_once() -> None:
    body = text().replace('max_usd = "50000"', "max_usd = 5").replace("window_s = 3_600", "")
    assert [one.split(": ")[1] for one in complaints(body)] == [
        "rule 'medium'",
        "bucket 'destination-hour'",
    ]


@pytest.mark.parametrize(
    ("body", "reason", "line"),
    [
        ("version = 2\n", Reason.UNKNOWN_VERSION, "new.toml:1:"),
        ("version = 1\nserial = = 1\n", Reason.MALFORMED, "new.toml:2:"),
        ("version = 1\n# ö\n", Reason.MALFORMED, "new.toml:2:"),
        ("version = 1\nrules = 5\n", Reason.MALFORMED, "new.toml:2:"),
        ("version = 1\nrules = [1]\n", Reason.MALFORMED, "new.toml:"),
        ("x = " + "[" * 100_000, Reason.MALFORMED, "new.toml:"),
        ("#" * (DOCUMENT_BYTES_MAX + 1), Reason.TOO_LARGE, "new.toml:1:"),
        ("", Reason.UNKNOWN_VERSION, "new.toml:1:"),
    ],
)
def test_what_is_no_policy_at_all_is_refused(body: str, reason: Reason, line: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        parse_policy(body.encode(), name="new.toml")
    assert caught.value.reason is reason
    assert any(one.startswith(line) for one in caught.value.problems), caught.value.problems


def test_every_line_left_out_is_another_policy_or_none() -> None:
    """No line of the example is decoration, and none left out makes the reader fall over."""
    lines = text().splitlines()
    whole = parse_policy(text().encode())
    read = 0
    for n, line in enumerate(lines):
        if not line.strip() or line.startswith("#"):
            continue
        body = "\n".join(lines[:n] + lines[n + 1 :]) + "\n"
        try:
            other = parse_policy(body.encode())
        except BadPolicy:
            continue
        read += 1
        assert (other.rules, other.denies, other.buckets, other.groups) != (
            whole.rules,
            whole.denies,
            whole.buckets,
            whole.groups,
        ), line
    assert read > 5
