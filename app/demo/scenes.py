"""The scenes of the demo in their order; each leaves lines of evidence behind."""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa

from app.demo.stage import Stage
from app.devsetup import CHAIN, OFFICERS, fund_wallets
from app.files import open_rosters
from chains.base import SpendKind
from core.clock import DAY_NS
from core.ids import WithdrawalId
from core.money import format_amount
from custody import deposit_rows, settlement, treasury
from custody.deposit_rows import Deposit, DepositState
from custody.funding import funding, pending
from custody.keys.officer_keys import load_officer_key
from custody.keys.roster import Verdict
from custody.keys.statement import sign_statement
from custody.ledger.records import transfers
from custody.spending import rows as spending
from custody.spending import sweep_items
from custody.spending.rows import SpendState


def fund_own_wallets(stage: Stage) -> None:
    """Operators bring money; it waits in suspense until two officers sign whose it is."""
    wallets = fund_wallets(stage.setup, stage.node, others=stage.others)
    arrived: list[Deposit] = stage.wait_for(
        "the operators' money", lambda: _arrived(stage, len(wallets))
    )
    roster = open_rosters(stage.setup.settings()).pinned
    for row in arrived:
        statement = treasury.statement_of(row, expires_ns=stage.clock.now_ns() + DAY_NS)
        signatures = [
            sign_statement(load_officer_key(stage.setup.officer_key_file(person)), statement)
            for person in OFFICERS[:2]
        ]
        stage.db.run(
            partial(
                treasury.recognise, funding=row, statement=statement, signatures=signatures,
                roster=roster, now_ns=stage.clock.now_ns(),
            )
        )  # fmt: skip
        stage.note(
            f"Operators fund the {row.account} wallet on {row.chain}; two officers sign it into "
            "equity",
            transaction=row.tx_id, block=f"{row.block.height} {row.block.hash}",
            statement=statement.statement_id, officers=", ".join(OFFICERS[:2]),
        )  # fmt: skip


def issue_addresses(stage: Stage, customers: tuple[str, ...]) -> dict[str, str]:
    """Every customer gets a deposit address, derived from public keys alone."""
    found = {
        who: stage.ask(who, "POST", "/v1/deposit-addresses", key=f"address-{who}", chain=CHAIN)
        for who in customers
    }
    addresses = {who: str(answer["address"]) for who, answer in found.items()}
    stage.note("Customers get deposit addresses", **addresses)
    return addresses


def deposit(stage: Stage, addresses: dict[str, str]) -> None:
    """Four ways money arrives: coins, tokens, coins sent by a contract, and a counterfeit."""
    coin = 10 ** stage.setup.asset("ETH").scale
    dollars = _contract(stage, "DUSD")
    unit = 10 ** stage.setup.asset("DUSD").scale
    stage.deployer.deploy("Payer").send("payDeep", addresses["carol"], 2 * coin, 3, value=2 * coin)
    fake = stage.deployer.deploy("CounterfeitToken", "Demo Dollar", "DUSD")
    false = fake.send("pretend", fake.creator, addresses["carol"], 10**15)
    sent = {
        "alice": stage.deployer.pay(addresses["alice"], 5 * coin),
        "bob": _mint(stage, dollars, addresses["bob"], 20_000 * unit),
    }
    stage.note(
        "Deposits are sent: 5 ETH, 20,000 DUSD, 2 ETH through a contract, and a counterfeit",
        alice=sent["alice"], bob=sent["bob"], counterfeit=false,
    )  # fmt: skip
    rows: list[Deposit] = stage.wait_for("credits at finality", lambda: _credited(stage, 3))
    names = {address: who for who, address in addresses.items()}
    for row in rows:
        stage.note(
            f"{names[row.address].capitalize()}'s deposit of {text_of(stage, row)} is final and "
            "credited", **evidence(stage, row.deposit_id),
            block=f"{row.block.height} {row.block.hash}", transaction=row.tx_id,
        )  # fmt: skip
    with stage.db.read() as conn:
        aside = deposit_rows.list_deposits(conn, states=[DepositState.UNATTRIBUTED])
    (listed,) = [row for row in aside if row.customer_no is not None]
    stage.note(
        "The counterfeit is listed and credited to nobody",
        deposit=listed.deposit_id, reason=listed.reason,
    )  # fmt: skip


