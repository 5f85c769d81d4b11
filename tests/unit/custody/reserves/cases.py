"""A small exchange with two assets and three wallets, and its report, for the tests of reserves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import coincurve
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_hash.auto import keccak

from chains.base import NATIVE, AssetSpec, BlockRef
from chains.evm.address import checksum
from core.entropy import SeededEntropy
from core.ids import AssetNo, ChainId, CustomerNo
from custody.catalogue import Asset
from custody.ledger.balances import CustomerBalance
from custody.ledger.chart import AccountKind
from custody.ledger.transfers import Head
from custody.reserves import verify
from custody.reserves.assets import FinalBlock, Holding, OwnAddress, collect_proofs
from custody.reserves.report import NO_REPORT, Draft, Link, Sealed, seal
from custody.reserves.snapshot import (
    Books,
    Cut,
    Header,
    InFlight,
    InFlightKind,
    plan_report,
)
from engine.events import Projected

CHAIN = ChainId("anvil")
COIN, TOKEN = AssetNo(1), AssetNo(2)
SECRET = bytes(range(32))
DATE_NS = 1_795_000_000_000_000_000
K = AccountKind


def key_of(name: str) -> coincurve.PrivateKey:
    """Return the key of a wallet's name, always the same."""
    return coincurve.PrivateKey(SeededEntropy(7, name).token_bytes(32))


def address_of(name: str) -> str:
    """Return the address of that key, by other code than the verifier's."""
    return checksum(keccak(key_of(name).public_key.format(compressed=False)[1:])[12:])


NAME_OF = {address_of(name): name for name in ("hot", "deposit", "gas", "stranger")}


def sign(name: str, challenge: bytes) -> bytes:
    """Sign a personal message with other libraries than the verifier's."""
    signed = Account.sign_message(encode_defunct(challenge), key_of(name).secret)
    return bytes(signed.signature)


def prove(_chain: ChainId, address: str, challenge: bytes) -> bytes:
    """Prove control as the owner of each address would."""
    return sign(NAME_OF[address], challenge)


def asset(number: AssetNo, key: str, symbol: str, scale: int) -> Asset:
    """Return a listed asset."""
    return Asset(number, AssetSpec(CHAIN, key, symbol, scale, 1, 1, 0, 1))


ASSETS = (asset(COIN, NATIVE, "COIN", 18), asset(TOKEN, address_of("token"), "TOK", 6))
OWN = {name: OwnAddress(CHAIN, address_of(name), "eip191") for name in ("hot", "deposit", "gas")}
CUT = Cut(
    engine=Projected(epoch=3, sequence=1234, hash=hashlib.sha256(b"journal").digest()),
    projected=Head(90, hashlib.sha256(b"projected").digest()),
    treasury=Head(12, hashlib.sha256(b"treasury").digest()),
    blocks=(FinalBlock(CHAIN, "31337:0xabc", BlockRef(120, "0x" + "ab" * 32), 10),),
)


def owed(
    customer_no: int, asset_no: AssetNo, balance: int, withdrawing: int = 0
) -> CustomerBalance:
    """Return what the books owe a customer."""
    return CustomerBalance(CustomerNo(customer_no), asset_no, balance, withdrawing)


def books() -> Books:
    """Return a cut with a line of every sort: pending, unswept, in transit, fees, in flight."""
    return Books(
        cut=CUT,
        assets=ASSETS,
        owed=(
            owed(1, COIN, 5 * 10**18, 10**18),
            owed(2, COIN, 3 * 10**18),
            owed(2, TOKEN, 700),
            owed(3, TOKEN, 500),
            owed(4, TOKEN, 0),
        ),
        totals={
            (K.BALANCE, 1): 8 * 10**18,
            (K.WITHDRAWING, 1): 10**18,
            (K.DEPOSIT_ADDRESSES, 1): 4 * 10**18,
            (K.HOT, 1): 5 * 10**18 - 400,
            (K.IN_TRANSIT, 1): 10**18,
            (K.FEE_INCOME, 1): 5,
            (K.EQUITY, 1): 10**18 - 5,
            (K.NETWORK_FEES, 1): 400,
            (K.BALANCE, 2): 1200,
            (K.DEPOSIT_ADDRESSES, 2): 1200,
            (K.HOT, 2): 7,
            (K.SUSPENSE, 2): 3,
            (K.FEE_INCOME, 2): 4,
        },
        in_flight=(
            InFlight(InFlightKind.UNLANDED_WITHDRAWAL, "wd_1", COIN, 10**18),
            InFlight(InFlightKind.UNBOOKED_NETWORK_FEE, "tx_9", COIN, 21),
            InFlight(InFlightKind.UNCREDITED_DEPOSIT, "dep_1", TOKEN, 30),
        ),
        addresses=tuple(OWN.values()),
    )


def holdings() -> tuple[Holding, ...]:
    """Return what the addresses hold after the final block; it fits the books."""
    held = (
        Holding(OWN["deposit"], ((1, 4 * 10**18), (2, 1230))),
        Holding(OWN["gas"], ((1, 400),)),
        Holding(OWN["hot"], ((1, 6 * 10**18 - 400 - 21 - 400), (2, 7))),
    )
    return tuple(sorted(held, key=lambda each: each.own.address))


def header(previous: Link = NO_REPORT, *, at_ns: int = DATE_NS, entity: str = "Demo") -> Header:
    """Return who reports when."""
    return Header(entity, f"por_{previous.number + 1}", at_ns, previous)


def draft(**changes: Any) -> Draft:
    """Plan the report, with other arguments where given."""
    arguments: dict[str, Any] = {
        "holdings": holdings(),
        "header": header(),
        "secret": SECRET,
    } | changes
    return plan_report(arguments.pop("books", None) or books(), **arguments)


@dataclass(frozen=True)
class Case:
    """A draft and its sealed report."""

    draft: Draft
    sealed: Sealed


def case(**changes: Any) -> Case:
    """Plan, sign and seal the report."""
    planned = draft(**changes)
    return Case(planned, seal(planned, collect_proofs(planned, prove)))


def resealed(data: bytes, change: Callable[[dict[str, Any]], None], *, sign_again: bool) -> bytes:
    """Return a report after a change, its hash made right, and its signatures too if wanted."""
    whole = json.loads(data)
    change(whole["body"])
    if sign_again:
        commitment = hashlib.sha256(verify.canonical(whole["body"])).digest()
        whole["control"] = [
            sign(
                NAME_OF.get(line["address"], "stranger"),
                verify.challenge_of(whole["body"], commitment, line),
            ).hex()
            for line in whole["body"]["addresses"]
        ]
    del whole["hash"]
    return verify.canonical(whole | {"hash": hashlib.sha256(verify.canonical(whole)).hexdigest()})


def with_totals(changes: Mapping[tuple[AccountKind, int], int]) -> Books:
    """Return the books with other account totals."""
    return replace(books(), totals={**books().totals, **changes})
