"""A house with its HTTP API in front: real engine thread, real steps, real sockets left out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from httpx import Response

from app.api import openapi
from app.api.app import create_app
from app.api.context import ApiContext
from app.api.edge import Edge
from app.api.units import instant
from app.steps import Step, engine_steps
from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld
from chains.fake.faults import FaultScript
from core.errors import Corrupt, Unavailable
from core.ids import AssetNo, CustomerNo, MarketNo, WithdrawalId
from custody import access
from custody.access import Role
from custody.catalogue import MarketRow
from custody.keys.roster import Approval, Verdict, sign_approval
from custody.withdrawals import approvals
from engine import tapes
from engine.files import Storage
from engine.marketdata import MarketData
from engine.recovery import ReferenceFactory
from tests.support.api_contract import Contract
from tests.support.house import OFFICERS, House, officer_key, open_house

POLL_S = 0.002
WAIT_S = 60


class Client:
    """Talks to an ASGI application from any thread; the application has one event loop."""

    def __init__(self, app: Edge) -> None:
        self.app = app
        assert isinstance(app.app, FastAPI)
        self.contract = Contract(openapi.make(app.app))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://api")

    def request(self, method: str, path: str, **options: Any) -> Response:
        """Send one request and wait for its answer."""
        return self.start(method, path, **options).result(WAIT_S)

    def start(self, method: str, path: str, **options: Any) -> Future[Response]:
        """Send one request; many may be on their way. Each answer is held against the contract."""
        return asyncio.run_coroutine_threadsafe(self._ask(method, path, options), self._loop)

    async def _ask(self, method: str, path: str, options: dict[str, Any]) -> Response:
        response = await self._http.request(method, path, timeout=WAIT_S, **options)
        self.contract.check(response)
        return response

    def close(self) -> None:
        """End the loop."""
        asyncio.run_coroutine_threadsafe(self._http.aclose(), self._loop).result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(slots=True)
class Caller:
    """Somebody with an API key."""

    client: Client
    token: str
    customer_no: CustomerNo | None = None

    def ask(self, method: str, path: str, **options: Any) -> Response:
        """Send one request with the key."""
        return self.start(method, path, **options).result(WAIT_S)

    def start(self, method: str, path: str, **options: Any) -> Future[Response]:
        """Send one request with the key and go on."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.client.start(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> Response:
        """Read."""
        return self.ask("GET", path, **options)

    def post(
        self, path: str, body: Any = None, *, key: str | None = None, **options: Any
    ) -> Response:
        """Send a JSON body, with an Idempotency-Key when one is given."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.ask("POST", path, json=body, headers=headers, **options)


@dataclass(slots=True)
class Front:
    """The house and its API; the steps of the engine process run in a thread while `running`."""

    house: House
    world: FakeWorld
    client: Client
    context: ApiContext
    corrupt: list[Corrupt] = field(default_factory=list)
    _halt: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    # ---- people

    def caller(self, role: Role, subject: str) -> Caller:
        """Issue a key."""
        platform = self.house.platform
        issued = platform.db.run(
            lambda conn: access.issue(
                conn, role, subject, by="test", clock=platform.clock, entropy=platform.entropy
            )
        )
        token = issued.token.reveal().decode()
        return Caller(self.client, token, issued.key.customer_no)

    def customer(self, name: str, **balances: int) -> Caller:
        """Open a customer with a key and with money by symbol, in minor units."""
        number = self.house.customer(name)
        for symbol, amount in balances.items():
            self.credit(number, symbol, amount)
        return self.caller(Role.CUSTOMER, str(number))

    def officer(self, person: str) -> Caller:
        """Issue an officer's key."""
        return self.caller(Role.OFFICER, person)

    def ops(self) -> Caller:
        """Issue an operator's key."""
        return self.caller(Role.OPS, "olga")

    def auditor(self) -> Caller:
        """Issue an auditor's key."""
        return self.caller(Role.AUDITOR, "aldo")

    # ---- money

    def key_of(self, symbol: str) -> str:
        """Return the asset key of a symbol on the house's chain."""
        (found,) = [spec.key for spec in self.world.listed_assets() if spec.symbol == symbol]
        return found

    def asset(self, symbol: str) -> str:
        """Return an asset as the API names it."""
        return f"{self.house.home.chain.traits.chain}/{self.key_of(symbol)}"

    def credit(self, customer_no: CustomerNo, symbol: str, amount: int) -> None:
        """Pay an address of the customer's and let the deposit become final."""
        address = self.house.address(customer_no)
        self.world.mine()
        self.house.run(1)
        self.world.pay(address, self.key_of(symbol), amount)
        self.world.mine(4)
        self.house.run(2)

    # ---- the engine process's steps

    def settle(self) -> None:
        """Run the engine's steps until they have nothing to do."""
        while sum(step.run() for step in self._steps()):
            pass

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the engine's steps in a thread, as the engine process does."""
        self._halt.clear()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self._halt.set()
            self._thread.join()

    def _steps(self) -> list[Step]:
        house = self.house
        return engine_steps(house.platform, house.sequencer, house.sequencer.log)

    def _loop(self) -> None:
        while not self._halt.is_set():
            for step in self._steps():
                with contextlib.suppress(Unavailable):
                    step.run()
            self._halt.wait(POLL_S)

    # ---- approvals

    def signed(
        self, withdrawal_id: str, person: str, verdict: Verdict = Verdict.APPROVE
    ) -> dict[str, str]:
        """Return the body an officer sends."""
        row = self.house.withdrawal(WithdrawalId(withdrawal_id))
        given: Approval = sign_approval(officer_key(person), approvals.intent_of(row), verdict)
        return {
            "public_key": given.public_key.hex(),
            "verdict": given.verdict.value,
            "signature": given.signature.hex(),
        }


