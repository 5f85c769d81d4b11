"""One PKCS#11 library in this process: loaded once, told to lock, initialised by one at a time.

python-pkcs11 initialises a library with no arguments, which promises that one thread alone will
call it; SoftHSM then goes without its locks and dies of the second thread. So the library's own
C_Initialize is replaced in its function table by one that says CKF_OS_LOCKING_OK (PKCS#11 v2.40,
5.4). And because logging in rewrites a token's files, processes that start together take turns.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Unavailable

if TYPE_CHECKING:
    from types import ModuleType

CKR_OK = 0
CKF_OS_LOCKING_OK = 2
START_LOCK_S = 60
"""How long a start waits for other processes that are starting."""
QUIET_S = 5
"""How long an initialisation waits for calls that are under way."""
_POLL_S = 0.005


@functools.cache
def binding() -> ModuleType:
    """Return python-pkcs11. Unavailable when it is not installed."""
    try:
        import pkcs11
    except ImportError as error:
        what = "python-pkcs11 is not installed: install strongroom with its extra 'hsm'"
        raise Unavailable(what) from error
    return pkcs11


class Module:
    """A loaded library. Handles are good for one `generation`: initialising anew voids them all."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.generation = 0
        self.is_ready = False
        """Whether it is initialised: not before the first time, after a failure, in a child."""
        self._quiet = threading.Condition()
        self._busy = 0
        self._is_closing = self._is_forking = False
        self._library: Any = None
        self._is_child = False
        self._start_lock: int | None = None

    def enter(self, generation: int) -> bool:
        """Begin a call; False when the library was initialised since that generation."""
        with self._quiet:
            while self._is_closing:
                self._quiet.wait()
            if self.generation != generation:
                return False
            self._busy += 1
            return True

    def leave(self) -> None:
        """End a call that `enter` began."""
        with self._quiet:
            self._busy -= 1
            if self._is_closing and not self._busy:
                self._quiet.notify_all()

    def initialise(self, *, after: int) -> None:
        """Initialise the library, unless somebody did so after that generation.

        Unavailable: a call into the library does not come back, the library refuses.
        """
        with self._quiet:
            while self._is_closing:
                self._quiet.wait()
            if self.generation != after:
                return
            self._is_closing = True
            try:
                if not self._quiet.wait_for(lambda: self._busy == 0, QUIET_S):
                    raise Unavailable("a call into the token's library does not come back")
                self._initialise()
            finally:
                self._is_closing = self._is_forking
                self._quiet.notify_all()

    def _initialise(self) -> None:
        pkcs11 = binding()
        self.generation += 1
        self.is_ready = False
        functions = force_os_locking(self.path)
        if self._library is None:
            try:
                self._library = pkcs11.lib(self.path)
            except pkcs11.PKCS11Error as error:
                what = f"the token's library {self.path} does not start: {type(error).__name__}"
                raise Unavailable(what) from error
        else:
            # Not by python-pkcs11, whose `finalize` would stop every thread while it waits. And a
            # child ends nothing: what it has of its parent's library may be locked for ever.
            if not self._is_child:
                functions.finalize(None)
            answer = functions.initialize(None)
            if answer != CKR_OK:
                raise Unavailable(f"the token's library {self.path} does not start: {answer:#x}")
        self._is_child = False
        self.is_ready = True

    def tokens(self, label: str) -> list[Any]:
        """Return the tokens of a label, of which there should be one."""
        return list(self._library.get_tokens(token_label=label))

    @contextlib.contextmanager
    def starting(self, lock_file: Path) -> Iterator[None]:
        """Hold the lock that lets one process at a time initialise and log in.

        Unavailable: others held it for a minute, or the file cannot be opened.
        """
        with locked(lock_file) as handle:
            self._start_lock = handle
            try:
                yield
            finally:
                self._start_lock = None

    def before_fork(self) -> None:
        """Wait, not for ever, until nobody is inside: a child inherits locks that are held."""
        if self._quiet.acquire(timeout=QUIET_S):
            self._is_closing = self._is_forking = True
            self._quiet.wait_for(lambda: self._busy == 0, QUIET_S)
            self._quiet.release()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._is_forking:
            with self._quiet:
                self._is_closing = self._is_forking = False
                self._quiet.notify_all()

    def after_fork(self) -> None:
        """In a child: nothing of the parent's is usable, not even a lock that it held."""
        self._quiet = threading.Condition()
        self._busy, self._is_closing, self._is_forking = 0, False, False
        self.generation += 1
        self.is_ready, self._is_child = False, True
        if self._start_lock is not None:
            os.close(self._start_lock)  # the lock is the parent's
            self._start_lock = None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock of a file or folder that is there; lend its descriptor.

    Unavailable: others held it for a minute, or it cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"{path} cannot be opened") from error
    try:
        wait_for_lock(handle, path)
        yield handle
    finally:
        os.close(handle)


