"""Stands between the platform and the signer's socket, and sometimes keeps an answer to itself.

The signer has signed, and its log is on the disk, when its answer comes by here. Kept back, and the
signer killed at once, it is the death between persisting and answering, at an exact place, without
a hook in the program.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from pathlib import Path

from app.signer_frames import Signed, read_told
from app.signer_socket import address_of, connect, receive_frame

KEPT_PERCENT = 25
WAIT_MS = 60_000
HAND_OVER_S = 20


class SignerGate:
    """Passes frames both ways between clients of `path` and the signer behind `behind`."""

    def __init__(self, path: Path, behind: Path, *, seed: int) -> None:
        self.wanted = threading.Event()
        """Set while an answer is kept back: the signer is to be killed now."""
        self.passed = 0
        self._behind = behind
        self._random = random.Random(seed)
        self._turn = threading.Lock()
        self._killed = threading.Event()
        self._is_quiet = False
        self._listener = socket.socket(socket.AF_UNIX)
        with address_of(path) as address:
            self._listener.bind(address)
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="gate", daemon=True).start()

    def killed(self) -> None:
        """Say that the signer is dead: the answer may be lost now."""
        self.wanted.clear()
        self._killed.set()

    def quieten(self) -> None:
        """Keep nothing back any more."""
        self._is_quiet = True

    def close(self) -> None:
        """Let nobody through any more."""
        self.quieten()
        self.killed()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            connect(self._behind, timeout_ms=2_000) as signer,
        ):
            while question := receive_frame(client, first_ms=WAIT_MS, frame_ms=WAIT_MS):
                signer.sendall(len(question).to_bytes(4, "big") + question)
                answer = receive_frame(signer, first_ms=WAIT_MS, frame_ms=WAIT_MS)
                if answer is None or self._keeps(bytes(answer)):
                    return
                client.sendall(len(answer).to_bytes(4, "big") + answer)

    def _keeps(self, answer: bytes) -> bool:
        """Return whether an answer is lost; when it is, the signer is dead by then."""
        told = read_told(answer)
        if not isinstance(told, Signed) or self._is_quiet:
            return False
        with self._turn:
            self.passed += 1
            if self._random.random() * 100 >= KEPT_PERCENT:
                return False
            self._killed.clear()
            self.wanted.set()
            return self._killed.wait(HAND_OVER_S)
