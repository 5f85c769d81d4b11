"""Money in and out: commands with gapless numbers, each applied exactly once."""

from __future__ import annotations

from core.errors import Corrupt
from core.money import ENGINE_AMOUNT_LIMIT, ENGINE_BALANCE_LIMIT
from engine.base import LiveHold
from engine.commands import Capture, Credit, Debit, FundingCommand, Hold, Release
from engine.enums import CancelReason, RejectReason
from engine.events import (
    Captured,
    Credited,
    Debited,
    FundingRefused,
    FundingRepeated,
    Held,
    Released,
)
from engine.records import command_kind
from engine.reference_state import State


def fund(state: State, command: FundingCommand) -> None:
    """Apply the command of the next number; answer an earlier number without effect.

    Corrupt: a number that leaves a gap. A refused command uses its number up.
    """
    if command.number > state.funding_number + 1:
        raise Corrupt(f"funding number {command.number} follows {state.funding_number}")
    if command.number <= state.funding_number:
        state.emit(
            FundingRepeated(
                sequence=state.sequence,
                number=command.number,
                customer_no=command.customer_no,
                asset_no=command.asset_no,
            )
        )
        return
    state.funding_number = command.number
    reason = _why_not(state, command)
    if reason is not None:
        state.emit(
            FundingRefused(
                sequence=state.sequence,
                number=command.number,
                hold_number=command.hold_number if isinstance(command, Capture | Release) else 0,
                customer_no=command.customer_no,
                asset_no=command.asset_no,
                amount=command.amount,
                command=command_kind(command),
                reason=reason,
            )
        )
    elif isinstance(command, Credit):
        _credit(state, command)
    elif isinstance(command, Debit):
        _debit(state, command)
    elif isinstance(command, Hold):
        _hold(state, command)
    else:
        _end_hold(state, command)


def _why_not(state: State, command: FundingCommand) -> RejectReason | None:
    if not 0 <= command.amount < ENGINE_AMOUNT_LIMIT:
        return RejectReason.AMOUNT_OUT_OF_RANGE
    if isinstance(command, Capture | Release):
        hold = state.holds.get(command.hold_number)
        if hold is None:
            return RejectReason.UNKNOWN_HOLD
        named = (command.customer_no, command.asset_no, command.amount)
        if named != (hold.customer_no, hold.asset_no, hold.amount):
            return RejectReason.EXISTS_WITH_OTHER_CONTENT
        return None
    total = state.balances.assets.get(command.asset_no)
    if total is None:
        return RejectReason.UNKNOWN_ASSET
    if command.amount == 0:
        return RejectReason.ZERO_AMOUNT
    if isinstance(command, Hold):
        available = state.balances.available(command.customer_no, command.asset_no)
        return RejectReason.EXCEEDS_AVAILABLE if command.amount > available else None
    # No balance can exceed what is in the engine, so bounding the supply bounds every balance, and
    # no fill ever overflows.
    if isinstance(command, Credit) and total.supply + command.amount >= ENGINE_BALANCE_LIMIT:
        return RejectReason.BALANCE_OVERFLOW
    return None


def _credit(state: State, command: Credit) -> None:
    state.balances.enter(command.customer_no, command.asset_no, command.amount)
    state.emit(
        Credited(
            sequence=state.sequence,
            number=command.number,
            customer_no=command.customer_no,
            asset_no=command.asset_no,
            amount=command.amount,
        )
    )


def _debit(state: State, command: Debit) -> None:
    for order_id in state.open_order_ids(command.customer_no):
        state.cancel(state.orders[order_id], CancelReason.DEBIT, is_resting=True)
    available = state.balances.available(command.customer_no, command.asset_no)
    taken = min(command.amount, available)
    state.balances.leave(command.customer_no, command.asset_no, taken, of_held=False)
    state.emit(
        Debited(
            sequence=state.sequence,
            number=command.number,
            customer_no=command.customer_no,
            asset_no=command.asset_no,
            amount_taken=taken,
            shortfall=command.amount - taken,
        )
    )


def _hold(state: State, command: Hold) -> None:
    state.balances.hold(command.customer_no, command.asset_no, command.amount)
    state.holds[command.number] = LiveHold(
        number=command.number,
        customer_no=command.customer_no,
        asset_no=command.asset_no,
        amount=command.amount,
    )
    state.emit(
        Held(
            sequence=state.sequence,
            number=command.number,
            customer_no=command.customer_no,
            asset_no=command.asset_no,
            amount=command.amount,
        )
    )


def _end_hold(state: State, command: Capture | Release) -> None:
    hold = state.holds.pop(command.hold_number)
    if isinstance(command, Capture):
        state.balances.leave(hold.customer_no, hold.asset_no, hold.amount, of_held=True)
    else:
        state.balances.hold(hold.customer_no, hold.asset_no, -hold.amount)
    event = Captured if isinstance(command, Capture) else Released
    state.emit(
        event(
            sequence=state.sequence,
            number=command.number,
            hold_number=hold.number,
            customer_no=hold.customer_no,
            asset_no=hold.asset_no,
            amount=hold.amount,
        )
    )
