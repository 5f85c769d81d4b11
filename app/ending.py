"""How a process ends: what stops it becomes an exit code.

0 asked to stop, 1 it can be started again (lease lost, disk failed), 6 another process is in the
way, 8 our records contradict each other and a person must look first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog

from app.data_folder import FolderInUse
from app.serving import Stop
from core.errors import Corrupt, Unavailable
from custody.keys.store import StoreInUse
from custody.lease import LeaseHeld

EXIT_AGAIN = 1
EXIT_IN_THE_WAY = 6
EXIT_CORRUPT = 8

_log = structlog.get_logger("process")


def die(error: Exception, stop: Stop) -> None:
    """Stop the process for a person."""
    _log.critical("CORRUPT: this process stops; a person must look", what=str(error))
    stop.set(EXIT_CORRUPT)


@contextlib.contextmanager
def ending(stop: Stop) -> Iterator[None]:
    """Turn what stops a process into its exit code; a process that hangs while ending is ended."""
    try:
        yield
    except Corrupt as error:
        die(error, stop)
    except (LeaseHeld, FolderInUse, StoreInUse) as error:
        _log.error("another process is in the way", what=error.what)
        stop.set(EXIT_IN_THE_WAY)
    except (Unavailable, OSError) as error:
        _log.error("cannot go on", what=str(error))
        stop.set(EXIT_AGAIN)
    _log.info("process ends", code=stop.code)
