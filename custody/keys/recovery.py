"""What a restored seed owns: every account's addresses are asked for, up to a gap.

After a restore there is no database, so nobody knows how many addresses were issued. Numbers are
tried in order until `gap_limit` of them in a row were never used. Customers who never paid leave
gaps, so the limit is a thousand, not the twenty of a single person's wallet (BIP-44); where the
database survived, its highest number is the better bound: give it as `at_least`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chains.base import BlockRef, Chain
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.signers.base import ACCOUNTS, KeyRef, Signer

GAP_LIMIT = 1_000
KEYS_MAX = 10_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """One own address that holds something after a block. Amount in minor units."""

    chain: ChainId
    key: KeyRef
    address: str
    asset_key: str
    amount: int


def find_money(
    chain: Chain,
    signer: Signer,
    asset_keys: Sequence[str],
    at: BlockRef,
    *,
    gap_limit: int = GAP_LIMIT,
    at_least: int = 0,
) -> list[Found]:
    """Return everything that the keys of all accounts hold in the state after a block.

    at_least: keys of every account that are looked at whatever the gaps. Used is an address that
    has a balance or has sent anything. Refused: malformed, main_network; errors of the node.
    """
    if gap_limit < 1 or at_least < 0:
        raise Refused(Reason.MALFORMED, "a gap limit is at least 1")
    if not signer.network_allowed(chain.traits):
        raise Refused(Reason.MAIN_NETWORK, "these keys are not of that network")
    found: list[Found] = []
    for account in ACCOUNTS:
        gap = 0
        for index in range(KEYS_MAX):
            if gap >= gap_limit and index >= at_least:
                break
            key = KeyRef(account, index)
            held, is_used = _look(chain, signer, key, asset_keys, at)
            found += held
            gap = 0 if is_used else gap + 1
    return found


def _look(
    chain: Chain, signer: Signer, key: KeyRef, asset_keys: Sequence[str], at: BlockRef
) -> tuple[list[Found], bool]:
    address = chain.address_of(signer.public_key(key))
    held = []
    for asset_key in asset_keys:
        amount = chain.balance_of(address, asset_key, at)
        if amount:
            held.append(Found(chain.traits.chain, key, address, asset_key, amount))
    is_used = bool(held) or (not chain.traits.spends_coins and chain.used_nonces(address, at) > 0)
    return held, is_used
