"""Starts a local node and all processes, keeps them running, and stops everything again."""

from __future__ import annotations

import contextlib
import http.client
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.children import PROCESSES, Child, process_arguments
from app.devsetup import CUSTOMERS, OFFICERS, DevSetup, fund_wallets, make_dev
from core.errors import Unavailable

START_WAIT_S = 60
POLL_S = 0.2
RESTART_PAUSE_S = 1
CODES_FOR_EVER = (2, 3, 5, 6, 8)
"""Exit codes after which starting again would not help."""
FUNDED = "funded"

Tell = Callable[[str], None]


def run_up(folder: Path, *, http_port: int, node_port: int, block_time_s: int, tell: Tell) -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    from infra.devnet.nodes import NodesNotInstalled, start_anvil
    from infra.devnet.servers import ServerFailed

    state = folder.with_name(f"{folder.name}.node") / "state.json"
    if not (folder / "dev.json").exists():
        state.unlink(missing_ok=True)
    try:
        node = start_anvil(
            port=node_port,
            block_time=block_time_s,
            state=state,
            extra=("--preserve-historical-states",),
        )
    except (NodesNotInstalled, ServerFailed) as error:
        raise Unavailable(str(error)) from error
    with node, _stop_requests() as is_asked:
        setup = make_dev(folder, node, http_port=http_port)
        if not (folder / FUNDED).exists():
            fund_wallets(setup, node)
            (folder / FUNDED).touch()
        children = [
            Child(name, process_arguments(setup.config_file, name), log_file=_log(folder, name))
            for name in PROCESSES
        ]
        try:
            for child in children:
                child.start()
            wait_until_live(setup, children, is_asked)
            for line in _greeting(setup, node_port):
                tell(line)
            return _watch(children, is_asked, tell)
        finally:
            for child in children:
                child.ask_to_stop()
            for child in children:
                child.stop()


def wait_until_live(
    setup: DevSetup, children: list[Child], is_asked: Callable[[], bool] = lambda: False
) -> None:
    """Return when the API answers. Unavailable: a process ended, or it took too long."""
    deadline = time.monotonic() + START_WAIT_S
    while not is_asked():
        if is_live(setup):
            return
        for child in children:
            if not child.is_running:
                raise Unavailable(f"{child.name} ended with {child.exit_code}:\n{child.tail()}")
        if time.monotonic() > deadline:
            tails = "\n".join(child.tail() for child in children)
            raise Unavailable(f"no answer within {START_WAIT_S} s:\n{tails}")
        time.sleep(POLL_S)


def is_live(setup: DevSetup) -> bool:
    """Return whether the API answers /livez."""
    connection = http.client.HTTPConnection(setup.http_host, setup.http_port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _watch(children: list[Child], is_asked: Callable[[], bool], tell: Tell) -> int:
    while not is_asked():
        for child in children:
            if child.is_running:
                continue
            code = child.exit_code
            tell(f"{child.name} ended with {code}; see {child.log_file}")
            if code in CODES_FOR_EVER:
                return code or 1
            time.sleep(RESTART_PAUSE_S)
            child.start()
        time.sleep(POLL_S)
    tell("stopping")
    return 0


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda found, _frame: asked.append(found))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


def _greeting(setup: DevSetup, node_port: int) -> list[str]:
    assets = "  ".join(f"{asset.symbol} {asset.key}" for asset in setup.assets)
    return [
        "",
        "  NOT FOR PRODUCTION. Every key here is a toy, the chain is local, nothing has value.",
        "",
        f"  API       {setup.http_url}/v1    docs /docs    health /readyz?verbose    /metrics",
        f"  Node      http://127.0.0.1:{node_port}   chain {setup.chain}",
        f"  Assets    {assets}",
        f"  Markets   {'  '.join(setup.markets)}",
        f"  Officers  {', '.join(OFFICERS)} (2 of 3); own keys: {setup.officer_key_file('ada')} …",
        "  Logins    Authorization: Bearer …",
        *(f"    {who:<8}{setup.token(who)}" for who in (*CUSTOMERS, *OFFICERS, "olga", "anton")),
        f"  Settings  {setup.config_file}",
        f"  Logs      {setup.folder / 'logs'}",
        "",
        "  Ctrl-C stops everything. Run it again to go on; --reset forgets everything.",
        "",
    ]
