"""A client that never gives up: it repeats a request unchanged until it has an answer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

PAUSE_S = 0.1
TIMEOUT_S = 10
AGAIN = frozenset({429, 500, 502, 503, 504})


class GaveUp(Exception):
    """The run is over."""


@dataclass(slots=True)
class Tally:
    """What happened to requests, over all clients."""

    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        """Count one."""
        with self.lock:
            self.counts[what] += 1


class Client:
    """One person's client; belongs to one thread."""

    def __init__(self, url: str, token: str, *, tally: Tally, is_over: threading.Event) -> None:
        self._http = httpx.Client(
            base_url=url,
            timeout=TIMEOUT_S,
            trust_env=False,
            headers={"Authorization": f"Bearer {token}"},
        )
        self._tally = tally
        self._is_over = is_over

    def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> tuple[int, Any]:
        """Return status and JSON of the first real answer. GaveUp: the run ended before."""
        headers = {} if key is None else {"Idempotency-Key": key}
        while not self._is_over.is_set():
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
            except httpx.ConnectError:
                self._tally.add("refused")
            except httpx.TransportError as error:
                self._tally.add("broken off")
                self._tally.add(f"broken off: {type(error).__name__}")
            else:
                found = answer.json()
                if answer.status_code not in AGAIN and found.get("code") != "in_progress":
                    self._tally.add("answered")
                    return answer.status_code, found
                self._tally.add("asked to come again")
            time.sleep(PAUSE_S)
        raise GaveUp(f"{method} {path}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
