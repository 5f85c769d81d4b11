"""Opens the signer's keys where the settings say they live. Only the signer's process does this."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from app.settings_signer import BACKENDS, KeystoreSettings, SignerSettings
from app.settings_values import SettingsError
from chains.base import ChainTraits
from core.entropy import SystemEntropy
from core.ids import ChainId
from custody.keys.anchor import FileAnchor
from custody.keys.attestation import AttestationKey
from custody.keys.private_file import read_private_file
from custody.keys.secret import Secret
from custody.keys.signers.base import ED25519, Signer
from custody.keys.signers.both import BothSigner
from custody.keys.signers.keystore import open_keystore
from custody.keys.signers.local import LocalSigner
from custody.keys.signers.pins import PinnedKeys
from custody.keys.signers.pkcs11 import open_pkcs11_signer
from custody.keys.signers.pkcs11_anchor import TokenAnchor, open_token_anchor
from custody.keys.signers.pkcs11_box import TokenBox
from custody.keys.signers.vault import TransitSigner, VaultSigner
from custody.keys.signers.vault_http import VaultHttp
from custody.keys.signers.vault_session import AppRole, VaultSession
from custody.keys.signers.vault_transit import TransitBox, TransitKey

Networks = Mapping[ChainId, ChainTraits]
Signers = dict[ChainId, Signer]


def open_keys(settings: SignerSettings, networks: Networks) -> Signers:
    """Open the keys of every chain.

    SettingsError: the table of the backend is not complete. Other errors as the backend.
    """
    return _BACKENDS[settings.backend](settings, networks)


def open_attestation_key(settings: SignerSettings) -> AttestationKey:
    """Open the key that attests to accounts and addresses. Errors as open_keystore."""
    return AttestationKey.open(*_keystore(settings.attestation, "signer.attestation"))


def open_anchor(settings: SignerSettings) -> TokenAnchor | FileAnchor | None:
    """Return what remembers how far the store has come, None when nothing was set up for it."""
    if settings.pkcs11.anchor:
        module, label, pin_file = token_of(settings)
        return open_token_anchor(
            module=module, label=label, pin_file=pin_file, name=settings.pkcs11.anchor
        )
    return None if settings.anchor_file is None else FileAnchor(settings.anchor_file)


def needed(value: Path | None, name: str) -> Path:
    """Return a path that must be set. SettingsError: it is not."""
    if value is None:
        raise SettingsError([f"{name}: the signer needs it"])
    return value


def _local(settings: SignerSettings, networks: Networks) -> Signers:
    seed = open_keystore(*_keystore(settings.local, "signer.local"))
    return {name: LocalSigner(seed, traits) for name, traits in networks.items()}


def _pkcs11(settings: SignerSettings, networks: Networks) -> Signers:
    module, label, pin_file = token_of(settings)
    folder = needed(settings.folder, "signer.folder")
    folder.mkdir(parents=True, exist_ok=True)
    return {
        name: open_pkcs11_signer(
            traits, module=module, label=label, pin_file=pin_file, folder=folder
        )
        for name, traits in networks.items()
    }


def _vault(settings: SignerSettings, networks: Networks) -> Signers:
    """Have Vault open a seed (secp256k1), or sign itself (Ed25519)."""
    wallet = text_of(settings.vault.wallet, "signer.vault.wallet")
    found: Signers = {}
    for name, traits in networks.items():
        if traits.curve == ED25519:
            folder = needed(settings.folder, "signer.folder")
            folder.mkdir(parents=True, exist_ok=True)
            pins, mount = PinnedKeys(folder / f"pins-{name}"), settings.vault.mount
            found[name] = TransitSigner(_session(settings), wallet, pins, traits, mount=mount)
        else:
            seed_file = needed(settings.vault.seed_file, "signer.vault.seed_file")
            with vault_box(settings) as box:
                found[name] = VaultSigner.open(seed_file, wallet, box, traits)
    return found


def _both(settings: SignerSettings, networks: Networks) -> Signers:
    """Have the token and Vault open the two halves of a seed."""
    wallet = text_of(settings.vault.wallet, "signer.vault.wallet")
    seed_file = needed(settings.vault.seed_file, "signer.vault.seed_file")
    module = TokenBox.open_token(*token_of(settings), entropy=SystemEntropy())
    with contextlib.closing(module), vault_box(settings) as box:
        return {
            name: BothSigner.open(seed_file, wallet, traits, module=module, vault=box)
            for name, traits in networks.items()
        }


_BACKENDS: Mapping[str, Callable[[SignerSettings, Networks], Signers]] = MappingProxyType(
    {"both": _both, "local": _local, "pkcs11": _pkcs11, "vault": _vault}
)
assert set(_BACKENDS) == set(BACKENDS)


def _keystore(settings: KeystoreSettings, name: str) -> tuple[Path, Secret]:
    file = needed(settings.file, f"{name}.file")
    passphrase_file = needed(settings.passphrase_file, f"{name}.passphrase_file")
    return file, Secret(read_private_file(passphrase_file).strip())


def token_of(settings: SignerSettings) -> tuple[Path, str, Path]:
    """Return library, label and PIN file of the token. SettingsError: one is not set."""
    token = settings.pkcs11
    return (
        needed(token.module, "signer.pkcs11.module"),
        text_of(token.label, "signer.pkcs11.label"),
        needed(token.pin_file, "signer.pkcs11.pin_file"),
    )


def _session(settings: SignerSettings) -> VaultSession:
    vault = settings.vault
    role = AppRole(
        role_id_file=needed(vault.role_id_file, "signer.vault.role_id_file"),
        secret_id_file=needed(vault.secret_id_file, "signer.vault.secret_id_file"),
        mount=vault.role_mount,
        secret_id_is_wrapped=vault.secret_id_is_wrapped,
    )
    address = text_of(vault.address, "signer.vault.address")
    return VaultSession(VaultHttp(address, ca_file=vault.ca_file), role)


@contextlib.contextmanager
def vault_box(settings: SignerSettings) -> Iterator[TransitBox]:
    """Lend the box that a seed lies in; Vault is not asked afterwards."""
    key = TransitKey(text_of(settings.vault.key, "signer.vault.key"), settings.vault.mount)
    with contextlib.closing(_session(settings)) as session:
        yield TransitBox(session, key)


def text_of(value: str, name: str) -> str:
    """Return a text that must be set. SettingsError: it is not."""
    if not value:
        raise SettingsError([f"{name}: the signer needs it"])
    return value
