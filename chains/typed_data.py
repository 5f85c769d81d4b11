"""Typed data as a wallet application hashes it, for those who sign where they are.

Source: EIP-712.
"""

from __future__ import annotations

import json

from core.errors import Reason, Refused


def typed_data_digest(document: str) -> bytes:
    """Return the 32 bytes that are signed for typed data in JSON. Refused: undecodable."""
    # Imported here: it costs half a second that most commands never need.
    from eth_account.messages import encode_typed_data
    from eth_hash.auto import keccak
    from eth_utils.exceptions import ValidationError

    try:
        made = encode_typed_data(full_message=json.loads(document))
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(Reason.UNDECODABLE, f"not typed data: {error}") from error
    return keccak(b"\x19" + made.version + made.header + made.body)
