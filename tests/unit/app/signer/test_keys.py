"""Every backend opens from settings, says what is missing, and exports what the platform needs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.settings_signer import (
    BACKENDS,
    KeystoreSettings,
    SignerSettings,
    TokenSettings,
    VaultSettings,
)
from app.settings_values import SettingsError
from app.signer_home import account_line
from app.signer_keys import open_keys
from core.entropy import SeededEntropy, SystemEntropy
from core.ids import ChainId
from custody.keys.secret import Secret
from custody.keys.signers.base import KeyRef
from custody.keys.signers.keystore import CHEAP, create_keystore
from custody.keys.signers.local import LocalSigner
from custody.keys.signers.pkcs11_box import TokenBox
from custody.keys.signers.sealed import seal_seed, seal_split_seed
from tests.support.tokens import process_token
from tests.support.vault import VaultPlace, double_server
from tests.unit.custody.keys.networks import traits

SEED = Secret(SeededEntropy(1, "backends").token_bytes(32))
COIN, EDWARDS = ChainId("coin"), ChainId("edwards")
NETWORKS = {COIN: traits(chain=COIN), EDWARDS: traits(chain=EDWARDS, curve="ed25519")}


def base(folder: Path, backend: str) -> SignerSettings:
    """Return settings that name a backend and nothing of it."""
    return SignerSettings(
        socket=folder / "sock", accounts_file=folder / "a", folder=folder / "own", backend=backend
    )


def local(folder: Path) -> SignerSettings:
    """Make a keystore."""
    (folder / "phrase").write_bytes(b"correct horse\n")
    (folder / "phrase").chmod(0o600)
    entropy, phrase = SeededEntropy(1, "keystore"), Secret(b"correct horse")
    create_keystore(folder / "keys", phrase, SEED, entropy=entropy, cost=CHEAP)
    keystore = KeystoreSettings(file=folder / "keys", passphrase_file=folder / "phrase")
    return replace(base(folder, "local"), local=keystore)


def token() -> TokenSettings:
    """Return this process's token in software."""
    hsm = process_token()
    return TokenSettings(module=hsm.module, label=hsm.label, pin_file=hsm.pin_file)


def pkcs11(folder: Path) -> SignerSettings:
    """Use the token alone."""
    return replace(base(folder, "pkcs11"), pkcs11=token())


def place_of(folder: Path, place: VaultPlace) -> VaultSettings:
    """Return the settings of a place in a Vault server."""
    role = place.role()
    return VaultSettings(
        address=place.server.address, role_id_file=role.role_id_file,
        secret_id_file=role.secret_id_file, wallet=place.wallet, key=place.sealing.name,
        seed_file=folder / "sealed",
    )  # fmt: skip


def vault(folder: Path) -> SignerSettings:
    """Have Vault seal a seed."""
    place = VaultPlace(folder, double_server())
    with place.box() as box:
        seal_seed(folder / "sealed", place.wallet, SEED, box)
    return replace(base(folder, "vault"), vault=place_of(folder, place))


def both(folder: Path) -> SignerSettings:
    """Split a seed between the token and Vault."""
    place, found = VaultPlace(folder, double_server()), token()
    assert found.module is not None
    assert found.pin_file is not None
    entropy = SystemEntropy()
    module = TokenBox.open_token(found.module, found.label, found.pin_file, entropy=entropy)
    with contextlib.closing(module), place.box() as box:
        seal_split_seed(
            folder / "sealed", place.wallet, SEED, first=module, second=box, entropy=entropy
        )
    return replace(base(folder, "both"), pkcs11=found, vault=place_of(folder, place))


MAKERS: dict[str, Callable[[Path], SignerSettings]] = {
    "local": local, "pkcs11": pkcs11, "vault": vault, "both": both,
}  # fmt: skip


@pytest.mark.parametrize("backend", MAKERS)
def test_a_backend_opens_from_its_settings_and_exports_keys(tmp_path: Path, backend: str) -> None:
    networks = {COIN: NETWORKS[COIN]} if backend == "both" else NETWORKS
    signers = open_keys(MAKERS[backend](tmp_path), networks)
    assert set(signers) == set(networks)
    for name, signer in signers.items():
        line = account_line(networks[name], "deposits", signer, 3)
        assert bool(line.xpub) is (len(line.public_keys) == 0)
        if line.public_keys:
            assert list(line.public_keys) == [
                signer.public_key(KeyRef("deposits", index)) for index in range(3)
            ]
        assert len(account_line(networks[name], "hot", signer, 3).public_keys) in (0, 1)
        signer.check()
    if backend != "pkcs11":
        expected = LocalSigner(SEED, NETWORKS[COIN]).public_key(KeyRef("hot", 0))
        assert signers[COIN].public_key(KeyRef("hot", 0)) == expected
    for signer in signers.values():
        signer.close()


@pytest.mark.parametrize("backend", MAKERS)
def test_a_backend_without_its_settings_says_which(tmp_path: Path, backend: str) -> None:
    with pytest.raises(SettingsError, match=r"signer\.\w+\.\w+: the signer needs it"):
        open_keys(base(tmp_path, backend), NETWORKS)


def test_every_backend_is_here() -> None:
    assert set(MAKERS) == set(BACKENDS)
