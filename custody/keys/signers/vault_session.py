"""A bounded session with Vault: who we are, how often we ask, what an answer means.

- AppRole login. A token is renewed when two thirds of its life are over, replaced when that fails.
- Every call ends within `Patience.call_s`, with at most `tries` requests. Only what may be done
  twice is asked twice; what may have happened without our seeing it is OutcomeUnknown.
- A server that fails is left alone for a while (vault_breaker.py).
- Errors: Unavailable (sealed, 5xx, 429, slow, dropped, unreachable), Refused forbidden (403 after a
  fresh login; a login that is turned down), Refused undecodable (400: the server will not do this),
  Corrupt (an answer that contradicts itself). None of them carries an answer or a secret.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, TypeAlias, cast

from core.errors import Corrupt, OutcomeUnknown, Reason, Refused, Unavailable
from custody.keys.private_file import read_private_file
from custody.keys.secret import Secret
from custody.keys.signers.vault_breaker import BUSY, Breaker, Patience
from custody.keys.signers.vault_http import UNREACHABLE, UNTRUSTED, Reply, VaultHttp

TOKEN_BYTES_MAX = 4_096
FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class AppRole:
    """Where the role's ids lie: files that only the signer's user reads."""

    role_id_file: Path
    secret_id_file: Path
    mount: str = "approle"
    secret_id_is_wrapped: bool = False
    """The file holds a response-wrapping token: good for one unwrapping, by us or by a thief."""


class Wire:
    """What hvac's API classes speak through: one request each, a `Reply` instead of an error."""

    def __init__(
        self, http: VaultHttp, token: Secret | None, deadline: float, is_safe: bool
    ) -> None:
        self._http = http
        self._token = token
        self._deadline = deadline
        self._is_safe = is_safe

    def get(self, url: str, **_options: Any) -> Reply:
        """Send a GET."""
        return self._send("GET", url, None)

    def post(self, url: str, json: Any = None, **_options: Any) -> Reply:
        """Send a POST."""
        return self._send("POST", url, json)

    def login(self, url: str, json: Any = None, **_options: Any) -> Reply:
        """Send a login."""
        return self._send("POST", url, json)

    def _send(self, method: str, url: str, content: Any) -> Reply:
        body = None if content is None else Secret(json.dumps(content).encode("ascii"))
        return self._http.exchange(
            method, url, body, self._token, deadline=self._deadline, is_safe=self._is_safe
        )


Ask: TypeAlias = Callable[[Wire], Reply]
"""One request, made with a class of hvac's over a wire."""


def hvac_api(module: str) -> ModuleType:
    """Return classes of hvac that know the API's paths. Unavailable when it is not installed."""
    try:
        return importlib.import_module(f"hvac.api.{module}")
    except ImportError as error:
        what = "hvac is not installed: install strongroom with its extra 'vault'"
        raise Unavailable(what) from error


@dataclass(frozen=True, slots=True)
class _Token:
    value: Secret
    made_at: float
    life_s: int
    """0: it does not end (a root token; only tests have one)."""
    is_renewable: bool

    def is_old(self, now: float) -> bool:
        return self.life_s > 0 and now >= self.made_at + self.life_s * 2 / 3

    def is_dead(self, now: float) -> bool:
        return self.life_s > 0 and now >= self.made_at + self.life_s


