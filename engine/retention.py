"""What of the journal may go: segments that no snapshot, no book and no backup still needs.

By default everything is kept. A pruned journal begins at a cut that its start file names; that
file is durable before the first segment goes. Who recovers from such a journal needs a snapshot.
"""

from __future__ import annotations

import re

from core.errors import Corrupt
from engine.blocks import JOURNAL_START, PositionFile
from engine.events import Projected
from engine.files import Storage
from engine.journal import JournalReader, Part
from engine.journal_index import index_name
from engine.snapshot import sequence_of, snapshot_names, sound_snapshots

_MARK = re.compile(r"backup-[a-z0-9-]{1,60}\.pos")


def mark_backup(storage: Storage, name: str, position: Projected) -> None:
    """Note how far a backup has what is here; nothing after that is deleted.

    ValueError: a name of other than 1-60 small letters, digits and hyphens.
    """
    mark = PositionFile(f"backup-{name}.pos")
    if not _MARK.fullmatch(mark.name):
        raise ValueError(f"no name of a backup: {name!r}")
    storage.write_atomic(mark.name, mark.pack(position))


def backup_marks(storage: Storage) -> dict[str, Projected]:
    """Return the position of every backup by its name. Corrupt: a mark is damaged."""
    return {
        name.removeprefix("backup-").removesuffix(".pos"): PositionFile(name).parse(
            storage.read(name)
        )
        for name in storage.names()
        if _MARK.fullmatch(name)
    }


def kept_from(storage: Storage, projected_sequence: int) -> int:
    """Return the sequence after which books or backups still need everything."""
    return min(
        [projected_sequence, *(position.sequence for position in backup_marks(storage).values())]
    )


def prune_journal(
    storage: Storage, *, projected_sequence: int, archive: Storage | None = None
) -> list[str]:
    """Delete the segments that nobody can need, oldest first; return their names.

    Kept is every segment with anything after the books, after any backup, or after the oldest
    snapshot on the disk, which must be sound. With an `archive` each goes there, durably, first.
    """
    oldest = next(iter(snapshot_names(storage)[::-1]), None)
    if oldest is None or sequence_of(oldest) > projected_sequence:
        return []
    sound = next(sound_snapshots(storage, up_to=sequence_of(oldest)), None)
    if sound is None:
        return []
    behind = min(sound.position.sequence, kept_from(storage, projected_sequence))
    going = [part for part in JournalReader(storage).parts if _ends_by(part, behind)]
    if going:
        _check_holds(storage, sound.position)
        assert going[-1].until is not None
        storage.write_atomic(JOURNAL_START.name, JOURNAL_START.pack(going[-1].until))
    return _delete_before_start(storage, archive)


def _ends_by(part: Part, sequence: int) -> bool:
    return part.until is not None and part.until.sequence <= sequence


def _check_holds(storage: Storage, position: Projected) -> None:
    """A snapshot of another history must not be what is left of this one."""
    reader = JournalReader(storage)
    if reader.start_for(position.sequence) == position:
        return
    for block in reader.blocks_from(position.sequence):
        if block.end == position:
            return
        if block.last_sequence >= position.sequence:
            break
    raise Corrupt(f"the oldest snapshot stands at {position}, which is not in the journal")


def _delete_before_start(storage: Storage, archive: Storage | None) -> list[str]:
    """Delete what lies before the start; also what an interrupted pruning left there."""
    reader = JournalReader(storage)
    gone = []
    for segment in reader.before_start:
        if archive is not None:
            archive.write_atomic(segment.name, storage.read(segment.name))
        storage.delete(segment.name)
        storage.delete(index_name(segment))
        gone.append(segment.name)
    return gone
