"""How the processes refuse to start, make room for each other, and end; and `strongroom up`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.children import Child, process_arguments
from app.devsetup import DevSetup, make_dev
from app.up import wait_until_live
from infra.devnet.nodes import AnvilNode, start_anvil
from infra.devnet.servers import free_port

WAIT_S = 60


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    with start_anvil() as running:
        yield running


@pytest.fixture(scope="module")
def setup(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> DevSetup:
    folder = tmp_path_factory.mktemp("processes") / "dev"
    return make_dev(folder, node, http_port=free_port(), overrides={"engine": {"lease_ms": 2_000}})


def changed(setup: DevSetup, beside: Path, /, **lines: str) -> Path:
    """Return a copy of the settings file with other lines, which lies beside the first."""
    text = setup.config_file.read_text("utf-8").splitlines()
    for name, value in lines.items():
        text = [f"{name} = {value}" if line.startswith(f"{name} =") else line for line in text]
    file = setup.folder / f"{beside.name}.toml"
    file.write_text("\n".join(text) + "\n", "utf-8")
    return file


def ended(config_file: Path, process: str, log_file: Path) -> tuple[int | None, str]:
    """Start a process, wait until it ends by itself; return its exit code and what it said."""
    child = Child(process, process_arguments(config_file, process), log_file=log_file)
    child.start()
    deadline = time.monotonic() + WAIT_S
    try:
        while child.is_running:
            assert time.monotonic() < deadline, child.tail()
            time.sleep(0.05)
        return child.exit_code, child.tail()
    finally:
        child.kill()


@contextlib.contextmanager
def engine(setup: DevSetup) -> Iterator[Child]:
    """Run the engine while the block runs."""
    child = Child(
        "engine",
        process_arguments(setup.config_file, "engine"),
        log_file=setup.folder / "logs" / "engine.log",
    )
    child.start()
    try:
        wait_until_live(setup, [child])
        yield child
    finally:
        child.kill()


def test_a_second_engine_finds_the_first_in_the_way_and_does_not_disturb_it(
    setup: DevSetup, tmp_path: Path
) -> None:
    with engine(setup) as first:
        code, said = ended(setup.config_file, "engine", tmp_path / "same")
        assert (code, "another engine process uses" in said) == (6, True)
        elsewhere = changed(setup, tmp_path, folder=f'"{tmp_path / "data"}"', port=str(free_port()))
        code, said = ended(elsewhere, "engine", tmp_path / "elsewhere")
        assert (code, "another engine process leads" in said) == (6, True)
        assert first.is_running
        assert first.stop() == 0


def test_a_killed_engine_is_succeeded_at_once(setup: DevSetup) -> None:
    with engine(setup) as first:
        first.kill()
    with engine(setup) as second:
        assert "epoch" in second.tail()
        assert second.stop() == 0


def test_a_taken_port_ends_the_engine_so_that_it_may_be_started_again(
    setup: DevSetup, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", setup.http_port))
        taken.listen()
        code, said = ended(setup.config_file, "engine", tmp_path / "log")
    assert (code, "cannot go on" in said) == (1, True)


@pytest.mark.parametrize("process", ["engine", "worker"])
def test_a_node_of_another_network_stops_a_process_for_a_person(
    setup: DevSetup, tmp_path: Path, process: str
) -> None:
    other = changed(setup, tmp_path, genesis_hash=f'"0x{"11" * 32}"', port=str(free_port()))
    code, said = ended(other, process, tmp_path / "log")
    assert (code, "CORRUPT" in said) == (8, True)


@pytest.mark.parametrize("process", ["engine", "worker"])
def test_a_database_of_another_revision_stops_the_start(
    setup: DevSetup, tmp_path: Path, process: str
) -> None:
    empty = changed(setup, tmp_path, url=f'"sqlite:///{tmp_path / "empty.db"}"')
    code, said = ended(empty, process, tmp_path / "log")
    assert (code, "strongroom db upgrade" in said) == (2, True)


def test_another_roster_than_the_pinned_one_stops_the_start(
    setup: DevSetup, tmp_path: Path
) -> None:
    other = changed(setup, tmp_path, roster_sha256=f'"{"22" * 32}"')
    code, said = ended(other, "worker", tmp_path / "log")
    assert (code, "roster_mismatch" in said) == (8, True)


def test_engine_and_worker_run_where_no_private_key_is(setup: DevSetup, tmp_path: Path) -> None:
    secrets = setup.folder / "secrets"
    hidden = [secrets / name for name in ("keystore", "attestation", "passphrase")]
    for file in hidden:
        shutil.move(file, tmp_path / file.name)
    worker = Child(
        "worker", process_arguments(setup.config_file, "worker"), log_file=tmp_path / "w"
    )
    try:
        with engine(setup) as first:
            worker.start()
            deadline = time.monotonic() + WAIT_S
            while "worker runs" not in worker.tail():
                assert worker.is_running, worker.tail()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            with urllib.request.urlopen(f"{setup.http_url}/readyz?verbose=1") as answer:
                page = json.load(answer)
            checks = {one["name"]: one["ok"] for one in page["checks"]}
            assert (page["status"], checks["signer"]) == ("degraded", False)
            assert checks["database"]
            assert checks["engine"]
            assert worker.stop() == 0
            assert first.stop() == 0
    finally:
        worker.kill()
        for file in hidden:
            shutil.move(tmp_path / file.name, file)


def test_a_journal_that_the_books_do_not_know_stops_the_engine(
    setup: DevSetup, tmp_path: Path
) -> None:
    with engine(setup) as first:
        time.sleep(0.5)  # the books follow what was listed
        assert first.stop() == 0
    data = setup.folder / "data"
    shutil.move(data, tmp_path / "data")
    try:
        code, said = ended(setup.config_file, "engine", tmp_path / "log")
    finally:
        shutil.rmtree(data)
        shutil.move(tmp_path / "data", data)
    assert (code, "not in the journal" in said) == (8, True)


def test_up_starts_everything_goes_on_when_run_again_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    port, node_port = free_port(), free_port()
    words = ["--folder", str(tmp_path / "up"), "--port", str(port), "--node-port", str(node_port)]
    logins = []
    for signal_number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "up", *words], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            said: list[str] = []
            while not (said and "Ctrl-C" in said[-1]):
                line = process.stdout.readline()
                assert line, said
                said.append(line)
            logins.append([line for line in said if "key_" in line])
            assert "NOT FOR PRODUCTION" in "".join(said)
            assert not is_free(port)
            process.send_signal(signal_number)
            process.wait(WAIT_S)
        wait_until_free(port, node_port)
    assert logins[0] == logins[1]
    assert len(logins[0]) == 7


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def wait_until_free(*ports: int) -> None:
    """Return once nobody listens on the ports."""
    deadline = time.monotonic() + WAIT_S
    while not all(is_free(port) for port in ports):
        assert time.monotonic() < deadline, os.getpid()
        time.sleep(0.05)
