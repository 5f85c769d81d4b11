"""Every backend on every curve it has, and what the facts may know of it. A new one adds rows."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from coincurve import verify_signature
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from chains.base import ChainTraits
from core.entropy import SeededEntropy, SystemEntropy
from custody.keys.secret import Secret
from custody.keys.signers import Signer, open_pkcs11_signer
from custody.keys.signers.base import ED25519, SECP256K1
from custody.keys.signers.both import BothSigner
from custody.keys.signers.keystore import CHEAP, create_keystore
from custody.keys.signers.local import LocalSigner
from custody.keys.signers.pins import PinnedKeys
from custody.keys.signers.pkcs11_box import TokenBox
from custody.keys.signers.sealed import seal_seed, seal_split_seed
from custody.keys.signers.vault import TransitSigner, VaultSigner
from tests.support.tokens import process_token
from tests.support.vault import Server, VaultPlace, double_server, real_server
from tests.unit.custody.keys.networks import traits

CANARY = b"canary-seed-5ca1ab1e-canary-seed"
Maker: TypeAlias = Callable[[Path, ChainTraits], Signer]


@dataclass(frozen=True, slots=True)
class Rig:
    """One backend on one curve."""

    backend: str
    curve: str
    make: Maker
    """Opens the keys of a folder; opened again they are the same."""
    is_seeded: bool = True
    """All keys come from one seed by a path."""
    is_deterministic: bool = True
    """The same message gets the same bytes again; a token draws its own nonces on secp256k1."""
    many: int = 1_000
    """How many signatures a test may ask for."""
    note: str = ""
    """What tells two rigs of one backend apart."""

    @property
    def name(self) -> str:
        """Return what pytest calls it."""
        return f"{self.backend}-{self.curve}{self.note}"

    @property
    def has_xpub(self) -> bool:
        """Return whether addresses derive from an extended public key."""
        return self.is_seeded and self.curve == SECP256K1

    def open(self, folder: Path) -> Signer:
        """Open the keys of a folder for a test network."""
        return self.make(folder, traits(curve=self.curve))


def local(folder: Path, network: ChainTraits) -> Signer:
    """Make a local signer through its keystore file."""
    path, passphrase = folder / "keystore", Secret(b"correct horse")
    if not path.exists():
        entropy = SeededEntropy(1, "keystore")
        create_keystore(path, passphrase, Secret(CANARY), entropy=entropy, cost=CHEAP)
    return LocalSigner.open(path, passphrase, network)


def pkcs11(folder: Path, network: ChainTraits) -> Signer:
    """Make a signer on this process's token in software."""
    hsm = process_token()
    return open_pkcs11_signer(
        network, module=hsm.module, label=hsm.label, pin_file=hsm.pin_file, folder=folder
    )


def vault(folder: Path, network: ChainTraits, server: Server) -> Signer:
    """Seal a seed in Vault's transit and open it."""
    place, path = _place(folder, server), folder / "sealed-seed"
    with place.box() as box:
        if not path.exists():
            seal_seed(path, place.wallet, Secret(CANARY), box)
        return VaultSigner.open(path, place.wallet, box, network)


def transit(folder: Path, network: ChainTraits, server: Server) -> Signer:
    """Let Vault sign."""
    place = _place(folder, server)
    return TransitSigner(place.session(), place.wallet, PinnedKeys(folder / "pins"), network)


def both(folder: Path, network: ChainTraits) -> Signer:
    """Split a seed between a token and Vault and open it again."""
    place, path, hsm = _place(folder, double_server()), folder / "split-seed", process_token()
    module = TokenBox.open_token(hsm.module, hsm.label, hsm.pin_file, entropy=SystemEntropy())
    with contextlib.closing(module), place.box() as box:
        if not path.exists():
            seed = Secret(CANARY)
            seal_split_seed(
                path, place.wallet, seed, first=module, second=box, entropy=SystemEntropy()
            )
        return BothSigner.open(path, place.wallet, network, module=module, vault=box)


def _place(folder: Path, server: Server) -> VaultPlace:
    # A folder that is opened again is the same wallet.
    name = folder / "wallet"
    place = VaultPlace(folder, server, wallet=name.read_text() if name.exists() else None)
    name.write_text(place.wallet)
    return place


def _on_vault(server: Callable[[], Server], suffix: str = "") -> tuple[Rig, ...]:
    def sealed(folder: Path, network: ChainTraits) -> Signer:
        return vault(folder, network, server())

    def inside(folder: Path, network: ChainTraits) -> Signer:
        return transit(folder, network, server())

    return (
        Rig("vault", SECP256K1, sealed, note=suffix),
        Rig("vault", ED25519, sealed, note=suffix),
        Rig("transit", ED25519, inside, is_seeded=False, many=200, note=suffix),
    )


def _real() -> tuple[Rig, ...]:
    server = real_server()
    return () if server is None else _on_vault(lambda: server, "-real")


RIGS = (
    Rig("local", SECP256K1, local),
    Rig("local", ED25519, local),
    Rig("pkcs11", SECP256K1, pkcs11, is_seeded=False, is_deterministic=False),
    Rig("pkcs11", ED25519, pkcs11, is_seeded=False),
    Rig("both", SECP256K1, both),
    Rig("both", ED25519, both),
    *_on_vault(double_server),
    *_real(),
)


def message(number: int) -> bytes:
    """Return 32 bytes that both curves sign."""
    return hashlib.sha256(number.to_bytes(4, "big")).digest()


def is_signed(curve: str, signature: bytes, signed: bytes, public_key: bytes) -> bool:
    """Return whether a signature verifies, by libraries that no signer uses for it."""
    if curve == SECP256K1:
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        return bool(verify_signature(_der(r, s), signed, public_key, hasher=None))
    try:
        VerifyKey(public_key).verify(signed, signature)
    except BadSignatureError:
        return False
    return True


def _der(r: int, s: int) -> bytes:
    parts = b""
    for number in (r, s):
        body = number.to_bytes(number.bit_length() // 8 + 1, "big")
        parts += b"\x02" + bytes([len(body)]) + body
    return b"\x30" + bytes([len(parts)]) + parts
