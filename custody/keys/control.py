"""Prove control of an own address: the only signature that is not a spend.

What is signed is the chain's message format over a challenge that begins with our own domain tag,
so it can never be a transaction, and the proof can never serve anybody else's question.
"""

from __future__ import annotations

from chains.base import Chain
from core.errors import Reason, Refused
from custody.keys.signers.base import KeyRef, Signer, check_made, check_message

DOMAIN = b"strongroom proof of control "
CHALLENGE_BYTES_MAX = 4_096


def prove_control(
    chain: Chain, signer: Signer, key: KeyRef, address: str, challenge: bytes
) -> bytes:
    """Return the portable proof that we control an address.

    Refused: malformed (a challenge of another domain), main_network (not for these keys),
    unknown_key (the key is not the address's). Corrupt when the signer signs anything else.
    """
    if not challenge.startswith(DOMAIN) or len(challenge) > CHALLENGE_BYTES_MAX:
        raise Refused(Reason.MALFORMED, "a challenge begins with our domain and is short")
    if not signer.network_allowed(chain.traits):
        raise Refused(Reason.MAIN_NETWORK, "this signer has no business on that network")
    public_key = signer.public_key(key)
    if chain.address_of(public_key) != address:
        raise Refused(Reason.UNKNOWN_KEY, address)
    digest = chain.control_digest(challenge, address=address)
    check_message(signer.curve, digest)
    signature = signer.sign(key, digest)
    check_made(signer.curve, signature, digest, public_key)
    return chain.control_proof(challenge, signature, address=address)
