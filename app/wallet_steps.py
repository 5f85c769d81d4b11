"""The jobs of wallets of several owners: propose, carry what was signed, watch what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from app.bootstrap import ChainHome, Platform, authority_of
from core.clock import SECOND_NS
from core.errors import Refused, Unavailable
from custody.keys.guard import SignRequest
from custody.keys.service import sign_one
from custody.multisig import coin_desk, coin_relay, coin_watch, cosign, pins, propose, relay
from custody.multisig.coin_desk import CoinDesk
from custody.multisig.propose import Desk
from custody.spending.drive import Note, Problem

D = TypeVar("D", Desk, CoinDesk)
SIGNER = "signer"
"""Who hands in signatures of own keys."""
FAST_NS, SLOW_NS = SECOND_NS // 2, 5 * SECOND_NS


def wallet_jobs(
    platform: Platform, home: ChainHome, note: Note
) -> list[tuple[str, int, Callable[[], int]]]:
    """Return (name, interval, job) for a chain that has such wallets, nothing for any other."""
    if home.chain.traits.spends_coins:
        return _coin_jobs(platform, home, note)
    if home.chain.wallets is None:
        return []

    def each(job: Callable[[Desk], int]) -> Callable[[], int]:
        def run() -> int:
            return sum(_guarded(desk, job, note) for desk in platform.wallet_desks(home))

        return run

    return [
        ("wallets.propose", FAST_NS, each(lambda desk: propose.step(desk, note=note))),
        ("wallets.sign", FAST_NS, each(lambda desk: _sign_own(platform, home, desk, note))),
        ("wallets.relay", FAST_NS, each(lambda desk: relay.step(desk, note=note))),
        ("wallets.watch", SLOW_NS, each(_watch)),
    ]


def _coin_jobs(
    platform: Platform, home: ChainHome, note: Note
) -> list[tuple[str, int, Callable[[], int]]]:
    """Return the jobs of wallets that spend coins: their owners' transaction goes out itself."""

    def each(job: Callable[[CoinDesk], int]) -> Callable[[], int]:
        def run() -> int:
            return sum(_guarded(desk, job, note) for desk in platform.coin_desks(home))

        return run

    return [
        ("wallets.propose", FAST_NS, each(lambda desk: coin_desk.step(desk, note=note))),
        ("wallets.relay", FAST_NS, each(lambda desk: coin_relay.step(desk, note=note))),
        ("wallets.watch", SLOW_NS, each(lambda desk: int(coin_watch.watch(desk) is not None))),
    ]


def _sign_own(platform: Platform, home: ChainHome, desk: Desk, note: Note) -> int:
    """Have the signer sign what waits for an owner whose key it holds; return how often it did.

    Never as the last one: what moves a wallet is always a person's signature (W07).
    """
    signed = 0
    for key in desk.row.owners:
        owner = home.chain.address_of(home.public_key_of(key.account, key.index))
        for row in cosign.waiting_for(desk, owner):
            if cosign.count(desk, row) + 1 >= desk.row.threshold:
                continue
            try:
                right = authority_of(platform, row.intent, row.intent.cause_id, is_first=True)
                made = sign_one(platform.signer, SignRequest(row.intent, right, row.unsigned, key))
                plain = desk.wallets.plain(made)
                cosign.add(desk, row.proposal_id, plain, owner=owner, person=SIGNER)
            except (Refused, Unavailable) as error:
                note(Problem(row.proposal_id, str(error)))
            else:
                signed += 1
    return signed


def _watch(desk: Desk) -> int:
    wrong = pins.watch(desk.db, desk.chain, desk.row, desk.owners, clock=desk.clock)
    return int(wrong is not None)


def _guarded(desk: D, job: Callable[[D], int], note: Note) -> int:
    try:
        return job(desk)
    except (Refused, Unavailable) as error:
        note(Problem(desk.row.wallet, str(error)))
        return 0
