"""A ceremony's seed goes where the signer will look for it, and the signer finds it there."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ceremony_home import signers_home
from app.settings_signer import KeystoreSettings, SignerSettings, TokenSettings, VaultSettings
from app.settings_values import SettingsError
from app.signer_keys import open_keys
from core.entropy import SystemEntropy
from core.errors import Reason, Refused
from custody.keys.key_facts import differences, public_keys
from custody.keys.private_file import write_private_file
from tests.support.tokens import process_token
from tests.support.vault import VaultPlace, double_server
from tests.unit.custody.keys.people import NETWORKS, People, ceremony


def signer(folder: Path, backend: str) -> SignerSettings:
    """Return settings of a signer whose keys nobody has made yet."""
    write_private_file(folder / "passphrase", b"long enough\n")
    place, hsm = VaultPlace(folder, double_server()), process_token()
    role = place.role()
    return SignerSettings(
        socket=folder / "socket",
        accounts_file=folder / "accounts.toml",
        folder=folder / "signer",
        backend=backend,
        local=KeystoreSettings(file=folder / "keystore", passphrase_file=folder / "passphrase"),
        pkcs11=TokenSettings(module=hsm.module, label=hsm.label, pin_file=hsm.pin_file),
        vault=VaultSettings(
            address=place.server.address,
            ca_file=place.server.ca_file,
            role_id_file=role.role_id_file,
            secret_id_file=role.secret_id_file,
            wallet=place.wallet,
            key=place.sealing.name,
            seed_file=folder / "seed",
        ),
    )


@pytest.mark.parametrize("backend", ["local", "vault", "both"])
def test_the_signer_opens_what_the_ceremony_stored(tmp_path: Path, backend: str) -> None:
    settings = signer(tmp_path, backend)
    with signers_home(settings, entropy=SystemEntropy()) as home:
        outcome = ceremony(People(), home).hold()
        assert outcome.transcript.transcript.home == home.about
    secp = [one for one in NETWORKS if one.traits.curve == "secp256k1"]
    opened = open_keys(settings, {one.traits.chain: one.traits for one in secp})
    found = public_keys(lambda traits: opened[traits.chain], secp)
    made = [one for one in outcome.keys.accounts if one.chain in opened]
    assert differences(made, found.accounts) == []
    with pytest.raises(Refused) as caught, signers_home(settings, entropy=SystemEntropy()):
        pass
    assert caught.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT


def test_keys_that_a_token_makes_have_no_seed_to_share(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match="keys of pkcs11 have no seed to share"),
        signers_home(signer(tmp_path, "pkcs11"), entropy=SystemEntropy()),
    ):
        pass
