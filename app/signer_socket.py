"""The signer's socket as a file and as bytes: where it lies, who is on the other end, frames."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.signer_frames import LENGTH_BYTES, body_bytes

PIECE_BYTES = 1 << 16
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected, as the kernel says (SO_PEERCRED of unix(7))."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Return who is on the other end."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return Peer(pid, uid)


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Lend an address for a socket file whose own path may be longer than the 107 bytes allowed.

    OSError: there is no such folder.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, *, timeout_ms: int) -> socket.socket:
    """Return a connection. OSError: nobody listens there."""
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        connection.settimeout(timeout_ms / 1_000)
        with address_of(path) as address:
            connection.connect(address)
        opened.pop_all()
        return connection


def receive_frame(connection: socket.socket, *, first_ms: int, frame_ms: int) -> bytearray | None:
    """Return the body of the next frame, None when the other end closed before one began.

    first_ms: how long its first bytes may take; frame_ms: how long all others may, however slowly
    they trickle. TimeoutError, ConnectionError. Refused: too_large.
    """
    connection.settimeout(first_ms / 1_000)
    head = connection.recv(LENGTH_BYTES)
    if not head:
        return None
    deadline = time.monotonic_ns() + frame_ms * 1_000_000
    rest = _receive(connection, LENGTH_BYTES - len(head), deadline)
    return _receive(connection, body_bytes(head + rest), deadline)


def send_frame(connection: socket.socket, frame: bytes, *, timeout_ms: int) -> None:
    """Send a whole frame. TimeoutError, OSError."""
    connection.settimeout(timeout_ms / 1_000)
    connection.sendall(frame)


def _receive(connection: socket.socket, count: int, deadline_ns: int) -> bytearray:
    data = bytearray()
    while len(data) < count:
        left_ns = deadline_ns - time.monotonic_ns()
        if left_ns <= 0:
            raise TimeoutError("a frame that does not end")
        connection.settimeout(left_ns / 1_000_000_000)
        piece = connection.recv(min(PIECE_BYTES, count - len(data)))
        if not piece:
            raise ConnectionError("closed within a frame")
        data += piece
    return data