def problem_of(response: Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is the problem that was expected and return it."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document: dict[str, Any] = response.json()
    assert (response.status_code, document["code"]) == (status, code), response.text
    assert document["status"] == status
    assert document["request_id"] == response.headers["x-request-id"]
    return document


@contextlib.contextmanager
def open_front(
    url: str,
    *,
    world: FakeWorld | None = None,
    storage: Storage | None = None,
    faults: FaultScript | None = None,
    market: bool = True,
    **options: Any,
) -> Iterator[Front]:
    """Open a house on the fake chain with a token, a market token/native, and the API.

    With the world and the storage of an earlier front it is that one started again.
    """
    if world is None:
        world = FakeWorld(finality_depth=2)
        world.add_token("TOK")
    assets = world.listed_assets()
    native, token = (
        next(n for n, spec in enumerate(assets, 1) if (spec.key == NATIVE) is is_native)
        for is_native in (True, False)
    )
    row = MarketRow(
        market_no=MarketNo(0),
        name="TOK-FAKE",
        base_asset_no=AssetNo(token),
        quote_asset_no=AssetNo(native),
        tick_minor=10,
        lot_minor=100,
        maker_ppm=1_000,
        taker_ppm=2_000,
    )
    chain, markets = FakeChain(world, faults=faults), [row] if market else []
    with (
        open_house(url, chain, assets, markets=markets, storage=storage) as house,
        api_of(house, world, **options) as front,
    ):
        yield front


@contextlib.contextmanager
def api_of(house: House, world: FakeWorld, **options: Any) -> Iterator[Front]:
    """Put the API in front of a house; on a chain that is not the fake one the world is idle."""
    market_data = MarketData()
    with house.sequencer.reading() as engine:
        market_data.begin(engine)
    tapes.recall(house.storage, market_data, factory=ReferenceFactory())
    house.sequencer._publish = market_data.apply
    corrupt: list[Corrupt] = []
    context = ApiContext(
        platform=house.platform,
        sequencer=house.sequencer,
        market_data=market_data,
        on_corrupt=corrupt.append,
    )
    context = dataclasses.replace(context, **options)
    house.sequencer.start()
    try:
        with contextlib.closing(Client(create_app(context))) as client:
            yield Front(house, world, client, context, corrupt)
    finally:
        house.sequencer.stop()


def new_order(front: Front, **changes: Any) -> dict[str, Any]:
    """Return the body of a good order; every call has a new client id."""
    body = {
        "client_order_id": uuid.uuid4().hex,
        "issued_at": instant(front.house.clock.now_ns()),
        "market": "TOK-FAKE",
        "side": "buy",
        "price": "0.01",
        "quantity": "1",
    }
    return {**body, **changes}


__all__ = ["OFFICERS", "Caller", "Front", "new_order", "open_front", "problem_of"]
