"""What a thief can do who runs the platform: ask the signer, with no check of ours before it."""

from __future__ import annotations

import contextlib

from app.devsetup import CHAIN, DevSetup
from app.opening import open_platform
from chains.base import FeeRate, SpendIntent, SpendKind
from core.errors import Reason, Refused
from core.ids import WithdrawalId
from custody.keys.authority import Approvals
from custody.keys.guard import SignRequest
from custody.keys.intent import WithdrawalIntent, decode
from custody.keys.signers.base import KeyRef
from custody.withdrawals import approvals, states


def asked_directly(setup: DevSetup, forged: str) -> Reason:
    """Ask the signer as a platform that the thief runs: no check of ours stands before it."""
    platform = open_platform(setup.settings())
    with contextlib.closing(platform):
        home = platform.home(CHAIN)
        hot = home.chain.address_of(home.public_key_of("hot", 0))
        with platform.db.read() as conn:
            withdrawal = decode(states.get(conn, WithdrawalId(forged)).intent)
            given = tuple(approvals.of(conn, WithdrawalId(forged)))
        assert isinstance(withdrawal, WithdrawalIntent)
        spend = SpendIntent(
            spend_id=f"thief's {forged}", kind=SpendKind.WITHDRAWAL, cause_id=forged, chain=CHAIN,
            network=withdrawal.network, asset_key=withdrawal.asset_key, source=hot,
            destination=withdrawal.destination, amount=withdrawal.amount,
            fee_max=withdrawal.network_fee_max,
        )  # fmt: skip
        nonce = home.chain.used_nonces(hot, home.chain.head())
        rate = FeeRate(3 * 10**9, 10**9)
        unsigned = home.chain.build(spend, nonce=nonce, rate=rate, units=21_000)
        request = SignRequest(spend, Approvals(withdrawal, given), unsigned, KeyRef("hot", 0))
        (answer,) = platform.signer.sign([request])
    assert isinstance(answer, Refused)
    return answer.reason
