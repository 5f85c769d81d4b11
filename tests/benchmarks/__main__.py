"""`make bench` runs every job, `make bench JOB=name` one of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console

from tests.benchmarks import (
    addresses,
    batches,
    bitcoin,
    engine,
    indexing,
    ledger,
    orders,
    policy,
    signer,
    solana,
    withdrawals,
)
from tests.benchmarks.measure import Contest, Fact, Row, measure, show, write

JOBS: dict[str, Callable[[contextlib.ExitStack], Iterable[Contest | Row | Fact]]] = {
    "engine": engine.contests,
    "orders": orders.contests,
    "ledger": ledger.contests,
    "indexing": indexing.contests,
    "addresses": addresses.contests,
    "signer": signer.contests,
    "policy": policy.contests,
    "withdrawals": withdrawals.contests,
    "batches": batches.contests,
    "bitcoin": bitcoin.contests,
    "solana": solana.contests,
}
OUTPUT = Path("var/bench.json")


def main(arguments: list[str]) -> int:
    """Run the named jobs (all by default), print the table, write var/bench.json."""
    unknown = [name for name in arguments if name not in JOBS]
    if unknown:
        sys.stderr.write(f"no such job: {', '.join(unknown)}; there are {', '.join(JOBS)}\n")
        return 2
    talk, rows, facts = Console(stderr=True), list[Row](), list[Fact]()
    for name in arguments or JOBS:
        with contextlib.ExitStack() as stack, talk.status(f"{name}: preparing") as status:
            for contest in JOBS[name](stack):
                status.update(f"{contest.job}: measuring")
                if isinstance(contest, Fact):
                    facts.append(contest)
                else:
                    rows.append(contest if isinstance(contest, Row) else measure(contest))
    show(rows, facts, Console(width=170))
    write(rows, facts, OUTPUT)
    talk.print(f"written: {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
