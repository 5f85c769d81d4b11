"""Whether the signer's store and clock can be believed, by what its own nodes say.

A store that was copied back does not know what was signed since. The chain does, once that landed:
more nonces are used than the store knows of, or a coin is spent that it never gave away. Then
nothing is signed (custody.keys.anchor tells earlier, where there is one). Asked when a key is first
used and again when the answer is older than ten seconds, not for every signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chains.base import BlockRef, Chain, ChainTraits
from core.clock import SECOND_NS, Clock
from core.errors import Reason, Refused, Unavailable
from custody.keys.signing_record import nonce_of
from custody.keys.store import Store

FRESH_NS = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class ClockBounds:
    """How wrong the signer's clock may be. None: not compared."""

    back_ns: int = 300 * SECOND_NS
    """Behind the time of the last signature."""
    behind_head_ns: int | None = None
    """Behind the time of the newest block."""
    ahead_of_head_ns: int | None = None
    """Ahead of it. A clock set a day ahead would open every window of 24 hours."""


MAIN_NETWORK = ClockBounds(
    behind_head_ns=2 * 3_600 * SECOND_NS, ahead_of_head_ns=2 * 3_600 * SECOND_NS
)
"""Blocks of a main network come whether we wait for them or not, and are dated within two hours."""


def bounds_of(traits: ChainTraits) -> ClockBounds:
    """Return the bounds to use for a network; blocks of test networks come when somebody likes."""
    return MAIN_NETWORK if traits.is_main_network else ClockBounds()


def check_clock(store: Store, clock: Clock, bounds: ClockBounds) -> None:
    """Refused: signer_clock, when it has stepped back since the last signature."""
    if clock.now_ns() < store.last_ns - bounds.back_ns:
        raise Refused(Reason.SIGNER_CLOCK, "the clock is behind the last signature")


def check_watermark(
    store: Store,
    chain: Chain,
    sender: str,
    claims: Sequence[str],
    *,
    clock: Clock,
    bounds: ClockBounds,
) -> None:
    """Ask the node, unless that was done just now.

    Refused: stale_signer, signer_clock. Unavailable: the node does not say.
    """
    coins = [claim for claim in claims if nonce_of(claim, sender) is None]
    now_ns, name = clock.monotonic_ns(), chain.traits.chain
    wanted = [(name, what) for what in (coins or [sender])]
    with store.lock:
        store.check_usable()
        if all(now_ns - store.asked.get(key, -FRESH_NS) < FRESH_NS for key in wanted):
            return
    head = chain.head()
    check_head_time(chain, head, clock, bounds)
    if coins:
        _check_coins(store, chain, coins, head)
    else:
        _check_nonces(store, chain, sender, head)
    with store.lock:
        store.asked.update(dict.fromkeys(wanted, now_ns))


def _check_nonces(store: Store, chain: Chain, sender: str, head: BlockRef) -> None:
    used = chain.used_nonces(sender, head)
    with store.lock:
        known = store.index.nonces_below(chain.traits.chain, sender, used)
    if known < used:
        raise Refused(
            Reason.STALE_SIGNER, f"the chain has seen {used} nonces, the log knows {known} of them"
        )


def _check_coins(store: Store, chain: Chain, coins: Sequence[str], head: BlockRef) -> None:
    spent = chain.spent_coins(coins, head)
    with store.lock:
        for coin in sorted(spent):
            if not store.index.claim(chain.traits.chain, coin):
                raise Refused(Reason.STALE_SIGNER, f"{coin} is spent, and the log knows nothing")


def check_head_time(chain: Chain, head: BlockRef, clock: Clock, bounds: ClockBounds) -> None:
    """Refused: signer_clock, when the clock and the newest block's time lie too far apart.

    Unavailable: the node does not show that block.
    """
    if bounds.behind_head_ns is None and bounds.ahead_of_head_ns is None:
        return
    block = chain.block_at(head.height)
    if block is None:
        raise Unavailable(f"the node does not show its head {head.height}")
    ahead_ns = clock.now_ns() - block.time_s * SECOND_NS
    if bounds.ahead_of_head_ns is not None and ahead_ns > bounds.ahead_of_head_ns:
        raise Refused(Reason.SIGNER_CLOCK, "the clock is far ahead of the newest block")
    if bounds.behind_head_ns is not None and -ahead_ns > bounds.behind_head_ns:
        raise Refused(Reason.SIGNER_CLOCK, "the clock is far behind the newest block")
