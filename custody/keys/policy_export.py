"""The policies that a signer learned, as files beside its exported log: who audits needs both."""

from __future__ import annotations

from pathlib import Path

from core.errors import Reason, Refused
from custody.keys.policy_book import (
    KnownPolicy,
    PoliciesInMemory,
    RosterOf,
    known_name,
    read_known,
    read_policies,
)
from custody.keys.service import KeyService

FOLDER_SUFFIX = ".policies"
_VERSIONS_MAX = 10_000


def learned_by(signer: KeyService, roster_of: RosterOf) -> PoliciesInMemory:
    """Return every policy that a signer learned, each checked with the roster of its day.

    Corrupt: one was never published. Unavailable: the signer is away.
    """
    known: list[KnownPolicy] = []
    while len(known) < _VERSIONS_MAX:
        try:
            data = signer.known_policy(len(known) + 1)
        except Refused as refused:
            if refused.reason is not Reason.UNKNOWN_POLICY:
                raise
            break
        known.append(read_known(data, known, roster_of))
    return PoliciesInMemory(known)


def write_policies(log_file: Path, book: PoliciesInMemory) -> Path:
    """Write the policies into a new folder beside an exported log; return it.

    Refused: exists_with_other_content.
    """
    folder = folder_of(log_file)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, str(folder)) from error
    for known in book.versions:
        (folder / known_name(known.policy.serial)).write_bytes(known.message())
    return folder


def open_policies(folder: Path, roster_of: RosterOf) -> PoliciesInMemory:
    """Return the policies of an exported folder. Refused: not_found. Corrupt: as learned_by."""
    if not folder.is_dir():
        raise Refused(Reason.NOT_FOUND, f"no policies at {folder}")
    return PoliciesInMemory(read_policies(folder, roster_of))


def folder_of(log_file: Path) -> Path:
    """Return where the policies of an exported log stand."""
    return log_file.with_name(log_file.name + FOLDER_SUFFIX)
