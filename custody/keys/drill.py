"""Drills: fresh proof, on the record, that keys are ours and that the shares restore them.

A challenge is ASCII text that begins with our domain: drill, date, chain, network, address, purpose
and 256 random bits. It is answered within minutes or not at all, and once. What comes back is
checked by code that did not make it: the stand-alone verifier where it knows the scheme, else
OpenSSL with the public key that was derived from the account's extended public key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from chains.base import Chain
from core.clock import SECOND_NS, Clock
from core.entropy import Entropy
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.control import DOMAIN
from custody.keys.drill_log import Author, DrillLog, DrillRecord
from custody.keys.key_facts import Network, differences, public_keys
from custody.keys.secret import Secret
from custody.keys.service import KeyService
from custody.keys.shares import facts_of, restore
from custody.keys.signers.base import KeyRef
from custody.keys.signers.seeded import SeededSigner
from custody.keys.transcript import SignedTranscript
from custody.reserves import verify
from custody.wallets.addresses import DEPOSITS, Address

CONTROL, SHARES = "control", "shares"
ANSWER_S_MAX = 300
"""Seconds for which a challenge may be answered."""
NONCE_BYTES = 32
_TIME = "%Y-%m-%d %H:%M:%S UTC"


@dataclass(frozen=True, slots=True)
class Target:
    """One address to prove, with the public key that public derivation gives it."""

    address: Address
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """One question, fresh."""

    drill: str
    at_s: int
    chain: ChainId
    network: str
    address: str
    purpose: str
    nonce: str
    """64 hex digits."""

    def text(self) -> bytes:
        """Return the bytes that are signed. Refused: malformed."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at_s)
        lines = [
            f"drill: {self.drill}",
            f"date: {moment.strftime(_TIME)}",
            f"chain: {self.chain} {self.network}",
            f"address: {self.address}",
            f"purpose: {self.purpose}",
            f"nonce: {self.nonce}",
        ]
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise Refused(Reason.MALFORMED, "a challenge is lines of printable ASCII")
        return DOMAIN + "\n".join(["drill v1", *lines]).encode("ascii")


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill: what it is called, why it is held, who answers for it, where it is recorded."""

    name: str
    purpose: str
    author: Author
    log: DrillLog
    clock: Clock
    entropy: Entropy

    def challenge(self, chain: Chain, address: str) -> Challenge:
        """Return a question that nobody has seen."""
        return Challenge(
            drill=self.name,
            at_s=self.clock.now_ns() // SECOND_NS,
            chain=chain.traits.chain,
            network=chain.traits.network,
            address=address,
            purpose=self.purpose,
            nonce=self.entropy.token_bytes(NONCE_BYTES).hex(),
        )


def prove_all(
    drill: Drill, service: KeyService, chain: Chain, targets: Sequence[Target]
) -> Iterator[DrillRecord]:
    """Have each address answer a fresh challenge; yield what was recorded, one by one.

    Refused: bad_signature, after the failure was recorded; and as KeyService.prove_control.
    """
    for target in targets:
        row = target.address
        asked = drill.challenge(chain, row.address)
        key = KeyRef(row.account, row.key_index)
        proof = service.prove_control(row.chain, key, row.address, asked.text())
        yield take_answer(drill, chain, target, asked, proof)


def take_answer(
    drill: Drill, chain: Chain, target: Target, asked: Challenge, proof: bytes
) -> DrillRecord:
    """Judge an answer and record it.

    Refused: issued_too_long_ago, issued_in_future, duplicate_other_content (the challenge was
    answered before), intent_mismatch (it asks for something else), bad_signature.
    """
    _check_fresh(drill, chain, target, asked)
    checked_by = _checked_by(chain, target, asked.text(), proof)
    detail = {
        "drill": drill.name,
        "purpose": drill.purpose,
        "chain": str(asked.chain),
        "network": asked.network,
        "address": asked.address,
        "key": f"{target.address.account}/{target.address.key_index}",
        "challenged": str(asked.at_s),
        "nonce": asked.nonce,
        "proof": proof.hex(),
        "checked_by": checked_by or "nothing fits",
        "verdict": "proven" if checked_by else "NOT PROVEN",
    }
    record = drill.log.append(drill.author, CONTROL, detail)
    if checked_by is None:
        raise Refused(Reason.BAD_SIGNATURE, f"{asked.address} did not prove control")
    return record


def sample(rows: Sequence[Address], count: int, entropy: Entropy) -> list[Address]:
    """Return every own wallet, and count customers' addresses that nobody could foresee."""
    wallets = [row for row in rows if row.account != DEPOSITS]
    rest = [row for row in rows if row.account == DEPOSITS]
    chosen: list[Address] = []
    while rest and len(chosen) < count:
        # 64 bits over at most 2^31 addresses: the bias is below 2^-33.
        place = int.from_bytes(entropy.token_bytes(8), "big") % len(rest)
        chosen.append(rest.pop(place))
    return wallets + chosen


