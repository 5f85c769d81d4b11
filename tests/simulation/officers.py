"""What officers do: they look and sign, seldom reject, and some signatures are not what they seem."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from core.ids import WithdrawalId
from custody.keys.roster import Approval, Verdict, sign_approval
from custody.withdrawals import approvals, states
from custody.withdrawals.states import WithdrawalState
from tests.simulation import cast
from tests.simulation.machine import ENGINE, Machine, Process
from tests.simulation.manners import politely


@dataclass(slots=True)
class Officers:
    """Three people, what they really signed, and what somebody collected of it."""

    machine: Machine
    harvested: list[Approval] = field(default_factory=list)
    meant: set[tuple[str, str, str]] = field(default_factory=set)
    """(person, withdrawal, verdict) that an officer really signed."""

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
        key = dice.pick("judge/key", self.machine.cast.officers[person])
        verdict = Verdict.REJECT if dice.chance("judge/reject", 30_000) else Verdict.APPROVE
        approval = sign_approval(key, approvals.intent_of(row), verdict)
        kind = dice.weighted("judge/kind", {"own": 75, "harvested": 15, "stranger": 5, "forged": 5})
        if kind == "own" or (kind == "harvested" and not self.harvested):
            self.harvested.append(approval)
            self.meant.add((person, row.withdrawal_id, verdict.value))
        elif kind == "harvested":
            approval = dice.pick("judge/old", self.harvested)
        elif kind == "stranger":
            approval = sign_approval(self.machine.cast.stranger, approvals.intent_of(row))
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
                key = self.machine.cast.officers[person][0]
                self.meant.add((person, row.withdrawal_id, Verdict.APPROVE.value))
                self._add(row.withdrawal_id, sign_approval(key, approvals.intent_of(row)))

    def _add(self, withdrawal_id: WithdrawalId, approval: Approval) -> None:
        roster, now_ns = self.machine.cast.roster, self.machine.clock.now_ns()

        def add(conn: sa.Connection) -> states.Withdrawal:
            return approvals.add(conn, withdrawal_id, approval, roster=roster, now_ns=now_ns)

        def work(process: Process) -> int:
            process.platform.db.run(add)
            return 1

        politely(self.machine, "approval", work)
