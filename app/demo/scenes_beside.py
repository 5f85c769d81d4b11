"""The scenes on the networks beside the first: the same way of the money, every kind of chain."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from app.demo.scenes import entries_of, evidence, text_of, withdrawal
from app.demo.stage import Stage
from app.devsetup import OFFICERS, DevAsset
from chains.base import NATIVE, SpendKind
from core.ids import ChainId, SpendId
from core.money import format_amount
from custody import deposit_rows
from custody.deposit_rows import Deposit, DepositState
from custody.keys.roster import Verdict
from custody.spending import rows as spending
from custody.spending.rows import SpendState

if TYPE_CHECKING:
    from infra.devnet.networks import DevNetwork

WHO = "alice"
SHARE = 10
"""A customer deposits a tenth of what a wallet began with, and withdraws a tenth of that."""
TOKENS = 1_000


def reorganise(stage: Stage, address: str) -> None:
    """A deposit's block is replaced on the first chain; it is credited where it comes back."""
    from infra.devnet.networks import AnvilNetwork

    native = _native(stage, stage.setup.chain)
    first = AnvilNetwork(stage.node)
    tx_id = first.pay(address, 10**native.scale)
    seen = _seen(stage, first, tx_id)
    first.reorganise(1)
    gone: Deposit = stage.wait_for(
        "the fork", lambda: _in_state(stage, tx_id, DepositState.ORPHANED), still={first.chain}
    )
    again = first.pay(address, 10**native.scale)
    back: Deposit = stage.wait_for(
        "the deposit after the fork", lambda: _in_state(stage, again, DepositState.CREDITED)
    )
    _note_fork(stage, first, seen, gone, back)


def deposit(stage: Stage) -> None:
    """On every network beside the first: an address, coins, tokens, and a fork where there are."""
    for network in stage.others:
        address = stage.ask(
            WHO, "POST", "/v1/deposit-addresses", key=f"address-{network.chain}",
            chain=network.chain,
        )["address"]  # fmt: skip
        for asset in _assets(stage, network):
            amount = asset.wallet_coins // SHARE or TOKENS
            tx_id = network.pay(address, amount * 10**asset.scale, asset.key)
            seen = _seen(stage, network, tx_id)
            forked = asset.key == NATIVE and network.reorganise(1)
            row: Deposit = stage.wait_for(
                f"a credit on {network.chain}",
                partial(_in_state, stage, tx_id, DepositState.CREDITED),
            )
            if forked:
                _note_fork(stage, network, seen, None, row)
            stage.note(
                f"{WHO.capitalize()}'s deposit of {text_of(stage, row)} on {network.chain} is "
                "final and credited", address=address, transaction=row.tx_id,
                block=f"{row.block.height} {row.block.hash}",
                **evidence(stage, row.deposit_id),
            )  # fmt: skip


def withdraw(stage: Stage) -> None:
    """On every network beside the first: who waits for a block pays more, and is paid once."""
    for network in stage.others:
        for asset in _assets(stage, network):
            whole = (
                asset.wallet_coins * 10**asset.scale // SHARE**2 or TOKENS * 10**asset.scale // 2
            )
            asked = stage.ask(
                WHO, "POST", "/v1/withdrawals", key=f"withdrawal-{network.chain}-{asset.symbol}",
                asset=f"{network.chain}/{asset.key}", destination=network.outsider(),
                amount=format_amount(whole, asset.scale),
            )  # fmt: skip
            for person in OFFICERS[:2]:
                stage.judge(person, asked["withdrawal_id"], Verdict.APPROVE)
            _follow(stage, network, asked["withdrawal_id"])


def sweeps(stage: Stage) -> None:
    """Say what was gathered on the networks beside the first, once everything has settled."""
    for network in stage.others:
        with stage.db.read() as conn:
            done = spending.in_states(conn, ChainId(network.chain), [SpendState.CONFIRMED])
            made = [(row, spending.attempts(conn, row.spend_id)[-1].tx_id) for row in done]
        for row, tx_id in made:
            if row.kind is SpendKind.SWEEP:
                stage.note(
                    f"Sweep of {text_of(stage, row)} on {network.chain} is final",
                    spend=row.spend_id, transaction=tx_id, block=network.place_of(tx_id),
                    network_fee=row.fee_paid,
                )  # fmt: skip


def _follow(stage: Stage, network: DevNetwork, withdrawal_id: str) -> None:
    def is_paid() -> Any:
        return withdrawal(stage, WHO, withdrawal_id, "confirmed")

    if network.is_slow:
        stage.wait_for(
            f"a dearer payment on {network.chain}",
            lambda: len(_attempts(stage, withdrawal_id)) > 1, still={network.chain},
        )  # fmt: skip
    ended = stage.wait_for(f"a withdrawal on {network.chain}", is_paid)
    stage.wait_for("its capture", lambda: entries_of(stage, withdrawal_id, "capture"))
    made = _attempts(stage, withdrawal_id)
    place = {tx_id: network.place_of(tx_id) for tx_id in made}
    (landed,) = [tx_id for tx_id in made if place[tx_id]]
    bumps = f"; no block came, {len(made) - 1} dearer ones replaced it" if len(made) > 1 else ""
    stage.note(
        f"{WHO.capitalize()} withdraws {ended['amount']} {ended['symbol']} on {network.chain}, "
        f"approved by two{bumps}",
        withdrawal=withdrawal_id, intent=ended["intent_hash"], signed=", ".join(made),
        landed=landed, block=place[landed], **evidence(stage, withdrawal_id, "capture"),
    )  # fmt: skip


def _attempts(stage: Stage, withdrawal_id: str) -> list[str]:
    with stage.db.read() as conn:
        spend = spending.find_by_cause(conn, withdrawal_id, SpendKind.WITHDRAWAL)
        if spend is None:
            return []
        return [one.tx_id for one in spending.attempts(conn, SpendId(spend.spend_id))]


def _assets(stage: Stage, network: DevNetwork) -> list[DevAsset]:
    return [one for one in stage.setup.assets if one.chain == network.chain]


def _native(stage: Stage, chain: str) -> DevAsset:
    return next(one for one in stage.setup.assets if (one.chain, one.key) == (chain, NATIVE))


def _seen(stage: Stage, network: DevNetwork, tx_id: str) -> Deposit:
    """Make one block and wait until the follower has read the payment in it."""
    if not network.place_of(tx_id):
        network.mine()
    found: Deposit = stage.wait_for(
        f"a payment on {network.chain}", lambda: _of_tx(stage, tx_id), still={network.chain}
    )
    return found


def _of_tx(stage: Stage, tx_id: str) -> Deposit | None:
    with stage.db.read() as conn:
        return next((row for row in deposit_rows.list_deposits(conn) if row.tx_id == tx_id), None)


def _in_state(stage: Stage, tx_id: str, state: DepositState) -> Deposit | None:
    row = _of_tx(stage, tx_id)
    return row if row is not None and row.state is state else None


def _note_fork(
    stage: Stage, network: DevNetwork, seen: Deposit, gone: Deposit | None, back: Deposit
) -> None:
    stage.note(
        f"A block of {network.chain} is replaced under a deposit, and nothing is lost",
        was_in=f"{seen.block.height} {seen.block.hash}",
        then="in no block: listed as orphaned, credited to nobody" if gone else "waiting again",
        credited_from=f"{back.block.height} {back.block.hash}", transaction=back.tx_id,
    )  # fmt: skip
