"""Where the seed of a ceremony can live: each home keeps it and opens it as the signer will."""

from __future__ import annotations

from pathlib import Path

from chains.base import ChainTraits
from core.entropy import Entropy
from core.errors import Reason, Refused
from custody.keys.secret import Secret
from custody.keys.signers.base import Signer
from custody.keys.signers.keystore import KdfCost, create_keystore
from custody.keys.signers.local import LocalSigner
from custody.keys.signers.sealed import (
    SealedBox,
    open_seed,
    open_split_seed,
    seal_seed,
    seal_split_seed,
)
from custody.keys.signers.seeded import SeededSigner


class KeystoreHome:
    """An encrypted file on this machine; never for a main network."""

    def __init__(
        self, path: Path, passphrase: Secret, *, entropy: Entropy, cost: KdfCost | None = None
    ) -> None:
        _check_free(path)
        self._path, self._passphrase = path, passphrase
        self._entropy, self._cost = entropy, cost

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        return f"keystore file {self._path.name}, argon2id and ChaCha20-Poly1305"

    @property
    def for_main_networks(self) -> bool:
        """Return False: a file and a passphrase are not enough for those."""
        return False

    def store(self, seed: Secret) -> None:
        """Write the file, mode 0600. Refused: exists_with_other_content, malformed."""
        create_keystore(self._path, self._passphrase, seed, entropy=self._entropy, cost=self._cost)

    def open(self, traits: ChainTraits) -> Signer:
        """Open the file with the passphrase."""
        return LocalSigner.open(self._path, self._passphrase, traits)


class SealedHome:
    """A file that one box outside this process seals: Vault, or a hardware module."""

    def __init__(self, path: Path, wallet: str, box: SealedBox, *, box_name: str) -> None:
        _check_free(path)
        self._path, self._wallet, self._box, self._box_name = path, wallet, box, box_name

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        return f"file {self._path.name} of wallet {self._wallet}, sealed by {self._box_name}"

    @property
    def for_main_networks(self) -> bool:
        """Return True: the box may keep such keys."""
        return True

    def store(self, seed: Secret) -> None:
        """Seal and write. Errors as seal_seed."""
        seal_seed(self._path, self._wallet, seed, self._box)

    def open(self, traits: ChainTraits) -> Signer:
        """Have the box open the file."""
        return SeededSigner(open_seed(self._path, self._wallet, self._box), traits)


class SplitHome:
    """A file that opens with two boxes only: the hardware module *and* Vault."""

    def __init__(
        self, path: Path, wallet: str, *, first: SealedBox, second: SealedBox, entropy: Entropy
    ) -> None:
        _check_free(path)
        self._path, self._wallet = path, wallet
        self._first, self._second, self._entropy = first, second, entropy

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        return f"file {self._path.name} of wallet {self._wallet}, split between module and Vault"

    @property
    def for_main_networks(self) -> bool:
        """Return True: the box may keep such keys."""
        return True

    def store(self, seed: Secret) -> None:
        """Split, seal both halves and write. Errors as seal_split_seed."""
        seal_split_seed(
            self._path,
            self._wallet,
            seed,
            first=self._first,
            second=self._second,
            entropy=self._entropy,
        )

    def open(self, traits: ChainTraits) -> Signer:
        """Have both boxes open their halves."""
        seed = open_split_seed(self._path, self._wallet, first=self._first, second=self._second)
        return SeededSigner(seed, traits)


def _check_free(path: Path) -> None:
    if path.exists():
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, str(path))
