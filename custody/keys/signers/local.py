"""A signer whose seed lies in this process: development, tests, demos; never a main network."""

from __future__ import annotations

from pathlib import Path

from chains.base import ChainTraits
from core.errors import Reason, Refused
from custody.keys.secret import Secret
from custody.keys.signers.keystore import open_keystore
from custody.keys.signers.seeded import SeededSigner


class LocalSigner(SeededSigner):
    """Keys of one chain under one seed from a keystore.

    Refused at once: main_network, unknown_chain (another curve).
    """

    def __init__(self, seed: Secret, traits: ChainTraits) -> None:
        if traits.is_main_network:
            raise Refused(Reason.MAIN_NETWORK, "a local seed never signs for a main network")
        super().__init__(seed, traits)

    @classmethod
    def open(cls, path: Path, passphrase: Secret, traits: ChainTraits) -> LocalSigner:
        """Open a keystore file. Refused: as open_keystore, and main_network."""
        return cls(open_keystore(path, passphrase), traits)
