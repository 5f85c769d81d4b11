"""What officers do: they look and sign, seldom reject; some signatures are not what they seem."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from core.errors import Reason
from core.ids import WithdrawalId
from custody import chain_state, resolution
from custody.keys.roster import Approval, Verdict
from custody.keys.statement import sign_statement
from custody.withdrawals import approvals, states
from custody.withdrawals.states import WithdrawalState
from tests.simulation import cast
from tests.simulation.machine import CHAIN, ENGINE, Machine, Process
from tests.simulation.manners import politely
from tests.support.rails import give


@dataclass(slots=True)
class Officers:
    """Three people, what they really signed, and what somebody collected of it."""

    machine: Machine
    harvested: list[Approval] = field(default_factory=list)
    meant: set[tuple[str, str, str]] = field(default_factory=set)
    """(person, withdrawal, verdict) that an officer really signed."""
    kept: set[str] = field(default_factory=set)
    """Deposits that a resolution found on the surviving branch too."""

    def judge(self) -> None:
        """Let one officer look at one withdrawal."""
        dice = self.machine.dice
        platform = self.machine.process(ENGINE).platform
        with platform.db.read() as conn:
            rows = states.in_states(
                conn, [WithdrawalState.HELD, WithdrawalState.APPROVED], limit=20
            )
        if not rows:
            return
        row = dice.pick("judge/which", rows)
        person = dice.pick("judge/who", cast.PEOPLE)
        rail = dice.pick("judge/key", self.machine.cast.officers[person])
        verdict = Verdict.REJECT if dice.chance("judge/reject", 30_000) else Verdict.APPROVE
        approval = give(rail, approvals.intent_of(row), verdict)
        kind = dice.weighted("judge/kind", {"own": 75, "harvested": 15, "stranger": 5, "forged": 5})
        if kind == "own" or (kind == "harvested" and not self.harvested):
            self.harvested.append(approval)
            self.meant.add((person, row.withdrawal_id, verdict.value))
        elif kind == "harvested":
            approval = dice.pick("judge/old", self.harvested)
        elif kind == "stranger":
            approval = give(self.machine.cast.stranger, approvals.intent_of(row))
        else:
            approval = Approval(approval.public_key, approval.verdict, bytes(64))
        self._add(row.withdrawal_id, approval)

    def judge_everything(self) -> None:
        """Let two officers approve whatever waits: the end of a run."""
        platform = self.machine.process(ENGINE).platform
        with platform.db.read() as conn:
            rows = states.in_states(conn, [WithdrawalState.HELD], limit=200)
        for row in rows:
            for person in ("bea", "cai"):
                rail = self.machine.cast.officers[person][-1]
                self.meant.add((person, row.withdrawal_id, Verdict.APPROVE.value))
                self._add(row.withdrawal_id, give(rail, approvals.intent_of(row)))

    def resolve(self) -> None:
        """Decide about a frozen chain: two officers sign what is read from the surviving branch."""
        machine = self.machine
        now_ns = machine.clock.now_ns()

        def work(process: Process) -> int:
            chain = process.platform.home(CHAIN).chain
            with process.platform.db.read() as conn:
                if not chain_state.state(conn, CHAIN).frozen:
                    return 0
            planned = resolution.gather(process.platform.db, chain)
            statement = resolution.statement_of(planned, expires_ns=now_ns + cast.EXPIRY_NS)
            keys = [machine.cast.key_of(person) for person in ("ada", "cai")]
            signed = [sign_statement(key, statement) for key in keys]
            process.platform.db.run(
                lambda conn: resolution.resolve(
                    conn, planned, statement, signed, roster=machine.cast.roster, now_ns=now_ns
                )
            )
            self.kept |= {deposit_id for deposit_id, _ in planned.kept}
            machine.counts["resolutions"] += 1
            machine.counts["deposits taken back"] += len(planned.vanished)
            return 1

        politely(machine, "resolution", work, also=(Reason.INTENT_MISMATCH,))

    def _add(self, withdrawal_id: WithdrawalId, approval: Approval) -> None:
        roster, now_ns = self.machine.cast.roster, self.machine.clock.now_ns()

        def add(conn: sa.Connection) -> states.Withdrawal:
            return approvals.add(conn, withdrawal_id, approval, roster=roster, now_ns=now_ns)

        def work(process: Process) -> int:
            process.platform.db.run(add)
            return 1

        politely(self.machine, "approval", work)
