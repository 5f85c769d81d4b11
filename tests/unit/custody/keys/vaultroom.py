"""A double of one test's own, a wallet in it, and calls that need Vault."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.errors import StrongroomError, Unavailable
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, TransitSigner
from custody.keys.signers.pins import PinnedKeys
from custody.keys.signers.sealed import open_seed, seal_seed
from custody.keys.signers.vault_breaker import Patience
from custody.keys.signers.vault_session import VaultSession
from custody.keys.signers.vault_transit import TransitBox
from infra.devnet.vault_double import Fault, VaultDouble
from tests.support.canaries import leaks, told
from tests.support.vault import QUICK, Server, VaultPlace
from tests.unit.custody.keys.networks import traits

SEED = b"canary-seed-5ca1ab1e-canary-seed"
MESSAGE = b"what a chain calls a message"
KEY = KeyRef("hot", 0)
SLACK_S = 0.5
"""What two busy cores may add to any bound of time."""


@dataclass
class Room:
    """A double, a wallet in it whose keys are known, and what may be asked."""

    double: VaultDouble
    place: VaultPlace
    patience: Patience = QUICK
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.session = self.connect()
        self.signer = TransitSigner(
            self.session, self.place.wallet, PinnedKeys(self.place.folder / "pins"), ED25519
        )

    def connect(self, role: str = "signer", patience: Patience | None = None) -> VaultSession:
        """Return another session; it ends with the room."""
        session = self.place.session(role, patience or self.patience)
        self._stack.callback(session.close)
        return session

    @property
    def seed_file(self) -> Path:
        """Return where the sealed seed lies."""
        return self.place.folder / "sealed-seed"

    def box(self) -> TransitBox:
        """Return the box of the seed over the room's session."""
        return TransitBox(self.session, self.place.sealing)

    def seal(self) -> None:
        """Seal the canary seed."""
        seal_seed(self.seed_file, self.place.wallet, Secret(SEED), self.box())

    def sign(self) -> object:
        """Let Vault sign."""
        return self.signer.sign(KEY, MESSAGE)

    def open(self) -> object:
        """Let Vault open the seed; what is returned shows nothing but can be compared."""
        return open_seed(self.seed_file, self.place.wallet, self.box())

    def secrets(self) -> dict[str, bytes]:
        """Return everything that must stay unsaid."""
        tokens = {f"token {n}": token.encode() for n, token in enumerate(self.double.auth.tokens)}
        secret_id = self.place.role().secret_id_file.read_bytes().strip()
        planted = {"seed": SEED, "secret id": secret_id, **tokens}
        return {name: secret for name, secret in planted.items() if secret}

    def failing(self, call: Callable[[], object]) -> tuple[StrongroomError, float]:
        """Return the error of a call, after looking for secrets in it, and how long it took."""
        secrets = self.secrets()
        start = time.monotonic()
        with pytest.raises(StrongroomError) as raised:
            call()
        took_s = time.monotonic() - start
        assert not leaks(told(raised.value), secrets | self.secrets())
        return raised.value, took_s

    def close(self) -> None:
        """End every session."""
        self._stack.close()


ED25519 = traits(curve="ed25519", coin_type=501)


@contextmanager
def vault_room(folder: Path, *, patience: Patience = QUICK, **options: Any) -> Iterator[Room]:
    """Open a room whose keys are pinned and whose seed is sealed."""
    with VaultDouble() as double:
        place = VaultPlace(folder, Server(double.address, double.root_token), **options)
        room = Room(double, place, patience)
        try:
            yield room
        finally:
            room.close()


def eventually(call: Callable[[], object], *, within_s: float = 5.0) -> object:
    """Return what a call gives once it is available again, waiting as long as it says."""
    end = time.monotonic() + within_s
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def always(**fault: Any) -> Fault:
    """Return a fault that does not end by itself."""
    return Fault(times=1 << 30, **fault)
