"""A server that does not answer is left alone, and asked again slowly.

After `break_after` failed calls in a row every call fails at once; one probe at a time asks whether
the server is back, and the pause doubles up to `pause_max_s`. 429 is obeyed in the same way, for no
longer than that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock

from core.errors import Unavailable
from custody.keys.signers.vault_http import Reply

SECOND_MS = 1_000
BUSY = 429


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often. Seconds."""

    call_s: float = 5.0
    """Whole time of one call: login, tries and pauses included."""
    try_s: float = 2.0
    tries: int = 3
    backoff_s: float = 0.1
    break_after: int = 3
    pause_s: float = 1.0
    pause_max_s: float = 30.0
    relogin_every_s: float = 10.0
    """Least time between two logins because of a 403: it may be the policy that forbids."""


class Breaker:
    """Leaves a server alone that does not answer, and comes back slowly."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._lock = Lock()
        self._failures = 0
        self._shut_until = 0.0
        self._is_probing = False

    @property
    def retry_after_ms(self) -> int:
        """Return how long a caller should wait; at least one second."""
        left = self._shut_until - time.monotonic()
        return max(SECOND_MS, int(left * SECOND_MS))

    def enter(self, what: str) -> None:
        """Unavailable while the server is left alone."""
        with self._lock:
            is_shut = time.monotonic() < self._shut_until
            is_suspect = self._failures >= self._patience.break_after
            if is_shut or (is_suspect and self._is_probing):
                raise Unavailable(
                    f"{what}: Vault did not answer lately and is left alone", self.retry_after_ms
                )
            self._is_probing = is_suspect

    def leave(self, reply: Reply | None) -> None:
        """Count what a call came to; None when the server was not asked."""
        with self._lock:
            self._is_probing = False
            if reply is None:
                return
            if reply.status == BUSY:
                asked_s = 1 if reply.retry_after_s is None else reply.retry_after_s
                self._shut(min(asked_s, self._patience.pause_max_s))
            elif not reply.status or reply.status >= 500:
                self._failures += 1
                over = self._failures - self._patience.break_after
                if over >= 0:
                    pause_s = self._patience.pause_s * (1 << min(over, 10))
                    self._shut(min(pause_s, self._patience.pause_max_s))
            else:
                self._failures = 0

    def _shut(self, pause_s: float) -> None:
        self._shut_until = max(self._shut_until, time.monotonic() + pause_s)