def restore_drill(
    drill: Drill,
    shares: Sequence[Secret],
    passphrase: Secret | None,
    networks: Sequence[Network],
    expected: SignedTranscript,
) -> DrillRecord:
    """Restore the seed in memory, compare every address with a ceremony's transcript, forget it.

    Networks must be those of the ceremony. Refused: bad_share; wrong_passphrase, after the failure
    was recorded, when the seed has other addresses.
    """
    seed = restore(shares, passphrase)
    body = expected.transcript
    found = public_keys(
        lambda traits: SeededSigner(seed, traits),
        networks,
        addresses_each=max((len(one.addresses) for one in body.accounts), default=0),
    )
    wrong = differences(body.accounts, found.accounts)
    numbers = sorted(facts_of(share).number for share in shares)
    detail = {
        "drill": drill.name,
        "purpose": drill.purpose,
        "ceremony": body.ceremony,
        "share_set": str(facts_of(shares[0]).identifier),
        "shares": ", ".join(f"{n} {_holder(body.holders, n)}" for n in numbers),
        "accounts": str(len(body.accounts)),
        "verdict": f"OTHER ADDRESSES: {', '.join(wrong)}" if wrong else "the same addresses",
    }
    record = drill.log.append(drill.author, SHARES, detail)
    if wrong:
        raise Refused(Reason.WRONG_PASSPHRASE, f"these shares are of other keys: {wrong[0]}, …")
    return record


def _holder(holders: Sequence[str], number: int) -> str:
    return holders[number - 1] if number <= len(holders) else "unknown"


def _check_fresh(drill: Drill, chain: Chain, target: Target, asked: Challenge) -> None:
    expected = (drill.name, drill.purpose, chain.traits.chain, target.address.address)
    if (asked.drill, asked.purpose, asked.chain, asked.address) != expected:
        raise Refused(Reason.INTENT_MISMATCH, "the challenge is of another drill or address")
    if asked.network != chain.traits.network:
        raise Refused(Reason.WRONG_NETWORK, asked.network)
    age_s = drill.clock.now_ns() // SECOND_NS - asked.at_s
    if age_s > ANSWER_S_MAX:
        raise Refused(Reason.ISSUED_TOO_LONG_AGO, f"the challenge is {age_s} seconds old")
    if age_s < 0:
        raise Refused(Reason.ISSUED_IN_FUTURE, "the challenge is from the future")
    if any(one.detail.get("nonce") == asked.nonce for one in drill.log.records()):
        raise Refused(Reason.DUPLICATE_OTHER_CONTENT, "the challenge was answered before")


def _checked_by(chain: Chain, target: Target, challenge: bytes, proof: bytes) -> str | None:
    """Return what found the proof to be the address's, None when nothing did."""
    scheme = chain.traits.control
    try:
        found = scheme in verify.SCHEMES and verify.SCHEMES[scheme](challenge, proof)
        if found == target.address.address:
            return f"{scheme}, stand-alone verifier"
    except verify.Refuted:
        pass
    if chain.address_of(target.public_key) != target.address.address:
        return None
    digest = chain.control_digest(challenge, address=target.address.address)
    shapes = (proof,) if len(target.public_key) == 32 else (proof[:64], proof[1:65])
    if any(_verifies(target.public_key, digest, shape) for shape in shapes):
        return "openssl, derived public key"
    return None


def _verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        if len(public_key) == 32:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
            return True
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
        point.verify(encode_dss_signature(r, s), message, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True
