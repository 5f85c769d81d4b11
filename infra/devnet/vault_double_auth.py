"""The double's tokens, policies, AppRole and response wrapping. NOT VAULT."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

CAPABILITIES = {"GET": "read", "LIST": "list", "DELETE": "delete", "POST": "update"}
DEFAULT_POLICY = {
    "auth/token/lookup-self": {"read"},
    "auth/token/renew-self": {"update"},
    "auth/token/revoke-self": {"update"},
}
"""What Vault's `default` policy lets everybody do, as far as we use it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body: `data`, `auth` or `wrap_info` in the envelope, `errors`, or `plain`."""

    status: int
    data: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    wrap_info: dict[str, Any] | None = None
    errors: list[str] | None = None
    plain: dict[str, Any] | None = None

    def json(self) -> dict[str, Any] | None:
        """Return the body as Vault shapes it, None for 204."""
        if self.status == 204:
            return None
        if self.errors is not None:
            return {"errors": self.errors}
        if self.plain is not None:
            return self.plain
        return {
            "request_id": secrets.token_hex(16),
            "lease_id": "",
            "renewable": False,
            "lease_duration": 0,
            "data": self.data,
            "wrap_info": self.wrap_info,
            "warnings": None,
            "auth": self.auth,
        }


def failed(status: int, *errors: str) -> Answer:
    """Return an answer of errors."""
    return Answer(status, errors=list(errors))


def denied() -> Answer:
    """Return what Vault says to a token that may not, or is none."""
    return failed(403, "1 error occurred:\n\t* permission denied\n\n")


@dataclass(slots=True)
class TokenRow:
    """One token."""

    policies: list[str]
    expires_at: float | None
    ttl_s: int
    last_at: float | None
    """When no renewal helps any more."""


@dataclass(slots=True)
class Role:
    """One AppRole."""

    role_id: str
    policies: list[str]
    ttl_s: int
    max_ttl_s: int
    uses: int
    """How often one secret id may log in; 0 without end."""


