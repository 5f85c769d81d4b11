"""A signer whose seed needs the hardware module *and* Vault to open; neither has a bit of it."""

from __future__ import annotations

from pathlib import Path

from chains.base import ChainTraits
from custody.keys.signers.sealed import SealedBox, open_split_seed
from custody.keys.signers.seeded import SeededSigner


class BothSigner(SeededSigner):
    """Keys of one chain under one split seed. May sign for main networks."""

    @classmethod
    def open(
        cls, path: Path, wallet: str, traits: ChainTraits, *, module: SealedBox, vault: SealedBox
    ) -> BothSigner:
        """Open a wallet's seed; afterwards neither is asked. Errors as open_split_seed."""
        return cls(open_split_seed(path, wallet, first=module, second=vault), traits)
