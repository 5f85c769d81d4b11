"""The signer as a process of a whole running platform: attacked, stopped, and asked again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.children import Child
from app.demo.stage import Stage, open_stage
from app.devsetup import CHAIN, OFFICERS, fund_wallets
from app.signer_client import SignerClient
from chains.base import SpendKind
from core.errors import Reason, Refused
from core.ids import WithdrawalId
from core.money import parse_amount
from custody.keys.authority import Approvals
from custody.keys.guard import SignRequest
from custody.keys.intent import encode, intent_hash
from custody.keys.log_file import whole_log
from custody.keys.roster import Verdict, sign_approval
from custody.keys.service import SignerAway
from custody.keys.signers.base import KeyRef
from custody.keys.signing_record import Entry
from custody.spending import drafts
from custody.spending import rows as spending
from custody.withdrawals import approvals, states
from tests.support.databases import Databases
from tests.support.thief import asked_directly

NATIVE = f"{CHAIN}/native"
COIN = 10**18
THIEF = "0x00000000000000000000000000000000DeaDBeef"


class Estate:
    """A running platform, and what the tests do with it."""

    def __init__(self, stage: Stage, database_url: str) -> None:
        self.stage = stage
        self.database_url = database_url
        self.signer = SignerClient(stage.setup.settings().signer.socket)
        self.requests = 0
        self.numbers = count(10_000)

    def child(self, name: str) -> Child:
        """Return a process."""
        return next(child for child in self.stage.children if child.name == name)

    def ask_withdrawal(self, amount: str, destination: str, who: str = "alice") -> str:
        """Request a withdrawal; return its id once its money is held."""
        self.requests += 1
        asked = self.stage.ask(
            who, "POST", "/v1/withdrawals", key=f"w-{self.requests}",
            asset=NATIVE, destination=destination, amount=amount,
        )  # fmt: skip
        self.stage.wait_for("the hold", lambda: self.state(asked["withdrawal_id"]) == "held")
        return str(asked["withdrawal_id"])

    def approve(self, withdrawal_id: str, persons: tuple[str, ...] = OFFICERS[:2]) -> None:
        """Have officers approve."""
        for person in persons:
            self.stage.judge(person, withdrawal_id, Verdict.APPROVE)

    def state(self, withdrawal_id: str) -> str:
        """Return where a withdrawal stands, from its row."""
        with self.stage.db.read() as conn:
            return states.get(conn, WithdrawalId(withdrawal_id)).state.value

    def wait_for_state(self, withdrawal_id: str, state: str) -> None:
        """Mine until a withdrawal stands there."""
        self.stage.wait_for(state, lambda: self.state(withdrawal_id) == state)

    def pay(self, amount: str) -> str:
        """The control: an honest withdrawal, from request to confirmation; return its id."""
        honest = self.ask_withdrawal(amount, self.stage.deployer.accounts[7])
        self.approve(honest)
        self.wait_for_state(honest, "confirmed")
        return honest

    def log(self) -> list[Entry]:
        """Return the signer's whole log."""
        return list(whole_log(self.signer))

    def signed_for(self, withdrawal_id: str) -> list[Entry]:
        """Return what was ever signed to pay a withdrawal."""
        return [
            entry
            for entry in self.log()
            if entry.record.kind == SpendKind.WITHDRAWAL and entry.record.cause_id == withdrawal_id
        ]

    def checks(self) -> dict[str, Any]:
        """Return the readiness checks by name."""
        answer = self.stage.http.get("/readyz?verbose=1").json()
        return {"status": answer["status"]} | {one["name"]: one for one in answer["checks"]}

    @contextlib.contextmanager
    def as_superuser(self) -> Iterator[sa.Connection]:
        """Write to the database as its owner may: no trigger, no foreign key says no."""
        engine = sa.create_engine(self.database_url)
        try:
            with engine.begin() as conn:
                conn.exec_driver_sql("SET session_replication_role = replica")
                yield conn
        finally:
            engine.dispose()


