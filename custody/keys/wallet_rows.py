"""A roster's rows of contract wallets. Version 2 names own keys as owners and nothing else."""

from __future__ import annotations

import dataclasses
import re

from core.errors import Refused
from custody.keys.roster import ContractWallet
from custody.keys.roster_fields import ROWS_MAX, Row, integer, malformed, named, text, texts
from custody.keys.signers.base import ACCOUNTS, KeyRef

_OWNER = re.compile(r"([a-z]+(?:\.[0-9]{1,2})?)/(0|[1-9][0-9]{0,9})", re.ASCII)
_NAME = re.compile(r"[a-z]{1,32}", re.ASCII)
_CODE = re.compile(r"[ -~]{0,3000}", re.ASCII)
_OF_VERSION_2 = ("chain", "address", "owners")


def read_wallet(row: Row, *, is_version_2: bool) -> ContractWallet:
    """Return the wallet of a row. Refused: malformed."""
    if is_version_2:
        if set(row) != set(_OF_VERSION_2):
            raise malformed(f"a wallet has {', '.join(_OF_VERSION_2)}")
        return ContractWallet(text(row, "chain"), text(row, "address"), _owners(row))
    named(row, ContractWallet)
    return ContractWallet(
        chain=text(row, "chain"),
        address=text(row, "address"),
        owners=_owners(row),
        members=texts(row, "members"),
        threshold=integer(row, "threshold", ROWS_MAX),
        wallet=text(row, "wallet"),
        code=_code(row),
        handler=_text_or_nothing(row, "handler"),
    )


def check_wallet(row: ContractWallet, *, is_version_2: bool) -> None:
    """Return when a wallet's fields are plain and its version can say them. Refused: malformed."""
    if len(set(row.owners)) != len(row.owners) or list(row.members) != sorted(set(row.members)):
        raise malformed("owners of a wallet stand there once each, members sorted")
    if not 1 <= row.threshold <= len(row.owners) + len(row.members):
        raise malformed("a wallet's threshold is at most the number of its owners")
    if _NAME.fullmatch(row.wallet) is None or row.wallet in ACCOUNTS:
        raise malformed("a contract wallet has a name of its own")
    if is_version_2 and row != ContractWallet(row.chain, row.address, row.owners):
        raise malformed("version 2 of a roster names a wallet's own keys alone")


def wallet_pairs(row: ContractWallet, *, is_version_2: bool) -> list[tuple[str, object]]:
    """Return what a roster's body says of a wallet, in order."""
    names = [field.name for field in dataclasses.fields(row)]
    return [(name, getattr(row, name)) for name in names if not is_version_2
            or name in _OF_VERSION_2]  # fmt: skip


def _owners(row: Row) -> tuple[KeyRef, ...]:
    owners = []
    for owner in texts(row, "owners"):
        if (match := _OWNER.fullmatch(owner)) is None:
            raise malformed("an owner of a wallet is account/index")
        try:
            owners.append(KeyRef(match[1], int(match[2])))
        except Refused as refused:
            raise malformed(refused.detail) from refused
    return tuple(owners)


def _code(row: Row) -> str:
    """Return a contract's address, or the descriptor of a wallet that spends coins."""
    value = row["code"]
    if type(value) is not str or _CODE.fullmatch(value) is None:
        raise malformed("code is an ASCII text")
    return value


def _text_or_nothing(row: Row, name: str) -> str:
    return "" if row[name] == "" else str(text(row, name))
