"""A place in a Vault server for one test: roles, policies and keys of its own.

The server is the double of infra/devnet/vault_double.py, or a real one where VAULT_ADDR and
VAULT_TOKEN name it; the same calls of hvac's prepare both.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac  # type: ignore[import-untyped]
from hvac.exceptions import InvalidRequest  # type: ignore[import-untyped]

from custody.keys.signers.base import ACCOUNTS
from custody.keys.signers.vault import account_key
from custody.keys.signers.vault_breaker import Patience
from custody.keys.signers.vault_http import VaultHttp
from custody.keys.signers.vault_session import AppRole, VaultSession
from custody.keys.signers.vault_transit import (
    SEALING_TYPE,
    SIGNING_TYPE,
    TransitBox,
    TransitKey,
    create_key,
)
from infra.devnet.vault_double import VaultDouble

NEXT_HOT = "hot.2"
"""The keys that the hot wallet would be moved to."""
QUICK = Patience(call_s=2.0, try_s=0.5, backoff_s=0.01, pause_s=0.2, relogin_every_s=0.0)
"""For tests: as patient in kind, in a hundredth of the time."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and who may do everything there."""

    address: str
    token: str
    ca_file: Path | None = None


@functools.cache
def shared_double() -> VaultDouble:
    """Return a double that serves this process until it ends."""
    return VaultDouble().__enter__()


def double_server() -> Server:
    """Return the shared double as a server."""
    double = shared_double()
    return Server(double.address, double.root_token)


def real_server() -> Server | None:
    """Return the server that the environment names, None when it names none."""
    address, token = os.environ.get("VAULT_ADDR"), os.environ.get("VAULT_TOKEN")
    if not address or not token:
        return None
    ca_file = os.environ.get("VAULT_CACERT")
    return Server(address, token, Path(ca_file) if ca_file else None)


class VaultPlace:
    """Files of two roles, `signer` and `operator`, and the names of one wallet's keys."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        *,
        wallet: str | None = None,
        token_ttl_s: int = 3_600,
        token_max_ttl_s: int = 0,
        is_wrapped: bool = False,
    ) -> None:
        self.folder = folder
        self.server = server
        self.wallet = wallet or f"test-{uuid.uuid4().hex[:12]}"
        self.sealing = TransitKey(f"{self.wallet}-seeds")
        self._ttl = {"token_ttl": f"{token_ttl_s}", "token_max_ttl": f"{token_max_ttl_s}"}
        self._is_wrapped = is_wrapped
        with self._admin() as admin:
            self._prepare(admin)

    @contextlib.contextmanager
    def _admin(self) -> Iterator[Any]:
        client = hvac.Client(
            url=self.server.address,
            token=self.server.token,
            verify=str(self.server.ca_file) if self.server.ca_file else True,
        )
        try:
            yield client
        finally:
            client.adapter.close()

    def role(self, name: str = "signer") -> AppRole:
        """Return a role's files."""
        return AppRole(
            self.folder / f"{name}.role",
            self.folder / f"{name}.secret",
            "approle",
            self._is_wrapped,
        )

    def session(self, name: str = "signer", patience: Patience = QUICK) -> VaultSession:
        """Return a session of a role."""
        http = VaultHttp(self.server.address, ca_file=self.server.ca_file)
        return VaultSession(http, self.role(name), patience)

    @contextlib.contextmanager
    def box(self, name: str = "signer") -> Iterator[TransitBox]:
        """Lend the box of the wallet's seed."""
        session = self.session(name)
        try:
            yield TransitBox(session, self.sealing)
        finally:
            session.close()

    def renew_secret_id(self, name: str = "signer") -> None:
        """Write a new secret id, or a token that wraps one, into a role's file."""
        with self._admin() as admin:
            self._write_secret_id(admin, name)

    def _write_secret_id(self, admin: Any, name: str) -> None:
        answer = admin.auth.approle.generate_secret_id(
            self._role_name(name), wrap_ttl="60s" if self._is_wrapped else None
        )
        wrapped = answer["wrap_info"]
        text = wrapped["token"] if wrapped else answer["data"]["secret_id"]
        _write(self.folder / f"{name}.secret", text)

    def _role_name(self, name: str) -> str:
        return f"{self.wallet}-{name}"

    def _prepare(self, admin: Any) -> None:
        _enable(lambda: admin.sys.enable_secrets_engine("transit"))
        _enable(lambda: admin.sys.enable_auth_method("approle"))
        for name, paths in (("signer", self._signer_paths()), ("operator", ["transit/keys/*"])):
            self._make_role(admin, name, paths)
        with contextlib.closing(self.session("operator")) as session:
            create_key(session, self.sealing, SEALING_TYPE)
            for account in (*ACCOUNTS, NEXT_HOT):
                create_key(session, account_key(self.wallet, account), SIGNING_TYPE)

    def _signer_paths(self) -> list[str]:
        verbs = [f"transit/{verb}/{self.sealing.name}" for verb in ("encrypt", "decrypt")]
        accounts = (*ACCOUNTS, NEXT_HOT)
        return verbs + [f"transit/sign/{account_key(self.wallet, name).name}" for name in accounts]

    def _make_role(self, admin: Any, name: str, paths: list[str]) -> None:
        capabilities = {"capabilities": ["create", "read", "update"]}
        policy = json.dumps({"path": dict.fromkeys(paths, capabilities)})
        role = self._role_name(name)
        admin.sys.create_or_update_acl_policy(role, policy)
        admin.auth.approle.create_or_update_approle(role, token_policies=[role], **self._ttl)
        role_id = admin.auth.approle.read_role_id(role)["data"]["role_id"]
        _write(self.folder / f"{name}.role", role_id)
        self._write_secret_id(admin, name)


def _enable(call: Callable[[], object]) -> None:
    try:
        call()
    except InvalidRequest as error:
        if "already in use" not in str(error):
            raise


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text + "\n", "ascii")