def wait_for_lock(handle: int, path: Path) -> None:
    """Lock what is open. Unavailable: others held it for a minute."""
    until = time.monotonic() + START_LOCK_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise Unavailable(f"others keep {path} locked") from error
            time.sleep(_POLL_S)
        else:
            return


class _FunctionListHead(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("initialize", ctypes.c_void_p),
        ("finalize", ctypes.c_void_p),
    )


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS without mutex functions of our own."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


_Function = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class Corrected:
    """A library's functions of one argument, after the correction, and what must live with them."""

    initialize: Callable[[object], int]
    finalize: Callable[[object], int]
    kept: tuple[object, ...]


@functools.cache
def force_os_locking(path: str) -> Corrected:
    """Make every C_Initialize of a library one with CKF_OS_LOCKING_OK.

    Unavailable: it cannot be loaded.
    """
    try:
        library = ctypes.CDLL(path)
        table = ctypes.POINTER(_FunctionListHead)()
        answer = library.C_GetFunctionList(ctypes.byref(table))
    except (OSError, AttributeError) as error:
        raise Unavailable(f"{path} is no PKCS#11 library that loads here") from error
    if answer != CKR_OK:
        raise Unavailable(f"{path} does not give its functions: {answer:#x}")
    original = _Function(table.contents.initialize)
    arguments = _InitializeArguments(flags=CKF_OS_LOCKING_OK)
    ours = _Function(lambda _: int(original(ctypes.addressof(arguments))))
    _make_writable(ctypes.addressof(table.contents), ctypes.sizeof(_FunctionListHead))
    table.contents.initialize = ctypes.cast(ours, ctypes.c_void_p).value
    finalize = _Function(table.contents.finalize)
    return Corrected(ours, finalize, (library, table, original, arguments))


def _make_writable(address: int, size: int) -> None:
    """Some libraries keep their table in pages that the loader has made read-only."""
    first = address & -mmap.PAGESIZE
    for line in Path("/proc/self/maps").read_text("ascii", "replace").splitlines():
        bounds, rights = line.split()[:2]
        start, end = (int(number, 16) for number in bounds.split("-"))
        if start < address + size and address < end and "w" not in rights:
            libc = ctypes.CDLL(None, use_errno=True)
            length = ctypes.c_size_t(address + size - first)
            if libc.mprotect(ctypes.c_void_p(first), length, mmap.PROT_READ | mmap.PROT_WRITE):
                raise Unavailable("the library's function table cannot be corrected")


_modules: dict[str, Module] = {}
_modules_lock = threading.Lock()


def load_module(path: Path) -> Module:
    """Return the one Module of a library in this process; it is not initialised yet.

    Unavailable: there is no such file.
    """
    name = os.path.realpath(path)
    if not os.path.isfile(name):
        raise Unavailable(f"there is no PKCS#11 library {path}")
    with _modules_lock:
        return _modules.setdefault(name, Module(name))


def _after_fork() -> None:
    global _modules_lock
    _modules_lock = threading.Lock()
    for module in _modules.values():
        module.after_fork()


def _before_fork() -> None:
    for module in _modules.values():
        module.before_fork()


def _after_fork_in_parent() -> None:
    for module in _modules.values():
        module.after_fork_in_parent()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork
)