@pytest.fixture(scope="module")
def estate(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """Run a whole platform on PostgreSQL; alice has 20 coins, the hot wallet a hundred."""
    folder = tmp_path_factory.mktemp("estate") / "platform"
    with (
        databases.fresh("postgresql") as url,
        open_stage(folder, lambda _line: None, database_url=url) as stage,
    ):
        made = Estate(stage, url)
        fund_wallets(stage.setup, stage.node, coins=100)
        for who in ("alice", "bob"):
            address = stage.ask(who, "POST", "/v1/deposit-addresses", key=who, chain=CHAIN)
            stage.deployer.pay(address["address"], 20 * COIN)
        for who in ("alice", "bob"):
            stage.wait_for("a credit", partial(has, stage, who, 20 * COIN))
        yield made
        made.signer.close()


def balance(stage: Stage, who: str) -> int:
    """Return a customer's free coins in minor units."""
    rows = stage.ask(who, "GET", "/v1/balances")["data"]
    texts = [row["available"] for row in rows if row["asset"] == NATIVE]
    return sum(parse_amount(text, 18) for text in texts)


def has(stage: Stage, who: str, amount: int) -> bool:
    """Return whether a customer has so much."""
    return balance(stage, who) >= amount


def coins(stage: Stage, address: str) -> int:
    """Return what an address has on the chain, in minor units."""
    return int(stage.node.call("eth_getBalance", address, "latest"), 16)


# ---- S01: the socket is the thief's


def test_S01_whoever_has_the_socket_too_gets_no_signature(estate: Estate) -> None:
    honest = estate.pay("0.125")
    with estate.stage.db.read() as conn:
        row = states.get(conn, WithdrawalId(honest))
        spend = spending.find_by_cause(conn, honest, SpendKind.WITHDRAWAL)
        assert spend is not None
        unsigned = drafts.draft(conn, spend, 1, cancels=False)
        given = tuple(approvals.of(conn, row.withdrawal_id))
    assert unsigned is not None
    authority = Approvals(approvals.intent_of(row), given)
    request = SignRequest(spend.intent, authority, unsigned, KeyRef(spend.account, spend.key_index))
    (known,) = estate.signed_for(honest)
    assert estate.signer.sign([request]) == [known.signature]
    length = len(estate.log())
    more = dataclasses.replace(spend.intent, amount=spend.intent.amount + 1)
    elsewhere = dataclasses.replace(spend.intent, destination=THIEF)
    twin = dataclasses.replace(spend.intent, spend_id="sp_twin")
    cold = KeyRef("cold", 0)
    forged = [
        dataclasses.replace(request, intent=more),
        dataclasses.replace(request, intent=elsewhere),
        dataclasses.replace(request, intent=twin),
        dataclasses.replace(request, key=cold),
        dataclasses.replace(request, unsigned=dataclasses.replace(unsigned, digest=b"\7" * 32)),
        dataclasses.replace(request, unsigned=dataclasses.replace(unsigned, nonce=77)),
    ]
    answers = estate.signer.sign(forged)
    assert all(isinstance(answer, Refused) for answer in answers)
    assert len(estate.log()) == length


# ---- stopped and started again


def test_while_the_signer_is_stopped_only_signatures_wait(estate: Estate) -> None:
    signer, stage = estate.child("signer"), estate.stage
    stage.wait_for("a healthy signer", lambda: estate.checks()["signer"]["ok"])
    waiting = estate.ask_withdrawal("0.5", stage.deployer.accounts[7])
    position = len(estate.log())
    assert signer.stop() == 0
    with pytest.raises(SignerAway):
        estate.signer.status()
    estate.approve(waiting)
    had = balance(stage, "bob")
    address = stage.ask("bob", "GET", f"/v1/deposit-addresses?chain={CHAIN}")["data"][0]
    stage.deployer.pay(address["address"], COIN)
    stage.wait_for("a deposit without signer", lambda: balance(stage, "bob") == had + COIN)
    stage.wait_for("its plan", lambda: estate.state(waiting) == "planned")
    assert stage.place("alice", "sell", "3000.00", "0.100", 77)["order_id"]
    stage.wait_for("its absence to show", lambda: not estate.checks()["signer"]["ok"])
    checks = estate.checks()
    assert checks["status"] == "degraded"
    assert checks["steps"]["ok"]
    assert checks["worker"]["ok"]
    assert estate.state(waiting) == "planned"
    signer.start()
    estate.wait_for_state(waiting, "confirmed")
    assert len(estate.signed_for(waiting)) == 1
    assert len(estate.log()) > position
    stage.wait_for("its return to show", lambda: estate.checks()["signer"]["ok"])


def test_a_killed_signer_is_asked_again_for_the_same_bytes(estate: Estate) -> None:
    signer = estate.child("signer")
    for _ in range(2):
        signer.kill()
        signer.start()
        paid = estate.pay("0.01")
        assert len(estate.signed_for(paid)) == 1


def test_the_log_is_exported_and_checked_offline(estate: Estate, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from app.cli.main import app

    estate.pay("0.01")
    config = ["--config", str(estate.stage.setup.config_file), "-o", "json", "keys", "log"]
    file = tmp_path / "log"
    exported = CliRunner().invoke(app, [*config, "export", str(file)])
    assert exported.exit_code == 0, exported.output
    told = json.loads(exported.stdout)
    log = estate.log()
    end, policies = f"{len(log)}:{log[-1].hash.hex()}", tmp_path / "log.policies"
    assert told == {"records": len(log), "end": end, "policies": str(policies)}
    verified = CliRunner().invoke(app, [*config, "verify", str(file)])
    assert verified.exit_code == 0, verified.output
    lines = file.read_bytes().splitlines(keepends=True)
    for changed in (lines[:1] + lines[2:], [*lines[:-1], lines[-1].replace(b"0", b"1", 9)]):
        file.write_bytes(b"".join(changed))
        assert CliRunner().invoke(app, [*config, "verify", str(file)]).exit_code == 8
    file.write_bytes(b"".join(lines[:-1]))
    cut = [*config, "verify", str(file), "--end", told["end"]]
    assert CliRunner().invoke(app, cut).exit_code == 8
    again = CliRunner().invoke(app, [*config, "export", str(file)])
    assert again.exit_code == 6
    file.write_bytes(b"".join(lines))
    (policies / "known-0001.toml").write_bytes(b"# another policy\n")
    assert CliRunner().invoke(app, [*config, "verify", str(file)]).exit_code == 8


def test_everything_that_was_signed_in_this_run_holds(estate: Estate) -> None:
    from app.auditing import open_auditor
    from custody.keys.audit import audit

    with open_auditor(estate.stage.setup.settings()) as auditor:
        assert audit(estate.log(), auditor) == []


# ---- S01: the database is the thief's. Last, because nobody trusts these books afterwards.

Forge = Callable[[Estate, sa.Connection, str, str], None]


def approved_by_nobody(estate: Estate, conn: sa.Connection, forged: str, _honest: str) -> None:
    """Set the state."""
    table = states.withdrawals
    chosen = table.update().where(table.c.withdrawal_id == forged)
    conn.execute(chosen.values(state="approved", releasable_at_ns=1))


def approvals_copied(estate: Estate, conn: sa.Connection, forged: str, honest: str) -> None:
    """Harvest the officers' signatures from another withdrawal (W07)."""
    approved_by_nobody(estate, conn, forged, honest)
    table = approvals.approvals
    for row in conn.execute(sa.select(table).where(table.c.withdrawal_id == honest)).all():
        values = {**row._mapping, "withdrawal_id": forged}
        values["approval_no"] = next(estate.numbers)
        conn.execute(table.insert().values(**values))


def officers_replaced(estate: Estate, conn: sa.Connection, forged: str, honest: str) -> None:
    """Write approvals under officers' names, signed by keys of the thief's own."""
    approved_by_nobody(estate, conn, forged, honest)
    row = states.get(conn, WithdrawalId(forged))
    for person in OFFICERS[:2]:
        given = sign_approval(Ed25519PrivateKey.generate(), approvals.intent_of(row))
        conn.execute(
            approvals.approvals.insert().values(
                approval_no=next(estate.numbers), withdrawal_id=forged,
                person=person, public_key=given.public_key, verdict=given.verdict.value,
                signature=given.signature, evidence=b"", at_ns=1,
            )
        )  # fmt: skip


def rewritten(conn: sa.Connection, forged: str, **changes: Any) -> None:
    """Rewrite an approved withdrawal with its intent and the intent's hash."""
    row = states.get(conn, WithdrawalId(forged))
    intent = dataclasses.replace(approvals.intent_of(row), **changes)
    table = states.withdrawals
    conn.execute(
        table.update()
        .where(table.c.withdrawal_id == forged)
        .values(intent=encode(intent), intent_hash=intent_hash(intent), **changes)
    )


def amount_raised(_estate: Estate, conn: sa.Connection, forged: str, _honest: str) -> None:
    """Let two officers approve one coin, then make five of it (W05)."""
    rewritten(conn, forged, amount=5 * COIN)


def destination_changed(_estate: Estate, conn: sa.Connection, forged: str, _honest: str) -> None:
    """Let two officers approve, then change where it goes to."""
    rewritten(conn, forged, destination=THIEF)


def limits_lifted(conn: sa.Connection) -> None:
    """Lower the limits that stand in SQL."""
    conn.exec_driver_sql("UPDATE assets SET withdrawal_minimum = 1")


FORGERIES: dict[str, tuple[Forge, tuple[str, ...]]] = {
    "approved by nobody": (approved_by_nobody, ()),
    "approvals copied": (approvals_copied, ()),
    "officers replaced": (officers_replaced, ()),
    "one officer and a copy": (approvals_copied, (OFFICERS[2],)),
    "destination changed": (destination_changed, OFFICERS[:2]),
}


def forge_all(estate: Estate, forgeries: dict[str, tuple[Forge, tuple[str, ...]]]) -> set[str]:
    """Forge withdrawals while no worker looks, then let it look; return their ids."""
    honest = estate.pay("0.5")
    assert len(estate.signed_for(honest)) == 1
    worker = estate.child("worker")
    assert worker.stop() == 0
    forged = {
        name: estate.ask_withdrawal("1", estate.stage.deployer.accounts[8], "bob")
        for name in forgeries
    }
    for name, (_, persons) in forgeries.items():
        estate.approve(forged[name], persons)
    with estate.as_superuser() as conn:
        limits_lifted(conn)
        for name, (forge, _) in forgeries.items():
            forge(estate, conn, forged[name], honest)
    worker.start()
    return set(forged.values())


def test_S01_the_owner_of_the_database_gets_no_signature(estate: Estate) -> None:
    gone_to = (THIEF, estate.stage.deployer.accounts[8])
    before = [coins(estate.stage, address) for address in gone_to]
    forged = forge_all(estate, FORGERIES)
    reasons = {asked_directly(estate.stage.setup, one) for one in forged}
    again = estate.pay("0.25")  # the platform looked at all of them meanwhile
    assert len(estate.signed_for(again)) == 1
    assert [estate.signed_for(one) for one in forged] == [[]] * len(forged)
    assert [coins(estate.stage, address) for address in gone_to] == before
    assert {Reason.QUORUM_NOT_MET, Reason.BAD_SIGNATURE, Reason.NOT_AN_OFFICER} <= reasons


def test_S01_a_raised_amount_gets_no_signature_and_stops_whoever_meets_it(estate: Estate) -> None:
    before = coins(estate.stage, estate.stage.deployer.accounts[8])
    (forged,) = forge_all(estate, {"amount raised": (amount_raised, OFFICERS[:2])})
    assert asked_directly(estate.stage.setup, forged) is Reason.BAD_SIGNATURE
    estate.wait_for_state(forged, "held")  # its approvals are for another amount
    estate.stage.ask("bob", "POST", f"/v1/withdrawals/{forged}/cancel")
    assert estate.signed_for(forged) == []
    # What the books release is not what the engine holds: somebody must look (exit 8).
    engine = estate.child("engine")
    estate.stage.wait_for("the engine to stop", lambda: not engine.is_running)
    assert engine.exit_code == 8
    assert coins(estate.stage, estate.stage.deployer.accounts[8]) == before
