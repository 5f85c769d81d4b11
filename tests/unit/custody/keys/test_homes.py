"""Where a ceremony's seed goes: a keystore, Vault, or a split between two boxes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.entropy import SeededEntropy
from core.errors import Reason, Refused
from custody.keys.ceremony import Home
from custody.keys.homes import SealedHome, SplitHome
from custody.keys.key_facts import differences, public_keys
from custody.keys.signers.sealed import open_seed, open_split_seed
from tests.support.vault import VaultPlace, double_server
from tests.unit.custody.keys.people import NETWORKS, People, ceremony


def held_in(home: Home) -> None:
    """Hold a ceremony with this home; its keys are those of the transcript."""
    outcome = ceremony(People(), home).hold()
    found = public_keys(home.open, NETWORKS)
    assert differences(outcome.keys.accounts, found.accounts) == []
    assert outcome.transcript.transcript.home == home.about
    assert home.for_main_networks


def test_a_seed_goes_to_vault_and_opens_for_its_wallet_only(tmp_path: Path) -> None:
    place = VaultPlace(tmp_path, double_server())
    path = tmp_path / "seed"
    with place.box() as box:
        home = SealedHome(path, place.wallet, box, box_name="Vault")
        held_in(home)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        seed = open_seed(path, place.wallet, box)
        assert seed.reveal() not in path.read_bytes()
        assert seed.reveal().hex().encode() not in path.read_bytes()
        with pytest.raises(Refused) as caught:
            open_seed(path, "another", box)
        assert caught.value.reason is Reason.UNDECODABLE
        with pytest.raises(Refused) as caught:
            SealedHome(path, place.wallet, box, box_name="Vault")
        assert caught.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT


def test_a_split_seed_needs_both_boxes(tmp_path: Path) -> None:
    places = [VaultPlace(tmp_path / name, double_server()) for name in folders(tmp_path)]
    path = tmp_path / "seed"
    with places[0].box() as one, places[1].box() as other:
        home = SplitHome(path, "wallet", first=one, second=other, entropy=SeededEntropy(1))
        held_in(home)
        with pytest.raises(Refused):
            open_split_seed(path, "wallet", first=one, second=one)


def folders(parent: Path) -> list[str]:
    """Make two folders and return their names."""
    names = ["module", "vault"]
    for name in names:
        (parent / name).mkdir()
    return names
