"""An owner's signature over typed data, made with a key in a file where the owner is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coincurve import PrivateKey

from chains.typed_data import typed_data_digest
from core.errors import Reason, Refused
from custody.keys import typed_approval


@dataclass(frozen=True, slots=True)
class Made:
    """A signature, and what it is over."""

    owner: str
    digest: str
    """0x and 64 hex digits, hashed here."""
    signature: str
    shown: str
    """What is signed, for a person."""


def sign_document(document: Mapping[str, Any], key: object) -> Made:
    """Hash typed data and sign that. Refused: malformed (no wallet key), undecodable."""
    if not isinstance(key, PrivateKey):
        raise Refused(Reason.MALFORMED, "a wallet key signs for a wallet: officer keygen --kind")
    digest = typed_data_digest(json.dumps(document))
    made = key.sign_recoverable(digest, hasher=None)
    shown = [f"  {name}: {value}" for name, value in document["message"].items()]
    domain = [f"  {name}: {value}" for name, value in document["domain"].items()]
    return Made(
        owner=typed_approval.address_text(typed_approval.address_of(key.public_key)),
        digest="0x" + digest.hex(),
        signature="0x" + (made[:64] + bytes((27 + made[64],))).hex(),
        shown="\n".join([str(document["primaryType"]), *domain, *shown]),
    )