def trade(stage: Stage) -> None:
    """Customers trade with each other; the books follow the engine's journal."""
    first = stage.place("alice", "sell", "3000.00", "2.000", 1)
    second = stage.place("bob", "buy", "3000.00", "1.500", 2)
    third = stage.place("bob", "buy", "2990.00", "1.000", 3)
    cancelled = stage.ask("bob", "DELETE", f"/v1/orders/{third['order_id']}")
    fills = stage.wait_for(
        "the trade in the books",
        lambda: stage.ask("bob", "GET", "/v1/fills")["data"],
    )
    entries = _entries(stage, "trade")
    stage.note(
        "Alice sells and Bob buys 1.5 ETH at 3,000 DUSD; an order is cancelled",
        orders=f"{first['order_id']}, {second['order_id']}",
        cancelled=cancelled["order_id"], price=fills[0]["price"],
        ledger_entries=", ".join(entries),
    )  # fmt: skip


def sweep(stage: Stage) -> None:
    """The sweeper tops up gas and gathers what was deposited, under a standing mandate."""
    done: list[spending.Spend] = stage.wait_for("sweeps", lambda: _swept(stage, 3))
    for row in done:
        with stage.db.read() as conn:
            attempts = spending.attempts(conn, row.spend_id)
        stage.note(
            f"{row.kind.value.replace('_', ' ').capitalize()} of {text_of(stage, row)} is final",
            spend=row.spend_id, transaction=attempts[-1].tx_id, nonce=row.nonce,
            network_fee_wei=row.fee_paid,
        )  # fmt: skip


def withdraw(stage: Stage) -> None:
    """Two withdrawals under officers' approval, one rejected, and bad ones refused at once."""
    outside = stage.deployer.accounts[7]
    eth, dusd = f"{CHAIN}/native", f"{CHAIN}/{stage.setup.asset('DUSD').key}"
    wanted = {
        "bob": {"asset": eth, "destination": outside, "amount": "0.75"},
        "alice": {"asset": dusd, "destination": outside, "amount": "1250.5"},
        "carol": {"asset": eth, "destination": outside, "amount": "1"},
    }
    held = {
        who: stage.ask(who, "POST", "/v1/withdrawals", key=f"withdrawal-{who}", **body)
        for who, body in wanted.items()
    }
    own = stage.ask("bob", "GET", f"/v1/deposit-addresses?chain={CHAIN}")["data"][0]["address"]
    codes = {
        "too much": stage.refused(
            "bob", "POST", "/v1/withdrawals", key="bad-0", asset=eth, destination=outside,
            amount="900",
        ),
        "own address": stage.refused(
            "bob", "POST", "/v1/withdrawals", key="bad-1", asset=eth, destination=own, amount="0.1"
        ),
        "wrong checksum": stage.refused(
            "bob", "POST", "/v1/withdrawals", key="bad-2", asset=eth,
            destination=outside.swapcase().replace("0X", "0x"), amount="0.1",
        ),
    }  # fmt: skip
    stage.note("Withdrawals are requested and held; bad ones are refused", **codes)
    for who in ("bob", "alice"):
        _approve_and_follow(stage, who, held[who])
    carol = held["carol"]["withdrawal_id"]
    stage.judge(OFFICERS[2], carol, Verdict.REJECT)
    ended = stage.wait_for("the release", lambda: _released(stage, carol))
    stage.note(
        "An officer rejects Carol's withdrawal; her money is free again",
        withdrawal=carol, officer=OFFICERS[2], **evidence(stage, carol, "release"),
        state=ended["state"],
    )  # fmt: skip


def settle(stage: Stage) -> None:
    """Wait until nothing is on its way any more."""
    stage.wait_for("everything to settle", lambda: _is_settled(stage))
    with stage.db.read() as conn:
        position = settlement.position(conn)
    stage.note(
        "Everything has settled",
        journal_sequence=position.sequence, journal_hash=position.hash.hex(),
    )  # fmt: skip


def _is_settled(stage: Stage) -> bool:
    with stage.db.read() as conn:
        for chain in stage.setup.chains:
            if spending.in_states(conn, chain, spending.IN_FLIGHT):
                return False
            if sweep_items.unswept(conn, chain, limit=1):
                return False
        return not pending(conn)


