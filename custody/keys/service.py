"""What the platform asks of its keys, wherever they live: the only seam to a signature.

Everything that crosses is a plain value, so the other side may be another process. It is handed
intents and the right to carry them out, never a digest alone, and believes none of it
(custody.keys.guard).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from core.errors import Refused, Unavailable
from core.ids import ChainId
from custody.keys.attestation import AddressClaim
from custody.keys.guard import SignRequest
from custody.keys.issued_keys import IssuedKey
from custody.keys.publication import PUBLICATION_BYTES_MAX, Publication
from custody.keys.signers.base import KeyRef
from custody.keys.signing_record import Entry
from custody.keys.stop_order import SignedStop

Answer: TypeAlias = bytes | Refused
"""A signature, or why there is none."""
REQUESTS_MAX = 256
"""Most requests of one `sign`."""
ENTRIES_MAX = 1_000
"""Most entries of one `entries`."""
POLICY_BYTES_MAX = PUBLICATION_BYTES_MAX + 256
"""Of the answer to `known_policy`."""


@dataclass(frozen=True, slots=True)
class SignerStatus:
    """How a signer stands."""

    chains: tuple[ChainId, ...]
    position: int
    """Of the newest entry in its log; 0 while nothing was signed."""
    roster_hash: bytes


@dataclass(frozen=True, slots=True)
class PolicyStanding:
    """Since when a signer counts a version of the policy, by its own clock."""

    serial: int
    policy_hash: bytes
    learned_at_ns: int
    in_force_from_ns: int


class SignerAway(Unavailable):
    """The signer cannot answer now: it, its keys, its log or its own nodes are out of reach.

    It says nothing about what was asked. Whether something was signed does not matter: the same
    question gets the same bytes.
    """


class KeyService(Protocol):
    """The keys of every chain behind their guards. Asking anything again is always safe.

    Every verb may raise Unavailable: the keys, the log or the signer's own nodes cannot be reached.
    """

    def sign(self, requests: Sequence[SignRequest]) -> list[Answer]:
        """Return an answer for each request, in their order, each released only once it is logged.

        Refused, inside the list: as custody.keys.guard says. Refused: too_large (more than 256).
        """
        ...

    def attest(self, claim: AddressClaim) -> bytes:
        """Sign that an address is ours, after deriving it again, and whose.

        Refused: unknown_chain, unknown_key (no key to attest with), and as
        custody.keys.attestation.attest_address.
        """
        ...

    def public_keys(self, chain: ChainId, account: str, first: int, count: int) -> list[IssuedKey]:
        """Make sure that an account's keys first..first+count-1 exist; return them with proofs.

        Refused: unknown_chain, unknown_key, too_large.
        """
        ...

    def account_xpub(self, chain: ChainId, account: str) -> str:
        """Return an account's extended public key. Refused: unknown_chain, unknown_key."""
        ...

    def prove_control(self, chain: ChainId, key: KeyRef, address: str, challenge: bytes) -> bytes:
        """Return the portable proof that we control an address.

        Refused: unknown_chain, and as custody.keys.control.
        """
        ...

    def entries(self, after: int, limit: int) -> list[Entry]:
        """Return the log's entries behind a position, in order, at most limit and 1,000 of them."""
        ...

    def learn_policy(self, publication: Publication) -> PolicyStanding:
        """Learn the next version of the policy; one that is known is answered as it was learned.

        Refused: as custody.keys.policy_book.PoliciesInMemory.learn; signer_clock.
        """
        ...

    def known_policy(self, serial: int) -> bytes:
        """Return the file of a version that was learned (custody.keys.policy_book).

        Refused: unknown_policy.
        """
        ...

    def status(self) -> SignerStatus:
        """Return how the signer stands."""
        ...

    def obey(self, order: SignedStop) -> None:
        """Take an officer's stop, or a quorum's resumption; custody.keys.stop_book.

        Once this returns, nothing that a stop covers is signed.
        """
        ...

    def stops(self) -> list[SignedStop]:
        """Return the stops in force."""
        ...

    def check(self) -> None:
        """Return when every chain's keys can really sign now; raise why not."""
        ...

    def close(self) -> None:
        """Let go of keys and connections."""
        ...


def sign_one(service: KeyService, request: SignRequest) -> bytes:
    """Return the signature of one request. Refused: as KeyService.sign. SignerAway."""
    try:
        (answer,) = service.sign([request])
    except Unavailable as error:
        raise SignerAway(error.what, error.retry_after_ms) from error
    if isinstance(answer, Refused):
        raise answer
    return answer
