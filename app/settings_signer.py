"""Settings of the signer: the platform uses the first two, all others are the signer's alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BACKENDS = ("both", "local", "pkcs11", "vault")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoreSettings:
    """One encrypted keystore (custody.keys.signers.keystore)."""

    file: Path | None = None
    passphrase_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """A PKCS#11 token."""

    module: Path | None = None
    """The vendor's library."""
    label: str = ""
    pin_file: Path | None = None
    anchor: str = ""
    """An object of the token that remembers how far the store has come: `strongroom keys anchor`
    makes it once. Empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """A Vault server, reached by AppRole (custody.keys.signers.vault_session)."""

    address: str = ""
    ca_file: Path | None = None
    role_id_file: Path | None = None
    secret_id_file: Path | None = None
    secret_id_is_wrapped: bool = False
    role_mount: str = "approle"
    mount: str = "transit"
    wallet: str = ""
    """What the seed, or the signing keys, are called."""
    key: str = ""
    """The transit key that the seed is sealed with."""
    seed_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSettings:
    """The signer process. Its nodes, limits, mandates and officers stand in the roster."""

    socket: Path
    """Where it listens and the platform asks; nobody but its users may connect."""
    accounts_file: Path
    """The accounts' public keys, exported by `strongroom keys export`: all the platform has."""
    folder: Path | None = None
    """Its own store; one signer uses it at a time."""
    anchor_file: Path | None = None
    """Remembers how far the store has come, on another machine or medium than the folder; where the
    keys are in a token, see pkcs11.anchor."""
    backend: str = "local"
    """Where the keys live: local, pkcs11, vault, or both (a seed that a token and Vault open)."""
    local: KeystoreSettings = KeystoreSettings()
    """backend = local: the seed. Never for a main network."""
    pkcs11: TokenSettings = TokenSettings()
    vault: VaultSettings = VaultSettings()
    attestation: KeystoreSettings = KeystoreSettings()
    """The key that attests to addresses; the roster names its public half."""
    client_uids: tuple[str, ...] = ()
    """More user ids that may connect, beside the signer's own; then its group may too."""
    connections_max: int = 64
    waiting_max: int = 1_024
    """Questions of one chain that wait; who comes then is asked to come again."""
    metrics_port: int = 0
    """Where the signer serves its own /metrics on http.host; 0: nowhere."""


def problems_of_signer(signer: SignerSettings) -> list[str]:
    """Return what is wrong with the signer's settings, a line for each name."""
    problems = []
    if signer.backend not in BACKENDS:
        problems.append(f"signer.backend: one of {', '.join(BACKENDS)}")
    if not all(uid.isascii() and uid.isdigit() and len(uid) < 10 for uid in signer.client_uids):
        problems.append("signer.client_uids: numbers of users")
    for name, value, least, most in (
        ("connections_max", signer.connections_max, 1, 1 << 12),
        ("waiting_max", signer.waiting_max, 1, 1 << 16),
        ("metrics_port", signer.metrics_port, 0, (1 << 16) - 1),
    ):
        if not least <= value <= most:
            problems.append(f"signer.{name}: lies in {least}..{most}")
    return problems
