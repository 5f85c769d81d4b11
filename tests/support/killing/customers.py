"""Customers who deposit, trade and withdraw, and note what they were promised."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from eth_utils.address import to_checksum_address

from app.devsetup import OFFICERS, DevSetup
from core.money import format_amount
from custody.keys import intent as intents
from custody.keys.intent import WithdrawalIntent
from custody.keys.officer_keys import load_officer_key
from custody.keys.roster import Verdict, sign_approval
from infra.devnet.deploy import Contract, Deployer
from tests.support.killing.client import Client, GaveUp, Tally

COIN, TOKEN, MARKET = "ETH", "DUSD", "ETH-DUSD"
TERMINAL = frozenset({"confirmed", "refused", "rejected", "cancelled", "expired", "failed"})
POLL_S = 0.1
PRICE_CENTS = 100_00


@dataclass(frozen=True, slots=True)
class SentDeposit:
    """What a customer sent to the own address."""

    customer: str
    asset: str
    tx_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class AskedWithdrawal:
    """What a customer asked for; every destination is used once."""

    customer: str
    client_id: str
    asset: str
    destination: str
    amount: int
    plan: str
    """pay, reject, cancel or too_much."""


@dataclass(slots=True)
class Ledger:
    """Everything the customers know; the audit compares the platform with it. Thread-safe enough:
    each list is only appended to."""

    deposits: list[SentDeposit] = field(default_factory=list)
    orders_asked: list[tuple[str, str]] = field(default_factory=list)
    """(customer, client order id)."""
    orders_acknowledged: list[tuple[str, str, str]] = field(default_factory=list)
    """(customer, client order id, order id)."""
    orders_refused: list[tuple[str, str, str]] = field(default_factory=list)
    withdrawals: list[AskedWithdrawal] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    """Client withdrawal id -> terminal state as the API told it."""
    surprises: list[str] = field(default_factory=list)


@dataclass(slots=True)
class World:
    """What all customers share."""

    setup: DevSetup
    deployer: Deployer
    token: Contract
    ledger: Ledger
    tally: Tally
    is_over: threading.Event
    is_enough: threading.Event
    """Set when nobody needs to begin another round."""
    paying: threading.Lock = field(default_factory=threading.Lock)
    """The node gives one account's nonces to one caller at a time."""


