"""Prove control of an own address: the only signature that is not a spend.

What is signed is the chain's message format over a challenge that begins with our own domain tag,
so it can never be a transaction, and the proof can never serve anybody else's question.
"""

from __future__ import annotations

from chains.base import ChainWriter
from core.errors import Reason, Refused
from custody.keys.signers.base import KeyRef, Signer

DOMAIN = b"strongroom proof of control "
CHALLENGE_BYTES_MAX = 4_096


def prove_control(
    chain: ChainWriter, signer: Signer, key: KeyRef, address: str, challenge: bytes
) -> bytes:
    """Return the portable proof that we control an address.

    Refused: malformed (a challenge of another domain), unknown_key (the key is not the address's).
    """
    if not challenge.startswith(DOMAIN) or len(challenge) > CHALLENGE_BYTES_MAX:
        raise Refused(Reason.MALFORMED, "a challenge begins with our domain and is short")
    if chain.address_of(signer.public_key(key)) != address:
        raise Refused(Reason.UNKNOWN_KEY, address)
    signature = signer.sign_digest(key, chain.control_digest(challenge))
    return chain.control_proof(challenge, signature, address=address)
