"""Control of an address, proven by a message that can be no transaction.

Source: Solana off-chain message signing, version 0: it begins with 0xff, which as a transaction
would be one of version 127. The challenge stands in it as hexadecimal text, in the house's own
application domain.
"""

from __future__ import annotations

import hashlib

from chains.solana.address import raw_address

_SIGNING_DOMAIN = b"\xffsolana offchain"
_HEADER_VERSION = b"\x00"
_APPLICATION = hashlib.sha256(b"strongroom/control/v1").digest()
_RESTRICTED_TEXT = b"\x00"


def control_message(challenge: bytes, *, address: str) -> bytes:
    """Return the bytes that a key signs to prove control. Refused: invalid_address."""
    text = challenge.hex().encode()
    return b"".join(
        (
            _SIGNING_DOMAIN,
            _HEADER_VERSION,
            _APPLICATION,
            _RESTRICTED_TEXT,
            b"\x01",
            raw_address(address),
            len(text).to_bytes(2, "little"),
            text,
        )
    )
