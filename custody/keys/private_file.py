"""Files that only their owner reads: written whole or not at all, never over another file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.errors import Reason, Refused

OWNER_ONLY = 0o600
FILE_BYTES_MAX = 1 << 16


def write_private_file(path: Path, data: bytes) -> None:
    """Write data durably under a name that does not exist yet, readable by the owner alone.

    Refused: exists_with_other_content.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, path)  # unlike rename, a link never replaces
        except FileExistsError as error:
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, str(path)) from error
    finally:
        draft.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_private_file(path: Path) -> bytes:
    """Return the bytes of a file that nobody else can read.

    Refused: forbidden (its mode), not_found, too_large.
    """
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise Refused(Reason.FORBIDDEN, f"{path} has mode {mode:o}; wanted {OWNER_ONLY:o}")
            if os.fstat(stream.fileno()).st_size > FILE_BYTES_MAX:
                # Before reading: the frame of an error holds no part of a secret.
                raise Refused(Reason.TOO_LARGE, str(path))
            return stream.read(FILE_BYTES_MAX)
    except FileNotFoundError as error:
        raise Refused(Reason.NOT_FOUND, str(path)) from error
