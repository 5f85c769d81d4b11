"""S04: Vault is sealed while withdrawals are signed: they wait, then each is signed once.

The signer here asks Vault for every single signature, which is harder than what runs: that one
opens its seed at the start and goes on while Vault is sealed.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chains.base import NATIVE, ChainTraits, SpendKind
from core.clock import SECOND_NS
from core.entropy import SeededEntropy
from core.ids import WithdrawalId
from custody.keys.desk import KeyDesk
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner, VaultSigner
from custody.keys.signers.sealed import seal_seed
from custody.keys.signers.vault_transit import TransitBox
from custody.withdrawals.states import WithdrawalState
from infra.devnet.vault_double import Fault, VaultDouble
from tests.support.api import Caller, Front, open_front
from tests.support.house import House
from tests.support.vault import QUICK, Server, VaultPlace

COUNT = 12
READS = 100
HOUSE_SEED = Secret(SeededEntropy(1, "seed").token_bytes(32))
PATIENT = replace(QUICK, pause_s=0.05, pause_max_s=0.1)


class AsksVaultEachTime(LocalSigner):
    """Signs with a seed that Vault opened for this one signature."""

    def __init__(self, seed: Secret, traits: ChainTraits, place: VaultPlace) -> None:
        super().__init__(seed, traits)
        self._place = place
        self._session = place.session(patience=PATIENT)
        self.path = place.folder / "sealed-seed"
        with place.box() as box:
            seal_seed(self.path, place.wallet, seed, box)

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Open, sign, forget."""
        box = TransitBox(self._session, self._place.sealing)
        opened = VaultSigner.open(self.path, self._place.wallet, box, self._traits)
        try:
            return opened.sign(key, message)
        finally:
            opened.close()

    def close(self) -> None:
        """Let go of Vault too."""
        super().close()
        self._session.close()


@pytest.fixture
def vault() -> Iterator[VaultDouble]:
    with VaultDouble() as running:
        yield running


@pytest.fixture
def front(database_url: str, vault: VaultDouble, tmp_path: Path) -> Iterator[Front]:
    with open_front(database_url) as opened:
        house = opened.house
        opened.world.fund(house.own_address("hot"), 10**9)
        opened.world.mine(3)
        house.run(2)
        place = VaultPlace(tmp_path, Server(vault.address, vault.root_token))
        signer = AsksVaultEachTime(HOUSE_SEED, house.home.chain.traits, place)
        with on_keys_of(house, signer):
            yield opened


@contextmanager
def on_keys_of(house: House, signer: AsksVaultEachTime) -> Iterator[None]:
    desk = house.platform.signer
    assert isinstance(desk, KeyDesk)
    guards = {name: replace(guard, signer=signer) for name, guard in desk.guards.items()}
    house.platform = replace(house.platform, signer=replace(desk, guards=guards))
    try:
        yield
    finally:
        signer.close()


def approved(front: Front) -> list[WithdrawalId]:
    """Request and approve withdrawals."""
    house, alice = front.house, front.house.customer("alice")
    front.credit(alice, "FAKE", 10**6)
    rows = [
        house.withdraw(alice, NATIVE, 1_000, outside(front, n), client_id=f"w{n}")
        for n in range(COUNT)
    ]
    house.run(2)
    for row in rows:
        house.approve(row.withdrawal_id)
    house.step("withdrawals.plan")
    return [row.withdrawal_id for row in rows]


def outside(front: Front, number: int) -> str:
    return front.world.outsider(f"customer {number}")


def states(front: Front, ids: list[WithdrawalId]) -> dict[WithdrawalState, int]:
    found = [front.house.withdrawal(one).state for one in ids]
    return {state: found.count(state) for state in dict.fromkeys(found)}


def signatures(front: Front) -> list[str]:
    desk = front.house.platform.signer
    released = [entry.record for entry in desk.entries(0, 1_000) if entry.signature]
    return [one.cause_id for one in released if one.kind == SpendKind.WITHDRAWAL]


def test_withdrawals_wait_for_a_sealed_vault_and_are_signed_once_each(
    front: Front, vault: VaultDouble
) -> None:
    ids, house = approved(front), front.house
    before = vault.asked("transit/decrypt")

    def seal_after_five(content: Any) -> Any:
        vault.is_sealed = vault.asked("transit/decrypt") - before >= 5
        return content

    vault.faults.append(Fault(path="transit/decrypt", times=1 << 30, lie=seal_after_five))
    house.step("spending.move")
    assert vault.is_sealed
    assert len(signatures(front)) == 5
    signed = set(signatures(front))

    house.step("spending.move")
    front.world.mine(3)  # what was signed is paid, and needs no dearer replacement
    house.run(2)

    # An hour of steps: they fail at once, the server is hardly asked, nothing is given up.
    asked = vault.asked("transit/")
    start = time.monotonic()
    for _ in range(20):
        house.run(1)
        house.clock.advance(180 * SECOND_NS)
    took_s = time.monotonic() - start
    assert vault.asked("transit/") - asked < took_s / PATIENT.pause_max_s + 10
    assert set(signatures(front)) == signed
    assert states(front, ids) == {WithdrawalState.CONFIRMED: 5, WithdrawalState.PLANNED: COUNT - 5}
    assert any("Vault" in problem.why for problem in house.problems), house.problems

    vault.faults.clear()
    vault.is_sealed = False
    time.sleep(2 * PATIENT.pause_max_s)
    for _ in range(6):
        house.run(2)
        front.world.mine(3)
    assert states(front, ids) == {WithdrawalState.CONFIRMED: COUNT}
    assert sorted(signatures(front)) == sorted(ids)
    chain = house.home.chain
    for number in range(COUNT):
        paid = chain.balance_of(outside(front, number), NATIVE, chain.head())
        assert paid == 1_000


def test_reads_are_as_fast_while_vault_hangs(front: Front, vault: VaultDouble) -> None:
    reader = front.customer("reader", TOK=10**6)
    approved(front)
    calm_ms = p99_ms(reader)
    for fault in (
        Fault(path="transit/", times=1 << 30, delay_s=5.0),
        Fault(path="transit/", times=1 << 30, drop="before"),
    ):
        vault.faults[:] = [fault]
        halt = threading.Event()

        def work(halt: threading.Event = halt) -> None:
            while not halt.is_set():
                front.house.step("spending.move")

        worker = threading.Thread(target=work)
        worker.start()
        try:
            hanging_ms = min(p99_ms(reader) for _ in range(3))  # others use this machine too
        finally:
            halt.set()
            worker.join()
        assert hanging_ms < 3 * calm_ms + 20, (hanging_ms, calm_ms)
        assert any("Vault" in problem.why for problem in front.house.problems)


def p99_ms(reader: Caller) -> int:
    took = []
    for _ in range(READS):
        start = time.perf_counter_ns()
        assert reader.get("/v1/balances").status_code == 200
        took.append(time.perf_counter_ns() - start)
    return int(statistics.quantiles(took, n=100)[98]) // 1_000_000
