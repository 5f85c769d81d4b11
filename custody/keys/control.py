"""Proof of control: the one signature that is no transaction.

What is signed is `chain.control_digest` of a challenge that begins with CONTROL_TAG; the chain
gives it a form that no transaction can have. It moves nothing, needs no approvals, and is written
down before it is made, like everything a key of ours ever signs.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.errors import Reason, Refused
from custody.db import Bytes, Int64, Text, append_only, table
from custody.keys.guard import Guard
from custody.keys.signers.base import KeyRef, check_digest, check_signature

CONTROL_TAG = b"strongroom proof of control v1\n"
CHALLENGE_BYTES_MAX = 1_024

control_proofs = table(
    "control_proofs",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("address", Text, primary_key=True),
    sa.Column("challenge", Bytes, primary_key=True),
    sa.Column("digest", Bytes, nullable=False),
    sa.Column("account", Text, nullable=False),
    sa.Column("key_index", Int64, nullable=False),
    sa.Column("signed_at_ns", Int64, nullable=False),
)
append_only(control_proofs)


def prove_control(guard: Guard, key: KeyRef, challenge: bytes) -> bytes:
    """Return the chain's portable proof that we hold a key, for a tagged challenge.

    Refused: malformed (no tag, too long), main_network, unknown_key.
    """
    if not challenge.startswith(CONTROL_TAG) or len(challenge) > CHALLENGE_BYTES_MAX:
        raise Refused(Reason.MALFORMED, "a challenge begins with the tag and is short")
    traits = guard.chain.traits
    if not guard.signer.network_allowed(traits):
        raise Refused(Reason.MAIN_NETWORK, "this signer has no business on that network")
    public_key = guard.signer.public_key(key)
    address = guard.chain.address_of(public_key)
    digest = guard.chain.control_digest(challenge)
    check_digest(digest)
    values = {
        "chain": traits.chain,
        "address": address,
        "challenge": challenge,
        "digest": digest,
        "account": key.account,
        "key_index": key.index,
        "signed_at_ns": guard.clock.now_ns(),
    }
    guard.db.run(lambda conn: _write_down(conn, values))
    signature = guard.signer.sign_digest(key, digest)
    check_signature(signature, digest, public_key)
    return guard.chain.control_proof(challenge, signature, address=address)


def _write_down(conn: sa.Connection, values: dict[str, object]) -> None:
    wanted = control_proofs.c
    found = conn.execute(
        sa.select(wanted.digest).where(
            wanted.chain == values["chain"],
            wanted.address == values["address"],
            wanted.challenge == values["challenge"],
        )
    ).first()
    if found is None:
        conn.execute(control_proofs.insert().values(values))
