"""The second implementation: what bip-utils does for us, imported late (0.4 s).

Base58 with checksum and mnemonics come from here alone; child keys only to check our own.
"""

from __future__ import annotations


def base58check_decode(text: str) -> bytes | None:
    """Return the payload, None when the alphabet or the checksum is wrong."""
    from bip_utils import Base58Decoder  # type: ignore[import-untyped]
    from bip_utils.base58 import Base58ChecksumError  # type: ignore[import-untyped]

    try:
        return bytes(Base58Decoder.CheckDecode(text))
    except (Base58ChecksumError, ValueError):
        return None


def base58check_encode(data: bytes) -> str:
    """Return the text of a payload with its checksum."""
    from bip_utils import Base58Encoder

    return str(Base58Encoder.CheckEncode(data))


def hash160(data: bytes) -> bytes:
    """Return RIPEMD-160 of SHA-256."""
    from bip_utils.utils.crypto import Hash160  # type: ignore[import-untyped]

    return bytes(Hash160.QuickDigest(data))


class SecondAccount:
    """The keys at .../0/index of an account's xpub, derived by the other library."""

    def __init__(self, xpub: str) -> None:
        from bip_utils import Bip32Slip10Secp256k1

        self._external = Bip32Slip10Secp256k1.FromExtendedKey(xpub).ChildKey(0)

    def public_key(self, index: int) -> bytes:
        """Return the compressed public key."""
        return bytes(self._external.ChildKey(index).PublicKey().RawCompressed().ToBytes())


def mnemonic_seed(words: str, extra_word: str) -> bytes | None:
    """Return the BIP-39 seed of an English mnemonic, None when it is not one."""
    from bip_utils import Bip39Languages, Bip39MnemonicValidator, Bip39SeedGenerator

    if not Bip39MnemonicValidator(Bip39Languages.ENGLISH).IsValid(words):
        return None
    return bytes(Bip39SeedGenerator(words, Bip39Languages.ENGLISH).Generate(extra_word))
