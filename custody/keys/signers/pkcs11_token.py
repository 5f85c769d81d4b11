"""A token as one signer process uses it: one login for life, a few sessions, every wait bounded.

Calls into a token's library cannot be interrupted, so a few threads of our own make them and the
caller waits no longer than `patience_ms`. What the token answers decides what happens next:

    lost (session, handle, device)  open again once, do the same work once more; then Unavailable
    does not answer                 Unavailable, for everybody, until that call has come back
    wrong PIN                       Refused, for ever: a hardware token locks after a few
    another or a blank token        Corrupt, for ever
    anything else                   Unavailable
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from core.clock import Clock, SystemClock
from core.errors import Corrupt, Reason, Refused, StrongroomError, Unavailable
from custody.keys.signers.pkcs11_keys import mapper
from custody.keys.signers.pkcs11_lanes import Lane, Lanes
from custody.keys.signers.pkcs11_login import log_in
from custody.keys.signers.pkcs11_module import START_LOCK_S, Module, binding, load_module, locked

T = TypeVar("T")

PATIENCE_MS = 10_000
SESSIONS = 1
"""Each with a thread. SoftHSM does one thing at a time; hardware may do more."""
TRIES = 2
"""How often one piece of work is begun at most."""
START_TRIES = 4
"""Another process that logs in rewrites the token's files; one that reads them then sees none."""
REST_MS = (200, 10_000)
"""After a failure nobody asks the token for so long, doubled with each failure."""
_MS = 1_000_000

NO_KEY = "NoSuchKey"
LOST = frozenset(
    {
        "DeviceError",
        "DeviceMemory",
        "DeviceRemoved",
        "FunctionFailed",
        "GeneralError",
        "KeyHandleInvalid",
        NO_KEY,
        "NoSuchToken",
        "ObjectHandleInvalid",
        "OperationActive",
        "OperationNotInitialized",
        "PKCS11Error",  # what has no name in the binding: vendors' own, a library that was ended
        "SessionClosed",
        "SessionHandleInvalid",
        "SlotIDInvalid",
        "TokenNotPresent",
        "TokenNotRecognised",
        "UnwrappingKeyHandleInvalid",
        "UserNotLoggedIn",
        "WrappingKeyHandleInvalid",
    }
)
"""Answers after which opening again may help."""


