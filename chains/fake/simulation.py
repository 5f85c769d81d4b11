"""What a transaction would do to one state of the scripted world."""

from __future__ import annotations

from chains.base import NATIVE, BalanceChange, Simulation, UnsignedTx
from chains.fake.history import FakeBlock
from chains.fake.reader import read_payload
from chains.fake.state import Laws, execute
from chains.fake.tx import SignedFakeTx


def simulate(unsigned: UnsignedTx, block: FakeBlock, laws: Laws) -> Simulation:
    """Run a transaction on a copy of the state after a block. Refused: undecodable."""
    tx, state = read_payload(unsigned.payload), block.state.copy()
    receipt = execute(SignedFakeTx("simulated", unsigned.sender, tx, b""), state, laws)
    if receipt is None or not receipt.succeeded:
        return Simulation(block.ref, succeeded=False, detail="the transaction fails")
    state.move(unsigned.sender, NATIVE, receipt.fee)
    changes, others = [], []
    for owner, asset_key in sorted({*block.state.balances, *state.balances}):
        before, after = (one.balance(owner, asset_key) for one in (block.state, state))
        if before != after and owner in (unsigned.sender, tx.to):
            changes.append(BalanceChange(owner, asset_key, before, after))
        elif before != after:
            others.append(f"balance of {owner}")
    return Simulation(block.ref, succeeded=True, changes=tuple(changes), others=tuple(others))
