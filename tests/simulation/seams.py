"""The seams of production with the simulator behind them: database, node, keys and disk.

Nothing of the platform is replaced: each class is the real one, or the one made for simulation,
passing through a `Gate` where a process may die, be overtaken by another one, or be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import BroadcastResult, ChainTraits
from chains.fake import FakeChain, FakeCoinChain, Fault
from custody.db import Database
from custody.keys.signers.base import KeyRef
from custody.keys.signers.local import LocalSigner
from engine.simulated_files import Content, SimulatedFile, SimulatedStorage
from tests.simulation.crash import CrashPoints


@dataclass(slots=True)
class Gate:
    """What one process passes through. `between` runs another process, where nothing is open."""

    crash: CrashPoints
    between: Callable[[], None]
    refuse_commit: Callable[[], None]
    """Raises before a commit what a database may answer."""
    lose_answer: Callable[[], None]
    """Raises after a commit that its outcome is unknown."""
    open_transactions: int = 0

    def before_commit(self) -> None:
        """Hook of custody.db."""
        self.refuse_commit()
        self.crash.reach("commit.before")

    def after_commit(self) -> None:
        """Hook of custody.db."""
        self.crash.reach("commit.after")
        self.lose_answer()


class SeamDatabase(Database):
    """The real database; other processes get their turn between two transactions."""

    gate: Gate

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open a transaction after others had their turn."""
        self._turn()
        with super().transaction() as conn, self._counted():
            yield conn

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a snapshot after others had their turn."""
        self._turn()
        with super().read() as conn, self._counted():
            yield conn

    def _turn(self) -> None:
        if self.gate.open_transactions == 0:
            self.gate.between()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.gate.open_transactions += 1
        try:
            yield
        finally:
            self.gate.open_transactions -= 1


class SeamChain(FakeChain):
    """The fake chain's node; asking it takes time, and sending may be the last thing done."""

    gate: Gate

    def _ask(self, call: str) -> tuple[Fault | None, int]:
        # Principle 2 of the house: what talks to a node happens between two transactions.
        assert self.gate.open_transactions == 0, f"{call} was asked inside a transaction"
        self.gate.between()
        return super()._ask(call)

    def broadcast(self, raw: bytes) -> BroadcastResult:
        """Send bytes, dying before or after."""
        assert self.gate.open_transactions == 0, "a broadcast inside a transaction"
        self.gate.crash.reach("broadcast.before")
        result = super().broadcast(raw)
        self.gate.crash.reach("broadcast.after")
        return result


class SeamCoinChain(SeamChain, FakeCoinChain):
    """The same over a world that spends coins."""


class SeamSigner:
    """A local signer that may be the last thing a process used."""

    def __init__(self, inner: LocalSigner, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def network_allowed(self, traits: ChainTraits) -> bool:
        """Ask the signer."""
        return self._inner.network_allowed(traits)

    def account_xpub(self, account: str) -> str:
        """Ask the signer."""
        return self._inner.account_xpub(account)

    def public_key(self, key: KeyRef) -> bytes:
        """Ask the signer."""
        return self._inner.public_key(key)

    @property
    def curve(self) -> str:
        """Ask the signer."""
        return self._inner.curve

    def make_keys(self, account: str, first: int, count: int) -> None:
        """Ask the signer."""
        self._inner.make_keys(account, first, count)

    def check(self) -> None:
        """Ask the signer."""
        self._inner.check()

    def close(self) -> None:
        """Ask the signer."""
        self._inner.close()

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Sign, dying before or after."""
        self._gate.crash.reach("sign.before")
        signature = self._inner.sign(key, message)
        self._gate.crash.reach("sign.after")
        return signature

    def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
        """Sign one after the other, dying anywhere."""
        return [self.sign(key, message) for key, message in jobs]


class SeamStorage(SimulatedStorage):
    """The simulated disk; a process may die around every sync and every whole file."""

    crash_points: CrashPoints

    def operation(self, operation: str, name: str) -> bool:
        """Die before an operation, or let it happen or fail."""
        if operation in ("sync", "write"):
            self.crash_points.reach(f"{operation}.before")
        return super().operation(operation, name)

    def create(self, name: str) -> SimulatedFile:
        """Begin a file whose syncs may be the last thing done."""
        super().create(name)
        return self.reopen(name)

    def reopen(self, name: str) -> SimulatedFile:
        """Open a created file whose syncs may be the last thing done."""
        return SeamFile(self, name, self._created[name], self.crash_points)

    def open(self, name: str) -> SimulatedFile:
        """Open a file whose syncs may be the last thing done."""
        return SeamFile(self, name, self._find(name), self.crash_points)


class SeamFile(SimulatedFile):
    """A file whose process may die right after a sync."""

    def __init__(
        self, storage: SimulatedStorage, name: str, content: Content, crash_points: CrashPoints
    ) -> None:
        super().__init__(storage, name, content)
        self._crash_points = crash_points

    def sync(self) -> None:
        """Make everything safe, and perhaps die."""
        super().sync()
        self._crash_points.reach("sync.after")
