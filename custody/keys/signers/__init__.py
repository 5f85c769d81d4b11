"""Signers: one file each, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from custody.keys.signers.base import ACCOUNTS, KeyRef, Signer
from custody.keys.signers.both import BothSigner
from custody.keys.signers.local import LocalSigner
from custody.keys.signers.pkcs11 import Pkcs11Signer, open_pkcs11_signer
from custody.keys.signers.vault import TransitSigner, VaultSigner

SIGNERS: Mapping[str, type[Signer]] = MappingProxyType(
    {
        "both": BothSigner,
        "local": LocalSigner,
        "pkcs11": Pkcs11Signer,
        "transit": TransitSigner,
        "vault": VaultSigner,
    }
)
"""Name in the settings -> class.

tests/conformance/test_every_signer.py holds all of them to the same facts.
"""

__all__ = [
    "ACCOUNTS",
    "SIGNERS",
    "BothSigner",
    "KeyRef",
    "LocalSigner",
    "Pkcs11Signer",
    "Signer",
    "TransitSigner",
    "VaultSigner",
    "open_pkcs11_signer",
]
