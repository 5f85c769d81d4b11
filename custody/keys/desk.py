"""The key service in this process: one guard per chain, and nothing goes past it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chains.base import Chain
from core.clock import Clock
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.attestation import AddressClaim, AttestationKey, Owners, attest_address
from custody.keys.control import prove_control
from custody.keys.guard import Guard, SignRequest, sign_batch
from custody.keys.issued_keys import IssuedKey, make_issued
from custody.keys.policy_book import KnownPolicy, PoliciesInMemory
from custody.keys.publication import Publication
from custody.keys.roster import Roster
from custody.keys.ruling import Law, Scales
from custody.keys.service import (
    ENTRIES_MAX,
    REQUESTS_MAX,
    Answer,
    PolicyStanding,
    SignerStatus,
)
from custody.keys.signers.base import KeyRef, Signer
from custody.keys.signing_record import Entry
from custody.keys.stop_book import StopBook
from custody.keys.stop_order import SignedStop, chain_of_scope
from custody.keys.store import Shelf
from custody.keys.watermark import bounds_of, check_clock


@dataclass(frozen=True, slots=True)
class Notary:
    """What attestations are made with: one key, and whose each deposit key is on every chain.

    Two networks may derive one address from one index, so there is one book for all (I15).
    """

    key: AttestationKey
    owners: Owners


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """A KeyService over guards that share one store, one roster and one book of policies."""

    guards: Mapping[ChainId, Guard]
    notary: Notary | None = None
    book: PoliciesInMemory = field(default_factory=PoliciesInMemory)

    def sign(self, requests: Sequence[SignRequest]) -> list[Answer]:
        """Have each request judged by its chain's guard; see KeyService."""
        if len(requests) > REQUESTS_MAX:
            raise Refused(Reason.TOO_LARGE, f"at most {REQUESTS_MAX} requests at once")
        answers: dict[int, Answer] = {}
        for chain in dict.fromkeys(request.intent.chain for request in requests):
            numbers = [n for n, one in enumerate(requests) if one.intent.chain == chain]
            guard = self.guards.get(chain)
            if guard is None:
                refused = Refused(Reason.UNKNOWN_CHAIN, chain)
                answers.update(dict.fromkeys(numbers, refused))
            else:
                made = sign_batch(guard, [requests[n] for n in numbers])
                answers.update(zip(numbers, made, strict=True))
        return [answers[n] for n in range(len(requests))]

    def attest(self, claim: AddressClaim) -> bytes:
        """Sign a claim that is true; see KeyService."""
        guard, notary = self._guard(claim.chain), self._notary()
        return attest_address(
            claim, chain=guard.chain, signer=guard.signer, key=notary.key, owners=notary.owners
        )

    def public_keys(self, chain: ChainId, account: str, first: int, count: int) -> list[IssuedKey]:
        """Make and return public keys; see KeyService."""
        guard = self._guard(chain)
        return make_issued(
            guard.chain.traits, guard.signer, self._notary().key, account, first, count
        )

    def account_xpub(self, chain: ChainId, account: str) -> str:
        """Return an account's extended public key; see KeyService."""
        return self._guard(chain).signer.account_xpub(account)

    def prove_control(self, chain: ChainId, key: KeyRef, address: str, challenge: bytes) -> bytes:
        """Prove control of an address; see KeyService."""
        guard = self._guard(chain)
        return prove_control(guard.chain, guard.signer, key, address, challenge)

    def entries(self, after: int, limit: int) -> list[Entry]:
        """Return a page of the log; see KeyService."""
        return self._any().shelf.entries(after, min(limit, ENTRIES_MAX))

    def learn_policy(self, publication: Publication) -> PolicyStanding:
        """Learn the next version of the policy; see KeyService."""
        guard = self._any()
        store = guard.shelf.store()
        for one in self.guards.values():
            check_clock(store, one.clock, one.bounds or bounds_of(one.chain.traits))
        now_ns = max(guard.clock.now_ns(), store.last_ns)
        return _standing(self.book.learn(publication, roster=guard.roster, now_ns=now_ns))

    def known_policy(self, serial: int) -> bytes:
        """Return the file of a version; see KeyService."""
        for known in self.book.versions:
            if known.policy.serial == serial:
                return known.message()
        raise Refused(Reason.UNKNOWN_POLICY, f"version {serial}")

    def status(self) -> SignerStatus:
        """Say how the signer stands; see KeyService."""
        guard = self._any()
        position = guard.shelf.mark().position
        return SignerStatus(tuple(self.guards), position, guard.roster.hash)

    def obey(self, order: SignedStop) -> None:
        """Take a stop or a resumption; see KeyService. Refused: unknown_chain, too."""
        guard = self._any()
        chain = chain_of_scope(order.statement.subject)
        if chain is not None and chain not in self.guards:
            raise Refused(Reason.UNKNOWN_CHAIN, chain)
        guard.stops.obey(order, roster=guard.roster, now_ns=guard.clock.now_ns())

    def stops(self) -> list[SignedStop]:
        """Return the stops in force; see KeyService."""
        guard = self._any()
        return guard.stops.in_force(guard.clock.now_ns())

    def check(self) -> None:
        """Have every chain's keys sign; see KeyService."""
        for guard in self.guards.values():
            guard.signer.check()

    def close(self) -> None:
        """Let go of every chain's keys and of the store."""
        for guard in self.guards.values():
            guard.signer.close()
            guard.shelf.close()

    def _notary(self) -> Notary:
        if self.notary is None:
            raise Refused(Reason.UNKNOWN_KEY, "this signer has no key to attest with")
        return self.notary

    def _any(self) -> Guard:
        return next(iter(self.guards.values()))

    def _guard(self, chain: ChainId) -> Guard:
        guard = self.guards.get(chain)
        if guard is None:
            raise Refused(Reason.UNKNOWN_CHAIN, chain)
        return guard


def key_desk(
    shelf: Shelf,
    clock: Clock,
    roster: Roster,
    signers: Mapping[ChainId, tuple[Chain, Signer]],
    notary: Notary | None = None,
    stops: StopBook | None = None,
    *,
    book: PoliciesInMemory,
    scales: Scales,
) -> KeyDesk:
    """Return the key service of this process: a guard for each chain and its keys.

    stops: the book that all guards obey; None: one that forgets with this process. book: the
    policies that they know. scales: decimal places of every asset that a policy may count in whole
    coins.
    """
    stops, law = StopBook() if stops is None else stops, Law(book, scales)
    return KeyDesk(
        {
            name: Guard(
                shelf=shelf,
                chain=chain,
                signer=signer,
                roster=roster,
                clock=clock,
                law=law,
                stops=stops,
            )
            for name, (chain, signer) in signers.items()
        },
        notary,
        book,
    )


def _standing(known: KnownPolicy) -> PolicyStanding:
    return PolicyStanding(
        known.policy.serial, known.policy.hash, known.learned_at_ns, known.in_force_from_ns
    )