class VaultSession:
    """Calls of one role to one server; safe for threads."""

    def __init__(self, http: VaultHttp, role: AppRole, patience: Patience | None = None) -> None:
        self._http = http
        self._role = role
        self._patience = patience or Patience()
        self._token: _Token | None = None
        self._secret_id: Secret | None = None
        self._replaced_at = time.monotonic() - self._patience.relogin_every_s
        self._renew_at = 0.0
        self._token_lock = Lock()
        self._breaker = Breaker(self._patience)

    def call(self, ask: Ask, what: str, *, is_safe: bool = True) -> Reply:
        """Return a good answer, reduced to its `data`.

        `what` names the call in errors. `is_safe`: doing it twice does no harm. Unavailable,
        OutcomeUnknown (unsafe calls only), Refused forbidden, undecodable; Corrupt.
        """
        deadline = time.monotonic() + self._patience.call_s
        self._breaker.enter(what)
        reply, was_asked = None, False
        try:
            reply, was_asked = self._authorised(ask, deadline, is_safe)
        finally:
            self._breaker.leave(reply)
        if not reply.is_ok:
            is_known = is_safe or not was_asked
            raise _error(reply, what, is_known=is_known, wait_ms=self._breaker.retry_after_ms)
        inner = _inner(reply)
        if inner is None:
            raise Corrupt(f"{what}: Vault's answer is no answer of Vault's")
        return inner

    def close(self) -> None:
        """Forget the token and let go of the connections."""
        with self._token_lock:
            self._token = None
            self._secret_id = None
        self._http.close()

    def _authorised(self, ask: Ask, deadline: float, is_safe: bool) -> tuple[Reply, bool]:
        token = self._fresh_token(deadline)
        if isinstance(token, Reply):
            return token, False
        reply = self._tried(ask, token, deadline, is_safe=is_safe)
        if reply.status != FORBIDDEN:
            return reply, True
        other = self._replace(token, deadline)
        if isinstance(other, Reply):
            return other, False
        if other is None:
            return reply, True
        return self._tried(ask, other, deadline, is_safe=is_safe), True

    def _tried(self, ask: Ask, token: Secret | None, deadline: float, *, is_safe: bool) -> Reply:
        reply = Reply(0, failure="not asked")
        for attempt in range(self._patience.tries if is_safe else 1):
            now = time.monotonic()
            reply = ask(Wire(self._http, token, min(deadline, now + self._patience.try_s), is_safe))
            pause = self._patience.backoff_s * (1 << attempt)
            if not _is_worth_another_try(reply) or time.monotonic() + pause >= deadline:
                return reply
            if attempt + 1 < self._patience.tries and is_safe:
                time.sleep(pause)
        return reply

    def _fresh_token(self, deadline: float) -> Secret | Reply:
        if not self._token_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return Reply(0, failure="another call is still logging in")
        try:
            token, now = self._token, time.monotonic()
            if token is None or token.is_dead(now):
                return self._login(deadline)
            if not token.is_old(now) or now < self._renew_at:
                return token.value
            renewed = self._renew(token, deadline)
            made = self._login(deadline) if renewed is None else renewed
            if isinstance(made, Secret):
                return made
            # While the old token lives, a server that cannot renew it may still serve.
            self._renew_at = now + self._patience.pause_s
            return token.value
        finally:
            self._token_lock.release()

    def _replace(self, refused: Secret, deadline: float) -> Secret | Reply | None:
        """Return another token than the refused one, None when it is too soon for that."""
        if not self._token_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return None
        try:
            if self._token is not None and self._token.value != refused:
                return self._token.value
            now = time.monotonic()
            if now < self._replaced_at + self._patience.relogin_every_s:
                return None
            self._replaced_at = now
            return self._login(deadline)
        finally:
            self._token_lock.release()

    def _renew(self, token: _Token, deadline: float) -> Secret | None:
        if not token.is_renewable:
            return None
        api = hvac_api("auth_methods").Token
        reply = self._tried(
            lambda wire: cast("Reply", api(wire).renew_self()), token.value, deadline, is_safe=True
        )
        renewed = _token_of(reply)
        # At the end of its longest life a token is renewed for less and less: take a new one.
        if renewed is None or renewed.life_s * 2 < token.life_s:
            return None
        self._token = renewed
        return renewed.value

    def _login(self, deadline: float) -> Secret | Reply:
        api = hvac_api("auth_methods").AppRole
        role_id = _id_of(self._role.role_id_file)
        secret_id = self._own_secret_id(deadline)
        if isinstance(secret_id, Reply):
            return secret_id

        def ask(wire: Wire) -> Reply:
            answer: Reply = api(wire).login(
                role_id.reveal().decode("ascii"),
                secret_id.reveal().decode("ascii"),
                use_token=False,
                mount_point=self._role.mount,
            )
            return answer

        # Every login makes a token and may use up one of the secret id's uses: asked once.
        reply = self._tried(ask, None, deadline, is_safe=False)
        token = _token_of(reply)
        if token is None:
            return _turned_down(reply)
        self._token = token
        return token.value

    def _own_secret_id(self, deadline: float) -> Secret | Reply:
        given = _id_of(self._role.secret_id_file) if self._secret_id is None else self._secret_id
        if not self._role.secret_id_is_wrapped or self._secret_id is not None:
            return given
        api = hvac_api("system_backend").Wrapping
        reply = self._tried(
            lambda wire: cast("Reply", api(wire).unwrap()), given, deadline, is_safe=False
        )
        secret_id = _secret_id_of(reply)
        if secret_id is None:
            return _turned_down(reply)
        self._secret_id = secret_id
        return secret_id

    def __repr__(self) -> str:
        return "<VaultSession hidden>"