class Customer(threading.Thread):
    """One customer with an own thread, an own random source and an own API key."""

    def __init__(self, world: World, name: str, *, rounds: int, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self._world = world
        self._rounds = rounds
        self._random = random.Random(f"{seed}/{name}")
        self._client = self._client_of(name)
        self._officers = {person: self._client_of(person) for person in OFFICERS}
        self._keys = {
            person: load_officer_key(world.setup.officer_key_file(person)) for person in OFFICERS
        }
        self._round = 0

    def run(self) -> None:
        """Do rounds until there are enough; every round is a deposit, an order, a withdrawal."""
        try:
            address = self._address()
            self._deposit(address, TOKEN, 500 * 10**6)
            self._deposit(address, COIN, 2 * 10**18)
            self._wait_for_credit()
            while self._round < self._rounds or not self._world.is_enough.is_set():
                self._deposit(address, *self._some_amount())
                self._order()
                self._withdraw()
                self._round += 1
        except GaveUp as error:
            self._world.ledger.surprises.append(f"{self.name} was not done: {error}")
        except Exception as error:
            self._world.ledger.surprises.append(f"{self.name}: {error!r}")
            raise
        finally:
            for client in (self._client, *self._officers.values()):
                client.close()

    def _client_of(self, who: str) -> Client:
        world = self._world
        token = world.setup.token(who)
        return Client(world.setup.http_url, token, tally=world.tally, is_over=world.is_over)

    def _ask(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Any:
        status, found = self._client.ask(method, path, body, key=key)
        if status >= 400:
            self._world.ledger.surprises.append(f"{self.name} {method} {path}: {found}")
        return found

    def _address(self) -> str:
        key = f"address-{self.name}"
        found = self._ask("POST", "/v1/deposit-addresses", {"chain": "devnet"}, key=key)
        return str(found["address"])

    def _some_amount(self) -> tuple[str, int]:
        if self._random.random() < 0.5:
            return COIN, self._random.randrange(10**17, 10**18)
        return TOKEN, self._random.randrange(10 * 10**6, 100 * 10**6)

    def _deposit(self, address: str, asset: str, amount: int) -> None:
        with self._world.paying:
            if asset == COIN:
                tx_id = self._world.deployer.pay(address, amount)
            else:
                tx_id = self._world.token.send("mint", address, amount)
        self._world.ledger.deposits.append(SentDeposit(self.name, asset, tx_id, amount))

    def _wait_for_credit(self) -> None:
        while len(self._ask("GET", "/v1/balances")["data"]) < 2:
            time.sleep(POLL_S)

    def _order(self) -> None:
        cents = PRICE_CENTS + self._random.randrange(-200, 201)
        client_id = f"{self._random.getrandbits(128):032x}"
        body = {
            "client_order_id": client_id,
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "market": MARKET,
            "side": self._random.choice(("buy", "sell")),
            "price": format_amount(cents, 2),
            "quantity": format_amount(self._random.randrange(1, 50), 3),
        }
        self._world.ledger.orders_asked.append((self.name, client_id))
        status, found = self._client.ask("POST", "/v1/orders", body)
        if status < 300:
            known = (self.name, client_id, str(found["order_id"]))
            self._world.ledger.orders_acknowledged.append(known)
        else:
            self._world.ledger.orders_refused.append((self.name, client_id, str(found["code"])))

    def _withdraw(self) -> None:
        asked = self._new_withdrawal()
        asset = self._world.setup.asset(asked.asset)
        body = {
            "asset": f"devnet/{asset.key}",
            "destination": asked.destination,
            "amount": format_amount(asked.amount, asset.scale),
            "client_withdrawal_id": asked.client_id,
        }
        self._world.ledger.withdrawals.append(asked)
        status, found = self._client.ask("POST", "/v1/withdrawals", body, key=asked.client_id)
        if status >= 400:
            if asked.plan != "too_much":
                self._world.ledger.surprises.append(f"{asked.client_id}: {found}")
            return
        row = self._wait_for(asked.client_id, beyond="requested")
        if row["state"] == "held":
            self._decide(asked, row)

    def _new_withdrawal(self) -> AskedWithdrawal:
        number = self._round % 10
        plan = {3: "reject", 5: "cancel", 7: "too_much"}.get(number, "pay")
        asset = self._random.choice((COIN, TOKEN))
        amount = {
            COIN: self._random.randrange(2 * 10**15, 5 * 10**16),
            TOKEN: self._random.randrange(5 * 10**6, 20 * 10**6),
        }[asset]
        return AskedWithdrawal(
            customer=self.name,
            client_id=f"{self.name}-{self._round}",
            asset=asset,
            destination=to_checksum_address(self._random.getrandbits(160).to_bytes(20, "big")),
            amount=amount * 10**6 if plan == "too_much" else amount,
            plan=plan,
        )

    def _wait_for(self, client_id: str, *, beyond: str) -> Any:
        while True:
            found = self._ask("GET", f"/v1/withdrawals?client_withdrawal_id={client_id}")
            (row,) = found["data"]
            if row["state"] != beyond:
                return row
            time.sleep(POLL_S)

    def _decide(self, asked: AskedWithdrawal, row: Any) -> None:
        withdrawal_id = row["withdrawal_id"]
        if asked.plan == "cancel":
            self._ask("POST", f"/v1/withdrawals/{withdrawal_id}/cancel", {})
            return
        verdict = Verdict.REJECT if asked.plan == "reject" else Verdict.APPROVE
        persons = self._random.sample(OFFICERS, 1 if asked.plan == "reject" else 2)
        for person in persons:
            self._sign(person, asked, withdrawal_id, verdict)

    def _sign(
        self, person: str, asked: AskedWithdrawal, withdrawal_id: str, verdict: Verdict
    ) -> None:
        client = self._officers[person]
        _, pending = client.ask("GET", f"/v1/approvals/{withdrawal_id}")
        intent = intents.decode(bytes.fromhex(pending["intent"]))
        assert isinstance(intent, WithdrawalIntent)
        if (intent.destination, intent.amount) != (asked.destination, asked.amount):
            self._world.ledger.surprises.append(f"{person} was shown another intent: {intent}")
            return
        given = sign_approval(self._keys[person], intent, verdict)
        body = {
            "public_key": given.public_key.hex(),
            "verdict": given.verdict.value,
            "signature": given.signature.hex(),
        }
        status, found = client.ask("POST", f"/v1/withdrawals/{withdrawal_id}/approvals", body)
        if status >= 400:
            self._world.ledger.surprises.append(f"{person} on {withdrawal_id}: {found}")
