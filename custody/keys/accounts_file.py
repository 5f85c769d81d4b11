"""The public half of the keys as a file: what the platform derives addresses from.

    version = 1

    [[accounts]]
    chain = "devnet"
    network = "31337:0x…"
    account = "deposits"
    xpub = "xpub6…"              # or public_keys = ["<hex>", …], from index 0 on
    attestation = "<128 hex digits>"

Keys are listed one by one where they derive from nothing public: made inside a token, or on
Ed25519. The signer exports the file once, and again when it has more of those. Each line is signed
by its attestation key (Ed25519) as the canonical message

    strongroom/account, version 1
        chain s · network s · account s · xpub s ("" with public keys) · public_keys l of b

so that with the roster, which names that key, a changed file is noticed at the start (K05).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys import canonical
from custody.keys.attestation import AttestationKey, check_proof
from custody.keys.derivation import AccountKeys, ListedKeys, PublicKeys
from custody.keys.signers.base import ACCOUNT_NUMBERS

TAG = "strongroom/account"
VERSION = 1
FILE_VERSION = 1
_NAMES = ("chain", "network", "account")
KEYS_MAX = 20_000
"""Most keys of one account in a file."""
_KEY = re.compile(r"([0-9a-f]{2}){32,33}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One account's extended public key, or its public keys from index 0 on."""

    chain: ChainId
    network: str
    account: str
    xpub: str = ""
    public_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class AttestedAccount:
    """A line and what attests to it; nothing is believed before check_accounts."""

    line: AccountLine
    attestation: bytes


def attest_account(key: AttestationKey, line: AccountLine) -> AttestedAccount:
    """Sign a line, in the signer."""
    return AttestedAccount(line, key.sign(_message(line)))


def check_accounts(
    public_key: bytes, accounts: Iterable[AttestedAccount], chain: ChainId, network: str
) -> dict[str, PublicKeys]:
    """Return the keys of one chain by account, each line of it attested by the roster's key.

    Refused: bad_attestation, wrong_network, malformed (no extended public key).
    """
    found: dict[str, PublicKeys] = {}
    for one in accounts:
        if one.line.chain != chain:
            continue
        check_proof(public_key, _message(one.line), one.attestation)
        if one.line.network != network:
            raise Refused(Reason.WRONG_NETWORK, f"account {one.line.account} of {chain}")
        found[one.line.account] = keys_of(one.line)
    return found


def keys_of(line: AccountLine) -> PublicKeys:
    """Return the keys of a line, whoever attests to it. Refused: malformed."""
    return ListedKeys(line.public_keys) if line.public_keys else AccountKeys(line.xpub)


def render_accounts(accounts: Sequence[AttestedAccount]) -> bytes:
    """Return the bytes of a file."""
    lines = [f"version = {FILE_VERSION}"]
    for one in accounts:
        lines += ["", "[[accounts]]"]
        lines += [f'{name} = "{getattr(one.line, name)}"' for name in _NAMES]
        if one.line.public_keys:
            listed = ", ".join(f'"{key.hex()}"' for key in one.line.public_keys)
            lines += [f"public_keys = [{listed}]"]
        else:
            lines += [f'xpub = "{one.line.xpub}"']
        lines += [f'attestation = "{one.attestation.hex()}"']
    data = ("\n".join(lines) + "\n").encode("ascii")
    assert parse_accounts(data) == tuple(accounts)
    return data


def parse_accounts(data: bytes) -> tuple[AttestedAccount, ...]:
    """Return what a file says. Refused: malformed, unknown_version."""
    try:
        page = tomllib.loads(data.decode("ascii"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(Reason.MALFORMED, "a file of accounts is ASCII TOML") from error
    if page.get("version") != FILE_VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, "file of accounts")
    rows = page.get("accounts")
    if set(page) != {"version", "accounts"} or not isinstance(rows, list):
        raise Refused(Reason.MALFORMED, "a file of accounts has version and accounts")
    found = tuple(_parse(row) for row in rows)
    if len({(one.line.chain, one.line.account) for one in found}) != len(found):
        raise Refused(Reason.MALFORMED, "an account stands in the file twice")
    return found


def _parse(row: object) -> AttestedAccount:
    page = cast("dict[str, object]", row) if isinstance(row, dict) else {}
    listed = page.pop("public_keys", None)
    names = (*_NAMES, "attestation") if listed is not None else (*_NAMES, "attestation", "xpub")
    texts = [page.get(name) for name in names]
    if set(page) != set(names) or not all(type(text) is str for text in texts):
        raise Refused(Reason.MALFORMED, "an account has four texts and its keys")
    chain, network, account, attestation, *xpub = cast("list[str]", texts)
    if account not in ACCOUNT_NUMBERS or not _SIGNATURE.fullmatch(attestation):
        raise Refused(Reason.MALFORMED, "an account's name or its attestation")
    keys = () if listed is None else _parse_keys(listed)
    line = AccountLine(ChainId(chain), network, account, "".join(xpub), keys)
    return AttestedAccount(line, bytes.fromhex(attestation))


def _parse_keys(listed: object) -> tuple[bytes, ...]:
    if not isinstance(listed, list) or not 0 < len(listed) <= KEYS_MAX:
        raise Refused(Reason.MALFORMED, f"public keys are a list of 1..{KEYS_MAX}")
    if not all(type(key) is str and _KEY.fullmatch(key) for key in listed):
        raise Refused(Reason.MALFORMED, "a public key has 32 or 33 bytes in lower-case hex")
    return tuple(bytes.fromhex(key) for key in listed)


def _message(line: AccountLine) -> bytes:
    values = (line.chain, line.network, line.account, line.xpub, line.public_keys)
    return canonical.encode(TAG, VERSION, values)
