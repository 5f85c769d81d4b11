"""The policies that a signer knows: each learned from a publication, and kept for ever.

A version is in force from its delay after it was learned, by the signer's own clock: the delay of
the version before it, so that nobody shortens it by changing it. The first is in force at once.
Older versions stay known: what was decided under them is still signed, unless a hard deny of the
newest one forbids it.

On disk a version is one file of the signer's own folder, written whole or not at all:

    known-0001.toml     the publication's file (custody.keys.publication), then
                        # learned <unix nanoseconds> <hash of the roster it was checked with>
                        # sha256 <of every byte before this line>

Opening checks every file and every signature again, with the roster of that day. A file that is
cut off, changed, missing in between or none of ours is Corrupt.

While a version's delay runs, one officer's rejection stops it for good: its file is renamed to
dropped-<its hash>.toml, and the version is never learned again.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.intent import TIME_LIMIT_NS
from custody.keys.private_file import sync_folder, write_private_file
from custody.keys.publication import (
    APPROVALS_MAX,
    PUBLICATION_BYTES_MAX,
    Publication,
    check_publication,
    check_verdict,
    parse_publication,
    render_publication,
)
from custody.keys.roster import Roster, Verdict
from custody.policy.rules import Policy

VERSIONS_MAX = 10_000
_TAIL = re.compile(
    rb"(.*\n)# learned (0|[1-9][0-9]{0,18}) ([0-9a-f]{64})\n# sha256 ([0-9a-f]{64})\n",
    re.ASCII | re.DOTALL,
)
_DROPPED = re.compile(r"dropped-([0-9a-f]{64})\.toml", re.ASCII)
_DRAFT = re.compile(r"\.known-[0-9]{4}\.toml\.[0-9]+\.new", re.ASCII)
RosterOf = Callable[[bytes], Roster]
"""The roster of a hash. Refused: roster_mismatch, it was never pinned."""


class PolicyBook(Protocol):
    """Which policies count at a time."""

    def policy(self, policy_hash: bytes, now_ns: int) -> Policy:
        """Return a version that was in force by then. Refused: unknown_policy, too_early."""
        ...

    def newest(self, now_ns: int) -> Policy:
        """Return the newest version that was in force by then. Refused: unknown_policy."""
        ...


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """A version that was learned."""

    policy: Policy
    publication: Publication
    learned_at_ns: int
    in_force_from_ns: int
    roster_hash: bytes
    """Of the roster whose officers signed it."""

    def message(self) -> bytes:
        """Return the bytes of its file."""
        learned = f"# learned {self.learned_at_ns} {self.roster_hash.hex()}\n"
        body = render_publication(self.publication) + learned.encode()
        return body + f"# sha256 {hashlib.sha256(body).hexdigest()}\n".encode()


class PoliciesInMemory:
    """A book that lives as long as this object: simulators, auditors and tests."""

    def __init__(self, versions: Sequence[KnownPolicy] = ()) -> None:
        self._lock = threading.Lock()
        self._versions: tuple[KnownPolicy, ...] = tuple(versions)
        self._by_hash = {one.policy.hash: one for one in versions}
        self._dropped: set[bytes] = set()

    @property
    def versions(self) -> tuple[KnownPolicy, ...]:
        """Return every version, oldest first."""
        return self._versions

    def policy(self, policy_hash: bytes, now_ns: int) -> Policy:
        """Return a version that was in force by then. Refused: unknown_policy, too_early."""
        known = self._by_hash.get(policy_hash)
        if known is None:
            raise Refused(Reason.UNKNOWN_POLICY, policy_hash.hex())
        if now_ns < known.in_force_from_ns:
            raise Refused(Reason.TOO_EARLY, f"policy {known.policy.serial} is not in force yet")
        return known.policy

    def newest(self, now_ns: int) -> Policy:
        """Return the newest version that was in force by then. Refused: unknown_policy."""
        for known in reversed(self._versions):
            if known.in_force_from_ns <= now_ns:
                return known.policy
        raise Refused(Reason.UNKNOWN_POLICY, "no policy is in force")

    def learn(self, publication: Publication, *, roster: Roster, now_ns: int) -> KnownPolicy:
        """Learn the next version; one that is known already is returned as it was learned.

        Unless its delay runs and an officer rejects it: then it is dropped for good. Refused: as
        check_publication, rejected_by_officer among them; too_early (the version before is not in
        force yet), unknown_policy (another version of the same serial is known).
        """
        with self._lock:
            known = self._by_hash.get(publication.hash)
            if publication.hash in self._dropped:
                raise Refused(Reason.REJECTED_BY_OFFICER, "this version was stopped")
            if known is not None:
                self._stop(known, publication, roster, now_ns)
                return known
            now_ns = max(now_ns, self._versions[-1].learned_at_ns if self._versions else 0)
            known = _learned(self._versions, publication, roster, now_ns)
            self._keep(known)
            self._add(known)
            return known

    def _stop(
        self, known: KnownPolicy, publication: Publication, roster: Roster, now_ns: int
    ) -> None:
        """Drop a version that is not in force yet when an officer rejects it; say so."""
        if now_ns >= known.in_force_from_ns or known is not self._versions[-1]:
            return
        rejections = [one for one in publication.approvals if one.verdict is Verdict.REJECT]
        for one in rejections[:APPROVALS_MAX]:
            try:
                officer = check_verdict(
                    known.policy, known.publication.authors, one, roster=roster, now_ns=now_ns
                )
            except Refused:
                continue
            self._drop(known)
            del self._by_hash[known.policy.hash]
            self._dropped.add(known.policy.hash)
            self._versions = self._versions[:-1]
            raise Refused(Reason.REJECTED_BY_OFFICER, officer.person)

    def _drop(self, known: KnownPolicy) -> None:
        """Make it durable that a version is dropped, where this book has a place for it."""

    def _keep(self, known: KnownPolicy) -> None:
        """Make a version durable, where this book has a place for it."""

    def _add(self, known: KnownPolicy) -> None:
        self._by_hash[known.policy.hash] = known
        self._versions = (*self._versions, known)


class PolicyShelf(PoliciesInMemory):
    """The book in a folder; a version is on the disk before `learn` returns it."""

    def __init__(self, folder: Path, roster_of: RosterOf) -> None:
        """Open a folder, or make it. Corrupt: a file is not one that was written here."""
        super().__init__()
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for known in read_policies(folder, roster_of):
            self._add(known)
        found = (_DROPPED.fullmatch(path.name) for path in folder.iterdir())
        self._dropped = {bytes.fromhex(match[1]) for match in found if match}

    def _drop(self, known: KnownPolicy) -> None:
        path = self.folder / known_name(known.policy.serial)
        try:
            path.rename(self.folder / f"dropped-{known.policy.hash.hex()}.toml")
            sync_folder(self.folder)
        except OSError as error:
            raise Unavailable(f"{path.name} cannot be renamed") from error

    def _keep(self, known: KnownPolicy) -> None:
        path = self.folder / known_name(known.policy.serial)
        try:
            write_private_file(path, known.message())
        except OSError as error:
            raise Unavailable(f"{path.name} cannot be written") from error
        except Refused as refused:
            raise Corrupt(f"{path.name} appeared in the signer's folder") from refused


def read_policies(folder: Path, roster_of: RosterOf) -> list[KnownPolicy]:
    """Return every version in a folder, oldest first, each checked with the roster of its day.

    A draft that a crash left behind was never learned and is passed over. Corrupt: as PolicyShelf.
    """
    found = (path.name for path in folder.iterdir())
    names = sorted(
        name for name in found if not (_DRAFT.fullmatch(name) or _DROPPED.fullmatch(name))
    )
    known: list[KnownPolicy] = []
    for number, name in enumerate(names, 1):
        if name != known_name(number) or number > VERSIONS_MAX:
            raise Corrupt(f"{name} does not belong into the signer's policies")
        with (folder / name).open("rb") as file:
            data = file.read(2 * PUBLICATION_BYTES_MAX)
        known.append(read_known(data, known, roster_of))
    return known


def read_known(data: bytes, before: Sequence[KnownPolicy], roster_of: RosterOf) -> KnownPolicy:
    """Return the version of one file, behind those before it. Corrupt: it was not learned so."""
    match = _TAIL.fullmatch(data)
    if (
        match is None
        or hashlib.sha256(data[: -len(match[4]) - 10]).hexdigest() != match[4].decode()
    ):
        raise Corrupt("a file of the signer's policies is not what was written")
    learned_at_ns = int(match[2])
    try:
        roster = roster_of(bytes.fromhex(match[3].decode()))
        found = _learned(before, parse_publication(match[1]), roster, learned_at_ns)
    except Refused as refused:
        raise Corrupt(f"a policy of the signer was never published: {refused}") from refused
    if found.message() != data or learned_at_ns >= TIME_LIMIT_NS:
        raise Corrupt("a file of the signer's policies has another spelling")
    return found


def _learned(
    before: Sequence[KnownPolicy], publication: Publication, roster: Roster, now_ns: int
) -> KnownPolicy:
    """Return what is learned of a publication now."""
    last = before[-1] if before else None
    if last is not None and now_ns < last.in_force_from_ns:
        raise Refused(Reason.TOO_EARLY, f"policy {last.policy.serial} is not in force yet")
    policy = check_publication(
        publication, None if last is None else last.policy, roster=roster, now_ns=now_ns
    )
    delay_ns = 0 if last is None else last.policy.publish.delay_ns
    return KnownPolicy(policy, publication, now_ns, now_ns + delay_ns, roster.hash)


def known_name(serial: int) -> str:
    """Return the name of a version's file."""
    return f"known-{serial:04}.toml"
