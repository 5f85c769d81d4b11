"""What a set of keys looks like from outside: extended public keys and first addresses.

Two sets of keys are one when their facts are equal; so shares are verified, drills are held, and a
transcript says which keys were made, without any secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chains.base import ChainTraits
from core.errors import Reason, Refused
from custody.keys.signers.base import ACCOUNTS, KeyRef, Signer
from custody.keys.transcript import NO_XPUB, AccountFacts

ADDRESSES_EACH = 3
"""First addresses of every account and chain that stand for its keys."""


@dataclass(frozen=True, slots=True)
class Network:
    """One chain as far as keys are concerned."""

    traits: ChainTraits
    address_of: Callable[[bytes], str]


OpenKeys = Callable[[ChainTraits], Signer]


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The facts of all accounts, and the extended public keys that a platform derives from."""

    accounts: tuple[AccountFacts, ...]
    xpubs: tuple[tuple[str, str, str], ...]
    """(chain, account, extended public key), where the curve has one."""

    def as_toml(self) -> str:
        """Return the file that is carried to the platform. Nothing in it is secret."""
        blocks = [
            f'[[account]]\nchain = "{chain}"\naccount = "{account}"\nxpub = "{xpub}"\n'
            for chain, account, xpub in self.xpubs
        ]
        return "\n".join(blocks)


def public_keys(
    open_keys: OpenKeys, networks: Sequence[Network], *, addresses_each: int = ADDRESSES_EACH
) -> PublicKeys:
    """Ask keys for everything that may be known of them, chain by chain.

    Refused and Unavailable as the signer's verbs.
    """
    facts, xpubs = [], []
    for network in networks:
        traits = network.traits
        signer = open_keys(traits)
        for account, number in ACCOUNTS.items():
            xpub = _xpub(signer, account)
            if xpub is not None:
                xpubs.append((str(traits.chain), account, xpub))
            keys = [KeyRef(account, index) for index in range(addresses_each)]
            facts.append(
                AccountFacts(
                    chain=traits.chain,
                    network=traits.network,
                    account=account,
                    path=f"m/{traits.purpose}'/{traits.coin_type}'/{number}'",
                    xpub_sha256=NO_XPUB if xpub is None else _sha256(xpub),
                    addresses=tuple(network.address_of(signer.public_key(key)) for key in keys),
                )
            )
        signer.close()
    assert all(one != other for one, other in pairwise(facts))
    return PublicKeys(tuple(facts), tuple(xpubs))


def differences(wanted: Sequence[AccountFacts], found: Sequence[AccountFacts]) -> list[str]:
    """Return, account by account, where two sets of facts differ; nothing when they are equal."""
    rows = {(one.chain, one.account): one for one in found}
    wrong = [
        f"{one.chain} {one.account}"
        for one in wanted
        if rows.pop((one.chain, one.account), None) != one
    ]
    return wrong + [f"{chain} {account}" for chain, account in rows]


def _xpub(signer: Signer, account: str) -> str | None:
    try:
        return signer.account_xpub(account)
    except Refused as refused:
        if refused.reason is not Reason.UNKNOWN_KEY:
            raise
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
