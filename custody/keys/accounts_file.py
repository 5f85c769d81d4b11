"""The public half of the keys as a file: what the platform derives addresses from.

    version = 1

    [[accounts]]
    chain = "devnet"
    network = "31337:0x…"
    account = "deposits"
    xpub = "xpub6…"
    attestation = "<128 hex digits>"

The signer exports it once. Each line is signed by its attestation key (Ed25519) as the canonical
message

    strongroom/account, version 1
        chain s · network s · account s · xpub s

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
from custody.keys.derivation import AccountKeys
from custody.keys.signers.base import ACCOUNT_NUMBERS

TAG = "strongroom/account"
VERSION = 1
FILE_VERSION = 1
_NAMES = ("chain", "network", "account", "xpub")
_SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One account's extended public key."""

    chain: ChainId
    network: str
    account: str
    xpub: str


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
) -> dict[str, AccountKeys]:
    """Return the keys of one chain by account, each line of it attested by the roster's key.

    Refused: bad_attestation, wrong_network, malformed (no extended public key).
    """
    found = {}
    for one in accounts:
        if one.line.chain != chain:
            continue
        check_proof(public_key, _message(one.line), one.attestation)
        if one.line.network != network:
            raise Refused(Reason.WRONG_NETWORK, f"account {one.line.account} of {chain}")
        found[one.line.account] = AccountKeys(one.line.xpub)
    return found


def render_accounts(accounts: Sequence[AttestedAccount]) -> bytes:
    """Return the bytes of a file."""
    lines = [f"version = {FILE_VERSION}"]
    for one in accounts:
        lines += ["", "[[accounts]]"]
        lines += [f'{name} = "{getattr(one.line, name)}"' for name in _NAMES]
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
    texts = [page.get(name) for name in (*_NAMES, "attestation")]
    if len(page) != len(texts) or not all(type(text) is str for text in texts):
        raise Refused(Reason.MALFORMED, "an account has five texts")
    chain, network, account, xpub, attestation = cast("list[str]", texts)
    if account not in ACCOUNT_NUMBERS or not _SIGNATURE.fullmatch(attestation):
        raise Refused(Reason.MALFORMED, "an account's name or its attestation")
    line = AccountLine(ChainId(chain), network, account, xpub)
    return AttestedAccount(line, bytes.fromhex(attestation))


def _message(line: AccountLine) -> bytes:
    return canonical.encode(TAG, VERSION, (line.chain, line.network, line.account, line.xpub))