def _inner(reply: Reply) -> Reply | None:
    data = reply.data.get("data")
    if data is None:
        return Reply(reply.status)
    return Reply(reply.status, data) if isinstance(data, dict) else None


def _is_worth_another_try(reply: Reply) -> bool:
    # A sealed server (503) is unsealed by people; 429 says when to come back.
    return reply.status in (0, 500, 502, 504)


def _error(reply: Reply, what: str, *, is_known: bool, wait_ms: int) -> Refused | Unavailable:
    """Return the error of an answer; its words are ours, never the server's."""
    if reply.status in (401, FORBIDDEN):
        return Refused(Reason.FORBIDDEN, f"{what}: Vault forbids this role to do it")
    if reply.status == 404:
        return Refused(Reason.NOT_FOUND, f"{what}: Vault knows no such thing")
    if reply.status in (400, 405, 413):
        return Refused(Reason.UNDECODABLE, f"{what}: Vault will not do that ({reply.status})")
    words = {0: reply.failure, 503: "Vault is sealed or not ready", BUSY: "Vault is busy"}
    detail = f"{what}: {words.get(reply.status, f'Vault answered {reply.status}')}"
    if is_known or reply.failure in (UNREACHABLE, UNTRUSTED) or reply.status in (503, BUSY):
        return Unavailable(detail, wait_ms)
    return OutcomeUnknown(detail, wait_ms)


def _turned_down(reply: Reply) -> Reply:
    # 400 is what a wrong, used up or expired secret id gets.
    if reply.is_ok:
        return Reply(0, failure="the answer to a login holds no token")
    return Reply(FORBIDDEN) if reply.status == 400 else reply


def _token_of(reply: Reply) -> _Token | None:
    # No error leaves this frame: it holds the token.
    auth = reply.data.get("auth") if reply.is_ok else None
    if not isinstance(auth, dict):
        return None
    value, life_s = auth.get("client_token"), auth.get("lease_duration")
    if not _is_token(value) or type(life_s) is not int or life_s < 0:
        return None
    is_renewable = auth.get("renewable") is True
    return _Token(Secret(str(value).encode("ascii")), time.monotonic(), life_s, is_renewable)


def _secret_id_of(reply: Reply) -> Secret | None:
    data = reply.data.get("data") if reply.is_ok else None
    value = data.get("secret_id") if isinstance(data, dict) else None
    return Secret(str(value).encode("ascii")) if _is_token(value) else None


def _is_token(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= TOKEN_BYTES_MAX
        and value.isascii()
        and value.isprintable()
    )


def _id_of(path: Path) -> Secret:
    """Refused: forbidden (readable by others), not_found, malformed (empty, or no plain text)."""
    value = Secret(read_private_file(path).strip())
    if not _is_token(value.reveal().decode("ascii", "replace")):
        raise Refused(Reason.MALFORMED, f"{path} holds no id")
    return value