class Token:
    """A token that is logged in to. Everybody in the process who names it shares this object."""

    def __init__(
        self,
        module: Module,
        label: str,
        pin_file: Path,
        *,
        clock: Clock,
        sessions: int,
        patience_ms: int,
    ) -> None:
        self.label, self._sessions = label, sessions
        self._module, self.pin_file = module, pin_file
        self._clock, self._patience_ms = clock, patience_ms
        self._checks: list[Callable[[Any], None]] = []
        self._users = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._opening = threading.RLock()
        self._opened: tuple[int, int] | None = None
        self._logins = 0
        self._is_lost = False
        self._found: Any = None
        self._session: Any = None
        self._failure: StrongroomError | None = None
        self._rest_ms, self._rest_until_ns = 0, 0
        self._lanes = Lanes(f"token-{self.label}", self._sessions, self._attempt, self._lose_all)

    def run(self, work: Callable[[Lane], T], *, patience_ms: int = 0) -> T:
        """Return what work returns, done in a thread that has a session.

        Work may be done twice, when the first time the token was lost on the way; so it must raise
        nothing any more once a signature was returned to it.
        Refused: wrong_pin, weak_key. Unavailable. Corrupt.
        """
        (result,) = self.run_each([work], patience_ms=patience_ms)
        return result

    def run_each(
        self, works: Iterable[Callable[[Lane], T]], *, patience_ms: int = 0
    ) -> Iterator[T]:
        """Yield what each returns, in order; each is begun when it is drawn. As run."""
        self._look_at_failure()
        return self._lanes.run_each(works, patience_ms=patience_ms or self._patience_ms)

    def expect(self, check: Callable[[Any], None]) -> None:
        """Have something checked in every session that logs in: which keys must be there.

        The check raises Corrupt or Refused; it was called before this returns. One that is expected
        already is not called again.
        """
        if self._opened is not None and check in self._checks:
            return
        was_open = self._opened is not None
        self._checks.append(check)
        patience_ms = START_LOCK_S * 1_000 + self._patience_ms  # others may be starting too
        self.run(lambda lane: check(lane.session) if was_open else None, patience_ms=patience_ms)

    def alone(self) -> contextlib.AbstractContextManager[int]:
        """Keep other processes that use this PIN file from making objects at the same time."""
        return locked(self.pin_file.parent)

    def forget(self, check: Callable[[Any], None]) -> None:
        """End what `expect` began."""
        self._checks.remove(check)

    # in the lanes

    def _attempt(self, work: Callable[[Lane], Any], lane: Lane) -> Any:
        pkcs11 = binding()
        losses: list[str] = []
        while True:
            opened = self._open()
            if not self._module.enter(opened[0]):
                continue  # another token's user has initialised the library meanwhile
            try:
                if lane.opened != opened:
                    self._open_lane(lane, opened)
                return work(lane)
            except pkcs11.PKCS11Error as error:
                losses.append(type(error).__name__)
                if losses[-1] not in LOST:
                    raise Unavailable(f"the token refuses: {losses[-1]}") from error
                self._lose(opened)
            finally:
                self._module.leave()
            if losses.count(NO_KEY) > TRIES:
                raise Corrupt(f"the token {self.label!r} is there, and its keys are not")
            if len(losses) - losses.count(NO_KEY) >= TRIES:
                what = f"the token was lost twice: {', then '.join(losses)}"
                raise self._rest(Unavailable(what))

    def _open_lane(self, lane: Lane, opened: tuple[int, int]) -> None:
        lane.handles.clear()
        lane.unwrapped.clear()
        lane.opened = None
        lane.session = self._found.open(rw=True, attribute_mapper=mapper())
        lane.opened = opened

    def _lose(self, opened: tuple[int, int]) -> None:
        with self._opening:
            if self._opened == opened:
                self._is_lost = True

    # opening

    def _look_at_failure(self) -> None:
        if self._failure is None:
            return
        if isinstance(self._failure, Unavailable):
            wait_ns = self._rest_until_ns - self._clock.monotonic_ns()
            if wait_ns <= 0:
                return
            raise Unavailable(self._failure.what, wait_ns // _MS + 1)
        raise _again(self._failure)

    def _lose_all(self) -> None:
        self._is_lost = True

    def _rest(self, failure: StrongroomError) -> StrongroomError:
        with self._opening:
            self._is_lost = True
            self._failure = failure
            least, most = REST_MS
            self._rest_ms = min(most, max(least, 2 * self._rest_ms))
            self._rest_until_ns = self._clock.monotonic_ns() + self._rest_ms * _MS
        return failure

    def _open(self) -> tuple[int, int]:
        """Return the generation and the number of the login, after opening where needed."""
        if (opened := self._still_open()) is not None:
            return opened
        with self._opening:
            if (opened := self._still_open()) is not None:
                return opened
            self._look_at_failure()
            try:
                with self._module.starting(self.pin_file):
                    self._start()
            except StrongroomError as error:
                self._opened = None
                raise self._rest(error) from error.__cause__
            self._failure, self._rest_ms = None, 0
            assert self._opened is not None
            return self._opened

    def _still_open(self) -> tuple[int, int] | None:
        opened = self._opened
        if opened is None or self._is_lost or opened[0] != self._module.generation:
            return None
        return opened

    def _start(self) -> None:
        for left in reversed(range(START_TRIES)):
            failure = self._try_to_start(is_again=left < START_TRIES - 1)
            if failure is None:
                return
            # What looks blank may have been taken away a moment ago; a PIN is never tried twice.
            is_final = isinstance(failure, Refused) and failure.reason is Reason.WRONG_PIN
            if is_final or not left:
                raise failure
            self._clock.sleep(50 * _MS)

    def _try_to_start(self, *, is_again: bool) -> StrongroomError | None:
        pkcs11, module = binding(), self._module
        if self._is_lost or is_again or not module.is_ready:
            try:
                module.initialise(after=module.generation)
            except Unavailable as error:
                return error
        generation = module.generation
        if not module.enter(generation):
            return Unavailable("the token's library was initialised by others")
        try:
            found = module.tokens(self.label)
            if len(found) != 1:
                return Unavailable(f"{len(found)} tokens are labelled {self.label!r}; wanted one")
            entered = log_in(found[0], self.pin_file)
            if isinstance(entered, StrongroomError):
                return entered
            self._session, self._found, self._is_lost = entered, found[0], False
            self._logins += 1
            self._opened = generation, self._logins
            for check in tuple(self._checks):
                check(self._session)
        except pkcs11.PKCS11Error as error:
            self._log_out()
            return Unavailable(f"the token does not open: {type(error).__name__}")
        except StrongroomError as error:
            self._log_out()
            return error
        finally:
            module.leave()
        return None

    def _log_out(self) -> None:
        session, self._session, self._opened = self._session, None, None
        if session is not None:
            with contextlib.suppress(binding().PKCS11Error):  # a lost token forgot us already
                session.close()

    # the end

    def hold(self) -> None:
        """Count one more user."""
        self._users += 1

    def release(self) -> bool:
        """Count one user less; with the last one log out, and return True."""
        self._users -= 1
        if self._users:
            return False
        self.stop()
        if self._opened is not None and self._module.enter(self._opened[0]):
            self._log_out()
            self._module.leave()
        return True

    def stop(self) -> None:
        """End the threads, after what they are doing."""
        self._lanes.close(self._patience_ms)

    def after_fork(self) -> None:
        """In a child: the parent's session, threads and locks are not ours. Open again at need."""
        self._begin_anew()

    def __repr__(self) -> str:
        return f"<Token {self.label!r}>"


def _again(failure: StrongroomError) -> StrongroomError:
    if isinstance(failure, Refused):
        return Refused(failure.reason, failure.detail)
    return Corrupt(str(failure))


_tokens: dict[tuple[str, str], Token] = {}
_tokens_lock = threading.Lock()


def open_token(
    module: Path,
    label: str,
    pin_file: Path,
    *,
    clock: Clock | None = None,
    sessions: int = SESSIONS,
    patience_ms: int = PATIENCE_MS,
) -> Token:
    """Return this process's one Token of a label, for `close_token`; nothing is asked of it yet.

    Unavailable: no such library, or the process has the token open with another PIN file.
    """
    loaded = load_module(module)
    with _tokens_lock:
        token = _tokens.get((loaded.path, label))
        if token is None:
            clock = clock or SystemClock()
            token = Token(
                loaded, label, pin_file, clock=clock, sessions=sessions, patience_ms=patience_ms
            )
            _tokens[loaded.path, label] = token
        if token.pin_file != pin_file:
            raise Unavailable(f"the token {label!r} is open with {token.pin_file}")
        token.hold()
        return token


def close_token(token: Token) -> None:
    """Give a Token back."""
    with _tokens_lock:
        if token.release():
            for name in [name for name, known in _tokens.items() if known is token]:
                del _tokens[name]


def _after_fork() -> None:
    global _tokens_lock
    _tokens_lock = threading.Lock()
    for token in _tokens.values():
        token.after_fork()


def _at_exit() -> None:
    # python-pkcs11 unloads the library when the interpreter ends: nobody may be inside it then.
    for token in list(_tokens.values()):
        token.stop()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
