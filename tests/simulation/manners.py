"""How people ask: a refusal is an answer, and only some refusals are ones a person may meet."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import Reason, Refused
from tests.simulation.machine import ENGINE, Broken, Machine, Process

EXPECTED_REFUSALS = frozenset(
    {
        Reason.FROZEN, Reason.OWN_ADDRESS, Reason.INVALID_ADDRESS, Reason.FORBIDDEN_DESTINATION,
        Reason.BELOW_MINIMUM, Reason.ZERO_AMOUNT, Reason.AMOUNT_OUT_OF_RANGE,
        Reason.ILLEGAL_TRANSITION, Reason.APPROVAL_EXPIRED, Reason.ALREADY_APPROVED,
        Reason.INITIATOR_CANNOT_APPROVE, Reason.NOT_AN_OFFICER, Reason.BAD_SIGNATURE,
        Reason.NOT_FOUND, Reason.ISSUED_IN_FUTURE,
    }
)  # fmt: skip


def politely(
    machine: Machine, what: str, work: Callable[[Process], int], also: tuple[Reason, ...] = ()
) -> None:
    """Ask the engine process for something, and take no for an answer when it is a fair one."""

    def polite(process: Process) -> int:
        try:
            return work(process)
        except Refused as refused:
            if refused.reason not in EXPECTED_REFUSALS and refused.reason not in also:
                raise Broken(f"{what} was refused: {refused}") from refused
            machine.counts[f"refused.{refused.reason.value}"] += 1
            return 0

    machine.run(ENGINE, polite, what)
