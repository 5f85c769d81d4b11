"""The guide for officers names every code there is, and what it shows can be read."""

from __future__ import annotations

import re
from pathlib import Path

from core.clock import DAY_NS
from custody.policy.document import parse_policy

ROOT = Path(__file__).parents[4]
GUIDE = (ROOT / "docs" / "policy.md").read_text("utf-8")


def codes_in(*names: str) -> set[str]:
    """Return the codes that files of the policy room give."""
    text = "".join((ROOT / "custody" / "policy" / name).read_text("utf-8") for name in names)
    return set(re.findall(r'(?:error|warning)\(\s*"([a-z_]+)"', text))


def test_the_guide_names_every_flaw() -> None:
    codes = codes_in("check.py", "check_parts.py")
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in GUIDE} == set()


def test_the_guide_names_the_codes_of_decisions() -> None:
    own = ("undecodable", "effects_differ", "no_rule", "above_cap", "velocity", "missing_field")
    assert [code for code in (*own, "quorum_unreachable") if f"`{code}`" not in GUIDE] == []


def test_the_pieces_that_the_guide_shows_are_one_policy() -> None:
    pieces = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    assert len(pieces) == 3
    more = "".join(
        f'[groups.{name}]\npersons = ["{name}-1", "{name}-2", "{name}-3"]\n'
        for name in ("board", "compliance")
    )
    policy = parse_policy((pieces[0] + more + pieces[1] + pieces[2]).encode())
    (rule,), (bucket,) = policy.rules, policy.buckets
    assert (rule.id, rule.expiry_ns) == ("medium", DAY_NS)
    assert rule.exclude == {"eve"}
    assert (bucket.id, bucket.window_ns) == ("customer-day", DAY_NS)
