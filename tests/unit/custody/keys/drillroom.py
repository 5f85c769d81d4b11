"""A room to hold drills in: a chain without a node, keys, addresses, a log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from chains.base import Chain
from chains.registry import ChainConfig, open_chain
from core.clock import SECOND_NS, ManualClock
from core.entropy import SeededEntropy
from core.ids import ChainId, CustomerNo
from custody.keys.control import prove_control
from custody.keys.drill import Drill, Target
from custody.keys.drill_log import Author, DrillLog
from custody.keys.secret import Secret
from custody.keys.service import KeyService
from custody.keys.signers.base import KeyRef, Signer
from custody.keys.signers.seeded import SeededSigner
from custody.wallets.addresses import Address
from tests.unit.custody.keys.people import ADA

CHAIN = ChainId("devnet")
SEED = Secret(bytes(range(32)))
NOW_S = 1_790_000_000


def open_kind(kind: str) -> Chain:
    """Open a chain of a kind; nothing is asked of a node."""
    return open_chain(
        ChainConfig(
            kind=kind,
            chain=CHAIN,
            node_urls=("http://127.0.0.1:1",),
            quorum=1,
            chain_number=31337,
            genesis_hash="0x" + "00" * 32,
            fee_floor=1,
            fee_cap=10,
            tip=1,
        )
    )


class OnlyControl:
    """The one verb of a key service that a drill needs."""

    def __init__(self, chain: Chain, signer: Signer) -> None:
        self._chain, self.signer = chain, signer

    def prove_control(self, chain: ChainId, key: KeyRef, address: str, challenge: bytes) -> bytes:
        assert chain == CHAIN
        return prove_control(self._chain, self.signer, key, address, challenge)


@dataclass(frozen=True, slots=True)
class DrillRoom:
    """Everything a drill needs."""

    chain: Chain
    signer: SeededSigner
    drill: Drill
    clock: ManualClock
    path: Path

    @property
    def service(self) -> KeyService:
        """Return the keys behind the seam."""
        return cast("KeyService", OnlyControl(self.chain, self.signer))

    def target(self, account: str = "hot", index: int = 0, customer: int | None = None) -> Target:
        """Return an address of ours with its public key."""
        public_key = self.signer.public_key(KeyRef(account, index))
        address = self.chain.address_of(public_key)
        owner = None if customer is None else CustomerNo(customer)
        return Target(Address(CHAIN, address, account, index, owner), public_key)


def drill_room(folder: Path, kind: str) -> DrillRoom:
    """Return a room for one kind of chain."""
    chain = open_kind(kind)
    clock = ManualClock(NOW_S * SECOND_NS)
    log = DrillLog(folder / "drills.log", clock)
    drill = Drill("2026-q4", "regular drill", Author("ada", ADA), log, clock, SeededEntropy(3))
    return DrillRoom(chain, SeededSigner(SEED, chain.traits), drill, clock, folder / "drills.log")
