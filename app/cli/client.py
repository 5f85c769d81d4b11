"""How commands talk to a running platform: URL and key by environment, problems as exit codes.

STRONGROOM_URL            where the API answers; default http://127.0.0.1:8700
STRONGROOM_API_KEY_FILE   file with the key's token, readable by its owner alone
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from app.cli.output import Exit, exit_of, fail
from core.errors import Reason

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8700"
URL_VARIABLE, KEY_VARIABLE = "STRONGROOM_URL", "STRONGROOM_API_KEY_FILE"
TIMEOUT_S = 30
PAGES_MAX = 100
_BY_STATUS = {429: Exit.FAILED, 500: Exit.UNKNOWN, 503: Exit.FAILED}


def ask(
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    key: str | None = None,
    **parameters: Any,
) -> Any:
    """Return the answer's JSON; ends the program with the exit code of what went wrong.

    `key` is sent as Idempotency-Key. Parameters that are None are left out.
    """
    return _ask(method, path, body, key, parameters).json()


def ask_bytes(path: str) -> bytes:
    """Return the bytes of a published file."""
    return _ask("GET", path, None, None, {}).content


def pages(path: str, *, limit: int, **parameters: Any) -> list[dict[str, Any]]:
    """Return up to `limit` rows of a list, page after page."""
    rows: list[dict[str, Any]] = []
    cursor = None
    for _ in range(PAGES_MAX):
        left = min(100, limit - len(rows))
        page = ask("GET", path, limit=left, cursor=cursor, **parameters)
        rows += page["data"]
        cursor = page["next_cursor"]
        if cursor is None or len(rows) >= limit:
            break
    return rows


def asset_id(text: str) -> str:
    """Return `<chain>/<key>` of an asset named so or, when only one has it, by its symbol."""
    if "/" in text:
        return text
    named = [row for row in ask("GET", "/v1/assets")["data"] if row["symbol"] == text]
    if len(named) != 1:
        why = "several chains have it" if named else "nothing is listed under this name"
        text = f"{text}: {why}; write <chain>/<key>"
        fail(Exit.NOT_FOUND, text, reason=Reason.UNKNOWN_ASSET.value)
    return str(named[0]["asset"])


def fresh_id() -> str:
    """Return 32 random hex digits for a request, made before it is sent."""
    from core.entropy import SystemEntropy

    return SystemEntropy().token_bytes(16).hex()


def _ask(
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    key: str | None,
    parameters: Mapping[str, Any],
) -> httpx.Response:
    import httpx

    headers = {"Authorization": f"Bearer {_token()}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    url = os.environ.get(URL_VARIABLE, DEFAULT_URL).rstrip("/")
    try:
        answer = httpx.request(
            method, url + path, json=body, params=given, headers=headers, timeout=TIMEOUT_S
        )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL) as error:
        fail(Exit.FAILED, f"{url} does not answer: {error}", reason="unavailable", retryable=True)
    except httpx.HTTPError as error:
        if method == "GET":
            fail(Exit.FAILED, f"no answer: {error}", reason="unavailable", retryable=True)
        fail(
            Exit.UNKNOWN,
            f"no answer: {error!r}. It may have been done; look it up before asking again.",
            reason="outcome_unknown",
        )
    if answer.status_code >= 400:
        _fail(answer)
    return answer


def _token() -> str:
    from app.cli.output import errors_as_exit_codes
    from custody.keys.private_file import read_private_file

    name = os.environ.get(KEY_VARIABLE)
    if name is None:
        fail(Exit.UNAUTHENTICATED, f"{KEY_VARIABLE} names no file", reason="unauthenticated")
    with errors_as_exit_codes():
        return read_private_file(Path(name)).decode("ascii", "replace").strip()


def _fail(answer: httpx.Response) -> NoReturn:
    try:
        problem = answer.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        fail(Exit.FAILED, f"the answer {answer.status_code} is no problem document")
    for fault in problem.get("errors") or ():
        detail += f" [{fault['pointer']}: {fault['code']}]"
    if problem.get("lookup"):
        detail += f" Look it up: {problem['lookup']}"
    if problem.get("outcome") == "unknown":
        exit_code = Exit.UNKNOWN
    elif code in set(Reason):
        exit_code = exit_of(Reason(code))
    else:
        exit_code = _BY_STATUS.get(answer.status_code, Exit.REFUSED)
    fail(exit_code, f"{code}: {detail}", reason=code, retryable=bool(problem.get("retryable")))
