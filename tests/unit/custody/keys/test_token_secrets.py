"""S07: no private value comes out of the token, and a token with a weak key is not served from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devnet.softhsm import SoftHsm, softhsm
from tests.support import token_thieves as thieves
from tests.support.tokens import tell


@pytest.fixture
def hsm() -> Iterator[SoftHsm]:
    with softhsm() as made:
        yield made


def test_no_attribute_wrap_or_unwrap_gives_a_key_away_even_with_the_pin(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    told = tell(thieves.steal, hsm, tmp_path)
    assert told["objects"] >= 6, "KEK, MAC, two hot, deposits"
    assert told["attributes"] > 60
    for way in ("read", "changed", "wrapped", "unwrapped"):
        assert told[way] == [], way
    assert len(told["control"]) >= 2, "the same attempts work on a key that may be read"


def test_a_token_with_a_weak_key_is_not_served_from(hsm: SoftHsm, tmp_path: Path) -> None:
    told = tell(thieves.weak_tokens, hsm, tmp_path)
    assert (told.pop("sound"), told.pop("sound again")) == ("done", "done")
    assert set(told) == set(thieves.WEAK)
    for name, words in told.items():
        assert words.startswith("Refused weak_key: the token's key 'x': "), (name, words)


def test_a_token_whose_keys_could_be_made_extractable_is_not_served_from(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    told = tell(thieves.a_token_that_lets_attributes_change, hsm, tmp_path)
    assert told["start"].startswith("Refused weak_key")
    assert told["start"].endswith("can be changed")


def test_a_wrapping_key_that_others_made_is_not_used(hsm: SoftHsm, tmp_path: Path) -> None:
    told = tell(thieves.a_wrapping_key_of_somebody_else, hsm, tmp_path)
    assert told["make"].startswith("Refused weak_key: the key-encryption key unwraps with")
    assert told["sign"].startswith("Refused unknown_key")
