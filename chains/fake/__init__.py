"""A scripted chain for tests and the simulator: deterministic, in memory, no network."""

from __future__ import annotations

from chains.fake.chain import FakeChain
from chains.fake.coin_chain import FakeCoinChain
from chains.fake.faults import Dice, Fault, FaultKind, FaultScript
from chains.fake.history import FakeBlock, Landing
from chains.fake.opening import open_fake
from chains.fake.state import Output, Receipt, Token
from chains.fake.world import FakeWorld

__all__ = [
    "FakeChain",
    "FakeCoinChain",
    "open_fake",
    "FakeWorld",
    "FakeBlock",
    "Landing",
    "Receipt",
    "Output",
    "Token",
    "Fault",
    "FaultKind",
    "FaultScript",
    "Dice",
]
