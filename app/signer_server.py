"""The signer's door: a Unix socket that few may knock at, and where nobody holds up the others.

Who connects must have one of the allowed user ids, as the kernel says. Each connection has a thread
of its own; a frame that has begun must end within its time, however it trickles, and when all
places are taken the one that has been idle longest makes room.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from app.data_folder import FolderInUse
from app.shielded import Unexpected, shielded
from app.signer_frames import Told, frame
from app.signer_socket import Peer, address_of, connect, peer_of, receive_frame, send_frame
from app.signer_wire import told_of_error
from core.errors import Reason, Refused, Unavailable

OWNER_ONLY, OWNER_AND_GROUP = 0o600, 0o660
BACKLOG = 128
STOP_WAIT_S = 15

_log = structlog.get_logger("signer")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """Who may come in and for how long."""

    uids: frozenset[int]
    connections_max: int = 64
    of_process_max: int = 24
    """Connections of one process: one that leaks them does not shut the others out."""
    idle_ms: int = 300_000
    frame_ms: int = 5_000
    """How long a frame may take from its first byte to its last, either way."""


@dataclass(slots=True)
class _Guest:
    connection: socket.socket
    peer: Peer
    idle_since_ns: int | None
    """None while it is being answered."""


class SignerServer:
    """Listens until it is stopped."""

    def __init__(self, path: Path, answer: Callable[[bytes], Told], *, rules: DoorRules) -> None:
        """Take the socket. FolderInUse: somebody listens there. OSError: it cannot be made."""
        self.path = path
        self._answer = answer
        self._rules = rules
        self._lock = threading.Lock()
        self._guests: dict[int, _Guest] = {}
        self._threads: set[threading.Thread] = set()
        self._is_stopping = False
        only_own = rules.uids == {os.geteuid()}
        self._listener = _listen(path, OWNER_ONLY if only_own else OWNER_AND_GROUP)
        self._thread = threading.Thread(target=self._accept, name="door", daemon=True)

    def start(self) -> None:
        """Let clients in."""
        self._thread.start()

    def stop(self, *, wait_s: int = STOP_WAIT_S) -> bool:
        """Let nobody in any more, end what is being answered; return whether all went in time."""
        with self._lock:
            self._is_stopping = True
            guests, threads = list(self._guests.values()), list(self._threads)
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for guest in guests:  # who is idle ends now, who waits for an answer still gets it
            with contextlib.suppress(OSError):
                guest.connection.shutdown(socket.SHUT_RD)
        deadline = time.monotonic() + wait_s
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._is_stopping:
                    return
                _log.error("nobody can be let in for a moment", what=str(error))
                time.sleep(0.1)  # out of file descriptors, most likely
                continue
            with contextlib.suppress(Unexpected, OSError):
                shielded(partial(self._admit, connection), "letting a client in")

    def _admit(self, connection: socket.socket) -> None:
        peer = peer_of(connection)
        if peer.uid not in self._rules.uids:
            _log.warning("a foreign user was turned away", uid=peer.uid, pid=peer.pid)
            self._turn_away(connection, Refused(Reason.FORBIDDEN, "not one of the signer's users"))
            return
        guest = _Guest(connection, peer, time.monotonic_ns())
        with self._lock:
            has_room = not self._is_stopping and self._make_room(peer)
            if has_room:
                self._guests[id(guest)] = guest
                thread = threading.Thread(target=self._serve, args=(guest,), daemon=True)
                self._threads.add(thread)
                thread.start()
        if not has_room:
            self._turn_away(connection, Unavailable("the signer has no place for more connections"))

    def _make_room(self, peer: Peer) -> bool:
        """Return whether one more may come, after sending away who was idle longest."""
        of_process = [one for one in self._guests.values() if one.peer.pid == peer.pid]
        if len(of_process) >= self._rules.of_process_max:
            return self._send_away(of_process)
        if len(self._guests) >= self._rules.connections_max:
            return self._send_away(list(self._guests.values()))
        return True

    def _send_away(self, guests: list[_Guest]) -> bool:
        """Close the connection that has been idle longest; return whether there was one."""
        idle = [guest for guest in guests if guest.idle_since_ns is not None]
        if not idle:
            return False
        oldest = min(idle, key=lambda guest: guest.idle_since_ns or 0)
        self._guests.pop(id(oldest), None)
        with contextlib.suppress(OSError):
            oldest.connection.shutdown(socket.SHUT_RDWR)
        return True

    def _turn_away(self, connection: socket.socket, why: Refused | Unavailable) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(0)
            connection.send(frame(told_of_error(why)))

    def _serve(self, guest: _Guest) -> None:
        try:
            with contextlib.suppress(OSError), guest.connection:
                while not self._is_stopping and self._exchange(guest):
                    pass
        finally:
            with self._lock:
                self._guests.pop(id(guest), None)
                self._threads.discard(threading.current_thread())

    def _exchange(self, guest: _Guest) -> bool:
        """Answer one frame; return whether another may follow."""
        rules = self._rules
        try:
            body = receive_frame(guest.connection, first_ms=rules.idle_ms, frame_ms=rules.frame_ms)
        except Refused as refused:  # where the next frame begins is not known any more
            told = frame(told_of_error(refused))
            send_frame(guest.connection, told, timeout_ms=rules.frame_ms)
            return False
        if body is None:
            return False
        guest.idle_since_ns = None
        answer = self._answer(bytes(body))
        send_frame(guest.connection, _framed(answer), timeout_ms=rules.frame_ms)
        guest.idle_since_ns = time.monotonic_ns()
        return True


def _framed(answer: Told) -> bytes:
    try:
        return frame(answer)
    except Refused as refused:
        return frame(told_of_error(refused))


def _listen(path: Path, mode: int) -> socket.socket:
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connect(path, timeout_ms=1_000).close()
            raise FolderInUse(f"another signer listens at {path}")
        path.unlink(missing_ok=True)
        listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        before = os.umask(0o777 & ~mode)
        try:
            with address_of(path) as address:
                listener.bind(address)
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        opened.pop_all()
        return listener
