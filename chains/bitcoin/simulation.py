"""What a transaction would do. Pure: its bytes say it, nodes only whether its coins are there.

No node runs an unsigned transaction, and none has to: outputs of plain scripts cannot fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from chains.base import NATIVE, BalanceChange, Decoded


def moves_of(decoded: Decoded, *, sender: str) -> dict[str, int]:
    """Return what each address gains or loses, without the fee, which the sender pays."""
    moves: Counter[str] = Counter({sender: decoded.fee_max})
    for coin in decoded.inputs:
        moves[coin.owner] -= coin.amount
    for effect in decoded.effects:
        moves[effect.destination] += effect.amount
    return {address: moved for address, moved in moves.items() if moved}


def changes_of(moves: Mapping[str, int], balances: Mapping[str, int]) -> tuple[BalanceChange, ...]:
    """Return the balances around a transaction, for what each address had before."""
    return tuple(
        BalanceChange(address, NATIVE, balances[address], balances[address] + moved)
        for address, moved in sorted(moves.items())
    )
