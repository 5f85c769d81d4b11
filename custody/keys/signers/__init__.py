"""Signers: one file each, listed here and nowhere else."""

from __future__ import annotations

from types import MappingProxyType

from custody.keys.signers.base import ACCOUNTS, KeyRef, Signer
from custody.keys.signers.local import LocalSigner
from custody.keys.signers.vault import TransitSigner, VaultSigner

SIGNERS = MappingProxyType({"local": LocalSigner, "transit": TransitSigner, "vault": VaultSigner})
"""Name in the settings -> class.

tests/conformance/test_every_signer.py holds all of them to the same facts.
"""

__all__ = [
    "ACCOUNTS",
    "SIGNERS",
    "KeyRef",
    "LocalSigner",
    "Signer",
    "TransitSigner",
    "VaultSigner",
]
