"""The written policies give each role what the tests gave it, and no more."""

from __future__ import annotations

import re
from pathlib import Path

from custody.keys.signers.base import ACCOUNTS
from custody.keys.signers.vault import account_key

FOLDER = Path(__file__).resolve().parents[3] / "infra" / "vault"
RULE = re.compile(r'^path "([^"]+)"\s+\{ capabilities = \[([^\]]+)\] \}$', re.MULTILINE)


def rules(name: str) -> dict[str, set[str]]:
    text = (FOLDER / f"{name}.hcl").read_text().replace("WALLET", "treasury")
    found = {path: set(re.findall(r"\w+", what)) for path, what in RULE.findall(text)}
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(found) == len(lines)
    return found


def test_the_signer_opens_its_seed_and_signs_and_nothing_else() -> None:
    verbs = {f"transit/{verb}/treasury-seeds" for verb in ("encrypt", "decrypt")}
    keys = {f"transit/sign/{account_key('treasury', name).name}" for name in ACCOUNTS}
    assert set(rules("signer")) == verbs | keys
    assert set.union(*rules("signer").values()) == {"update"}


def test_the_operator_makes_keys_and_rotates_only_the_one_that_seals() -> None:
    found = rules("operator")
    assert not any(verb in path for path in found for verb in ("sign/", "crypt/", "export", "*"))
    rotated = {path for path in found if path.endswith(("/rotate", "/config"))}
    assert rotated == {f"transit/keys/treasury-seeds/{verb}" for verb in ("rotate", "config")}
    assert not any("delete" in what for what in found.values())
