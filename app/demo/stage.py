"""The stage of a demo: a node, all processes, the API as people use it, and the run's notes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from app.children import PROCESSES, Child, process_arguments
from app.demo.report import DemoReport, StepLine
from app.devsetup import DevSetup, make_dev, remove_dev
from app.opening import open_database
from app.up import wait_until_live
from core.clock import SECOND_NS, SystemClock
from core.errors import Unavailable
from custody.db import Database
from custody.keys.intent import WithdrawalIntent, decode
from custody.keys.officer_keys import load_officer_key
from custody.keys.roster import Verdict, sign_approval

if TYPE_CHECKING:
    from infra.devnet.deploy import Deployer
    from infra.devnet.networks import DevNetwork
    from infra.devnet.nodes import AnvilNode

WAIT_NS = 90 * SECOND_NS
POLL_NS = SECOND_NS // 5
CUSTOMERS = ("alice", "bob", "carol")

Tell = Callable[[StepLine], None]


@dataclass(slots=True)
class Stage:
    """What every scene of the demo works with."""

    setup: DevSetup
    node: AnvilNode
    deployer: Deployer
    db: Database
    http: httpx.Client
    tell: Tell
    report: DemoReport = field(default_factory=DemoReport)
    children: Sequence[Child] = ()
    others: Sequence[DevNetwork] = ()
    """Networks beside the first one."""
    clock: SystemClock = field(default_factory=SystemClock)
    started_ns: int = 0

    def note(self, title: str, **evidence: object) -> None:
        """Record a step with its evidence and show it."""
        step = StepLine(
            title,
            {name.replace("_", " "): str(value) for name, value in evidence.items()},
            self.elapsed_ms(),
        )
        self.report.steps.append(step)
        self.tell(step)

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the run began."""
        return (self.clock.monotonic_ns() - self.started_ns) // 1_000_000

    def ask(
        self, who: str, method: str, path: str, *, key: str | None = None, **body: object
    ) -> Any:
        """Ask the API as somebody. Unavailable when it does not answer with success."""
        headers = {"Authorization": f"Bearer {self.setup.token(who)}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        answer = self.http.request(method, path, headers=headers, json=body or None)
        if not answer.is_success:
            raise Unavailable(f"{method} {path} as {who}: {answer.status_code} {answer.text}")
        return answer.json()

    def refused(self, who: str, method: str, path: str, *, key: str, **body: object) -> str:
        """Ask for something that must be refused; return the stable code of the answer."""
        headers = {"Authorization": f"Bearer {self.setup.token(who)}", "Idempotency-Key": key}
        answer = self.http.request(method, path, headers=headers, json=body)
        if answer.is_success:
            raise Unavailable(f"{method} {path} as {who} was not refused: {answer.text}")
        return str(answer.json()["code"])

    def stop_processes(self) -> None:
        """End engine and worker; what they left on disk is what is judged.

        The signer goes on: it proves control of addresses, and its log is judged too.
        """
        ended = [child for child in self.children if child.name != "signer"]
        for child in ended:
            child.ask_to_stop()
        for child in ended:
            child.stop()

    def wait_for(self, what: str, found: Callable[[], Any], *, still: Collection[str] = ()) -> Any:
        """Mine and look until found() gives something. Unavailable after a bounded time.

        still: networks on which no block is made meanwhile.
        """
        deadline = self.clock.monotonic_ns() + WAIT_NS
        while True:
            result = found()
            if result:
                return result
            if self.clock.monotonic_ns() > deadline:
                raise Unavailable(f"waited in vain: {what}")
            if self.setup.chain not in still:
                self.node.mine()
            for network in self.others:
                if network.chain not in still:
                    network.mine()
            self.clock.sleep(POLL_NS)

    def place(self, who: str, side: str, price: str, quantity: str, client_id: int) -> Any:
        """Place a limit order on the first market."""
        issued = datetime.fromtimestamp(self.clock.now_ns() / SECOND_NS, UTC)
        return self.ask(
            who, "POST", "/v1/orders", client_order_id=f"{client_id:032x}",
            issued_at=issued.isoformat().replace("+00:00", "Z"), market=self.setup.markets[0],
            side=side, price=price, quantity=quantity,
        )  # fmt: skip

    def judge(self, person: str, withdrawal_id: str, verdict: Verdict) -> Any:
        """Have an officer read a withdrawal's intent, sign his verdict and hand it in."""
        pending = self.ask(person, "GET", f"/v1/approvals/{withdrawal_id}")
        intent = decode(bytes.fromhex(pending["intent"]))
        if not isinstance(intent, WithdrawalIntent):
            raise Unavailable(f"{withdrawal_id} shows no withdrawal intent")
        key = load_officer_key(self.setup.officer_key_file(person))
        given = sign_approval(key, intent, verdict)
        return self.ask(
            person, "POST", f"/v1/withdrawals/{withdrawal_id}/approvals",
            public_key=given.public_key.hex(), verdict=verdict.value,
            signature=given.signature.hex(),
        )  # fmt: skip


@contextlib.contextmanager
def open_stage(
    folder: Path, tell: Tell, *, database_url: str | None = None, with_others: bool = False
) -> Iterator[Stage]:
    """Start fresh nodes and all processes; whatever happens, nothing is left running.

    with_others: not the first network alone, but one of every kind.
    """
    from infra.devnet.deploy import Deployer
    from infra.devnet.networks import other_networks
    from infra.devnet.nodes import start_anvil
    from infra.devnet.servers import free_port

    remove_dev(folder)
    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(start_anvil())
        others = stack.enter_context(other_networks()) if with_others else []
        setup = make_dev(
            folder, node, http_port=free_port(), customers=CUSTOMERS, database_url=database_url,
            others=others,
        )  # fmt: skip
        db = stack.enter_context(contextlib.closing(open_database(setup.settings())))
        http = stack.enter_context(httpx.Client(base_url=setup.http_url, timeout=30))
        children = [
            Child(
                name,
                process_arguments(setup.config_file, name),
                log_file=folder / "logs" / f"{name}.log",
            )
            for name in PROCESSES
        ]
        for child in children:
            stack.callback(child.stop)
            child.start()
        wait_until_live(setup, children)
        stage = Stage(
            setup, node, Deployer(node), db, http, tell, children=children, others=others,
            clock=clock, started_ns=started_ns,
        )  # fmt: skip
        block = node.call("eth_getBlockByNumber", "latest", False)  # noqa: FBT003
        nodes = {f"node of {one.chain}": urlsplit(one.url).netloc.split("@")[-1] for one in others}
        stage.note(
            f"{len(others) + 1} local nodes and the three processes of the platform run"
            if others
            else "A local node and the three processes of the platform run",
            node=node.url, block=f"{int(block['number'], 16)} {block['hash']}",
            api=setup.http_url, **nodes,
            **{child.name: f"process {child.pid}" for child in children},
        )  # fmt: skip
        yield stage
