"""Logging in to a token: once for a process, and never twice with a PIN that was refused."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Corrupt, Reason, Refused, StrongroomError, Unavailable
from custody.keys.private_file import read_private_file
from custody.keys.secret import Secret
from custody.keys.signers.pkcs11_keys import mapper
from custody.keys.signers.pkcs11_module import binding

if TYPE_CHECKING:
    from pkcs11 import PKCS11Error

PIN_REFUSED = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange", "PinLocked", "PinExpired"})


def log_in(found: Any, pin_file: Path) -> Any | StrongroomError:
    """Return the session that keeps the process logged in, or why there is none.

    Refused: wrong_pin, forbidden (others may read the PIN). Corrupt: a blank token. Unavailable.
    """
    flag = binding().TokenFlag
    if found.flags & flag.USER_PIN_LOCKED:
        return Refused(Reason.WRONG_PIN, "the token has locked the PIN")
    if found.flags & flag.USER_PIN_FINAL_TRY:
        return Refused(Reason.WRONG_PIN, "one try is left: a person has to make it")
    if not found.flags & flag.USER_PIN_INITIALIZED:
        return Corrupt(f"the token {found.label!r} is blank")
    memory = PinMemory(pin_file)
    if memory.has_been_refused():
        return Refused(Reason.WRONG_PIN, f"refused before: change it or delete {memory.path}")
    session, failure = _open_with(found, Secret(read_private_file(pin_file)))
    if failure is None:
        return session
    name = type(failure).__name__
    if name in PIN_REFUSED:
        memory.remember()
        return Refused(Reason.WRONG_PIN, f"the token {found.label!r} says {name}")
    return Unavailable(f"the token does not let us in: {name}")


_refused: set[str] = set()


class PinMemory:
    """That a PIN file was refused, so that starting again and again does not lock the token."""

    def __init__(self, pin_file: Path) -> None:
        self.path = pin_file.with_name(f"{pin_file.name}.refused")
        facts = pin_file.stat()
        self._mark = f"{facts.st_ino} {facts.st_mtime_ns}\n"

    def has_been_refused(self) -> bool:
        """Return whether this very file was refused."""
        try:
            return self._mark in _refused or self.path.read_text("ascii") == self._mark
        except FileNotFoundError:
            return False

    def remember(self) -> None:
        """Write it down, also for other processes where the folder lets us."""
        _refused.add(self._mark)
        with contextlib.suppress(OSError):
            self.path.write_text(self._mark, "ascii")


def _open_with(found: Any, pin: Secret) -> tuple[Any, PKCS11Error | None]:
    # No error leaves this frame: the PIN must not stand in a traceback.
    try:
        words = pin.reveal().decode("utf-8", "replace").rstrip("\r\n")
        return found.open(rw=True, user_pin=words, attribute_mapper=mapper()), None
    except binding().UserAlreadyLoggedIn:
        return found.open(rw=True, attribute_mapper=mapper()), None
    except binding().PKCS11Error as error:
        return None, error.with_traceback(None)