def _approve_and_follow(stage: Stage, who: str, asked: dict[str, Any]) -> None:
    withdrawal_id = asked["withdrawal_id"]
    persons = OFFICERS[:2]
    for person in persons:
        stage.judge(person, withdrawal_id, Verdict.APPROVE)
    ended = stage.wait_for(
        f"{who}'s withdrawal", lambda: withdrawal(stage, who, withdrawal_id, "confirmed")
    )
    receipt = stage.node.call("eth_getTransactionReceipt", ended["tx_ids"][-1])
    stage.wait_for("its capture", lambda: entries_of(stage, withdrawal_id, "capture"))
    stage.note(
        f"{who.capitalize()} withdraws {ended['amount']} {ended['symbol']}, approved by two",
        withdrawal=withdrawal_id, approvals=", ".join(persons), intent=ended["intent_hash"],
        transaction=ended["tx_ids"][-1], block=f"{int(receipt['blockNumber'], 16)} "
        f"{receipt['blockHash']}", **evidence(stage, withdrawal_id, "capture"),
    )  # fmt: skip


def withdrawal(stage: Stage, who: str, withdrawal_id: str, state: str) -> Any:
    found = stage.ask(who, "GET", f"/v1/withdrawals/{withdrawal_id}")
    return found if found["state"] == state else None


def _released(stage: Stage, withdrawal_id: str) -> Any:
    if not entries_of(stage, withdrawal_id, "release"):
        return None
    return stage.ask("carol", "GET", f"/v1/withdrawals/{WithdrawalId(withdrawal_id)}")


def _arrived(stage: Stage, count: int) -> list[Deposit]:
    with stage.db.read() as conn:
        rows = deposit_rows.list_deposits(conn, states=[DepositState.UNATTRIBUTED])
    return rows if len(rows) == count else []


def _credited(stage: Stage, count: int) -> list[Deposit]:
    with stage.db.read() as conn:
        rows = deposit_rows.list_deposits(conn, states=[DepositState.CREDITED])
    return rows if len(rows) == count else []


def _swept(stage: Stage, count: int) -> list[spending.Spend]:
    with stage.db.read() as conn:
        rows = spending.in_states(conn, CHAIN, [SpendState.CONFIRMED])
        waiting = spending.in_states(conn, CHAIN, spending.IN_FLIGHT)
    sweeps = [row for row in rows if row.kind is SpendKind.SWEEP]
    return rows if len(sweeps) >= count and not waiting else []


def evidence(stage: Stage, cause_id: str, kind: str | None = None) -> dict[str, object]:
    """Return the journal sequence and the ledger entries of a cause."""
    query = sa.select(funding.c.sequence).where(funding.c.cause_id == cause_id)
    with stage.db.read() as conn:
        sequences = [row for row in conn.execute(query).scalars() if row is not None]
    return {
        "journal_sequence": max(sequences),
        "ledger_entries": ", ".join(entries_of(stage, cause_id, kind)),
    }


def entries_of(stage: Stage, cause_id: str, kind: str | None) -> list[str]:
    query = sa.select(transfers.c.id).where(transfers.c.cause_id == cause_id)
    if kind is not None:
        query = query.where(transfers.c.cause_kind == kind)
    with stage.db.read() as conn:
        return [found.hex() for found in conn.execute(query).scalars()]


def _entries(stage: Stage, kind: str) -> list[str]:
    query = sa.select(transfers.c.id).where(transfers.c.cause_kind == kind)
    with stage.db.read() as conn:
        return [found.hex() for found in conn.execute(query).scalars()]


def text_of(stage: Stage, row: Deposit | spending.Spend) -> str:
    key = row.asset_key if isinstance(row, Deposit) else row.intent.asset_key
    asset = next(one for one in stage.setup.assets if (one.chain, one.key) == (row.chain, key))
    return f"{format_amount(row.amount, asset.scale)} {asset.symbol}"


def _contract(stage: Stage, symbol: str) -> str:
    return stage.setup.asset(symbol).key


def _mint(stage: Stage, token: str, to: str, amount: int) -> str:
    """Send freshly minted tokens, as their issuer would."""
    from infra.devnet.deploy import Contract
    from infra.devnet.solidity import artifacts

    issuer = stage.deployer.accounts[0]
    contract = Contract(stage.node, artifacts()["DemoToken"], token, issuer)
    return contract.send("mint", to, amount)
