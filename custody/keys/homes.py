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


class KeystoreHome:
    """An encrypted file on this machine; never for a main network."""

    def __init__(
        self, path: Path, passphrase: Secret, *, entropy: Entropy, cost: KdfCost | None = None
    ) -> None:
        if path.exists():
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, str(path))
        self._path, self._passphrase = path, passphrase
        self._entropy, self._cost = entropy, cost

    @property
    def about(self) -> str:
        """Return a line for the transcript."""
        return f"keystore file {self._path.name}, argon2id and ChaCha20-Poly1305"

    def allows(self, traits: ChainTraits) -> bool:
        """Return whether this is no main network."""
        return not traits.is_main_network

    def store(self, seed: Secret) -> None:
        """Write the file, mode 0600. Refused: exists_with_other_content, malformed."""
        create_keystore(self._path, self._passphrase, seed, entropy=self._entropy, cost=self._cost)

    def open(self, traits: ChainTraits) -> Signer:
        """Open the file with the passphrase."""
        return LocalSigner.open(self._path, self._passphrase, traits)