class Auth:
    """Everybody who may ask something."""

    def __init__(self) -> None:
        self.root_token = "hvs.double-" + secrets.token_hex(12)
        self.tokens = {self.root_token: TokenRow(["root"], None, 0, None)}
        self.roles: dict[str, Role] = {}
        self.secret_ids: dict[str, tuple[str, int]] = {}
        self.policies: dict[str, dict[str, set[str]]] = {}
        self.wrapped: dict[str, tuple[Answer, float]] = {}

    def revoke_all(self) -> None:
        """Revoke every token but root's, as an operator does who is alarmed."""
        self.tokens = {self.root_token: self.tokens[self.root_token]}

    def may(self, token: str, method: str, path: str) -> bool:
        """Return whether a live token's policies allow a request."""
        row = self.tokens.get(token)
        if row is None or (row.expires_at is not None and row.expires_at < time.monotonic()):
            return False
        if "root" in row.policies:
            return True
        wanted = CAPABILITIES[method]
        rules = [DEFAULT_POLICY, *(self.policies.get(name, {}) for name in row.policies)]
        return any(
            _matches(pattern, path) and wanted in _wide(capabilities)
            for rule in rules
            for pattern, capabilities in rule.items()
        )

    def unauthenticated(self, path: str, body: dict[str, Any], token: str) -> Answer | None:
        """Answer what needs no policy: logging in and unwrapping."""
        if path == "auth/approle/login":
            return self._login(str(body.get("role_id")), str(body.get("secret_id")))
        if path == "sys/wrapping/unwrap":
            answer, until = self.wrapped.pop(str(body.get("token", token)), (None, 0.0))
            if answer is None or until < time.monotonic():
                return failed(400, "wrapping token is not valid or does not exist")
            return answer
        return None

    def answer(self, path: str, body: dict[str, Any], token: str) -> Answer | None:
        """Answer what belongs to tokens, roles and policies; None when it is something else."""
        if path == "auth/token/lookup-self":
            row = self.tokens[token]
            left = 0 if row.expires_at is None else int(row.expires_at - time.monotonic())
            return Answer(200, {"policies": row.policies, "ttl": left})
        if path == "auth/token/renew-self":
            return self._renew(token)
        if path == "auth/token/revoke-self":
            del self.tokens[token]
            return Answer(204)
        if match := re.fullmatch(r"sys/policies/acl/([\w-]+)", path):
            self.policies[match[1]] = _policy(body["policy"])
            return Answer(204)
        if match := re.fullmatch(r"auth/approle/role/([\w-]+)(/role-id|/secret-id)?", path):
            return self._role(match[1], match[2], body)
        return None

    def wrap(self, answer: Answer, ttl: str) -> Answer:
        """Put an answer behind a token that works once."""
        token = "hvs.double-wrapped-" + secrets.token_hex(12)
        life_s = _seconds(ttl)
        self.wrapped[token] = (answer, time.monotonic() + life_s)
        return Answer(200, wrap_info={"token": token, "accessor": "", "ttl": life_s})

    def _role(self, name: str, part: str | None, body: dict[str, Any]) -> Answer:
        if part is None:
            self.roles[name] = Role(
                role_id=secrets.token_hex(16),
                policies=_list(body.get("token_policies", [])),
                ttl_s=_seconds(body.get("token_ttl", 3600)),
                max_ttl_s=_seconds(body.get("token_max_ttl", 0)),
                uses=int(body.get("secret_id_num_uses", 0)),
            )
            return Answer(204)
        if name not in self.roles:
            return failed(404, f'role "{name}" does not exist')
        if part == "/role-id":
            return Answer(200, {"role_id": self.roles[name].role_id})
        secret_id = secrets.token_hex(16)
        self.secret_ids[secret_id] = (name, self.roles[name].uses)
        return Answer(200, {"secret_id": secret_id, "secret_id_accessor": secrets.token_hex(8)})

    def _login(self, role_id: str, secret_id: str) -> Answer:
        name, uses = self.secret_ids.get(secret_id, ("", 0))
        role = self.roles.get(name)
        if role is None or not secrets.compare_digest(role.role_id, role_id):
            return failed(400, "invalid role or secret ID")
        if uses == 1:
            del self.secret_ids[secret_id]
        elif uses:
            self.secret_ids[secret_id] = (name, uses - 1)
        now = time.monotonic()
        last = now + role.max_ttl_s if role.max_ttl_s else None
        token = "hvs.double-" + secrets.token_hex(12)
        self.tokens[token] = TokenRow(
            ["default", *role.policies], now + role.ttl_s, role.ttl_s, last
        )
        return Answer(200, auth=self._auth(token))

    def _renew(self, token: str) -> Answer:
        row = self.tokens[token]
        if row.expires_at is None:
            return failed(400, "lease is not renewable")
        wanted = time.monotonic() + row.ttl_s
        row.expires_at = wanted if row.last_at is None else min(wanted, row.last_at)
        return Answer(200, auth=self._auth(token))

    def _auth(self, token: str) -> dict[str, Any]:
        row = self.tokens[token]
        assert row.expires_at is not None
        return {
            "client_token": token,
            "accessor": secrets.token_hex(12),
            "policies": row.policies,
            "token_policies": row.policies,
            "metadata": None,
            "lease_duration": max(0, round(row.expires_at - time.monotonic())),
            "renewable": True,
            "entity_id": "",
            "token_type": "service",
            "orphan": True,
        }


def _list(value: str | list[str]) -> list[str]:
    return value.split(",") if isinstance(value, str) else value


def _seconds(value: str | int) -> int:
    return int(str(value).removesuffix("s"))


def _policy(text: str) -> dict[str, set[str]]:
    # Vault reads HCL or JSON; JSON is what we write.
    paths = json.loads(text)["path"]
    return {path: set(rule["capabilities"]) for path, rule in paths.items()}


def _wide(capabilities: set[str]) -> set[str]:
    return capabilities | ({"update"} if "create" in capabilities else set())


def _matches(pattern: str, path: str) -> bool:
    parts = ["[^/]+" if part == "+" else re.escape(part) for part in pattern.split("/")]
    expression = "/".join(parts)
    if expression.endswith(r"\*"):
        expression = expression.removesuffix(r"\*") + ".*"
    return re.fullmatch(expression, path) is not None
