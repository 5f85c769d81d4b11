"""`strongroom engine`: the real commands, small."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from typer.testing import CliRunner, Result

from app.cli.engine_fuzz import fuzz
from app.cli.main import app
from app.cli.options import Chosen
from app.cli.output import Exit, Output, Talk
from app.data_folder import JOURNAL_NAME
from app.settings import read_settings
from app.toml_text import toml_text
from engine.base import Limits
from engine.commands import Command
from engine.events import Event, OrderCancelled
from engine.factory import EngineKind, engine_factory
from engine.laboratory import measuring
from engine.laboratory.recording import read_recording
from engine.laboratory.weather import WEATHER, Fine
from engine.laboratory.workloads import make
from engine.reference import ReferenceEngine
from tests.support.configs import TABLES

SMALL = ("--commands", 300, "--waiting", 200)
ALONE = ("--no-durable", "--batch", 64, *SMALL)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    Chosen.config_file, Talk.output, Talk.quiet = None, Output.TABLE, False


def cli(*words: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def test_bench_measures_every_way_and_writes_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    done = cli(
        "-o", "json", "engine", "bench", "--workload", "w1", "--workload", "crash", "--engine",
        "both", "--batch", 1, "--batch", 64, "--offered", 20_000, "--closed", 100, *SMALL,
        "--report", folder,
    )  # fmt: skip
    assert done.exit_code == Exit.OK, done.output
    rows = json.loads(done.stdout)
    ways = [(row["workload"], row["engine"], row["way"]) for row in rows]
    assert ways == [
        *(
            found
            for name in ("w1", "crash")
            for found in (
                (name, "native", "in batches of 1"),
                (name, "native", "in batches of 64"),
                (name, "reference", "in batches of 1"),
                (name, "reference", "in batches of 64"),
                (name, "native", "durable, closed loop of 100"),
                (name, "native", "durable, 20,000/s offered"),
            )
        ),
        ("", "", "the disk alone"),
    ]
    for row in rows:
        shown = [row[f"{name}_ns"] for name in ("p50", "p90", "p99", "p99.9", "max")]
        assert shown == sorted(shown)
        assert shown[0] > 0
    assert {row["commands"] for row in rows[:-1]} == {300}
    report = json.loads((folder / "report.json").read_text())
    assert (report["seed"], report["rows"]) == (1, rows)
    assert int(report["machine"]["cores"]) > 0
    page = (folder / "report.html").read_text()
    plots = sorted(path.name for path in folder.glob("*.svg"))
    assert plots == [
        "latency-crash-alone.svg", "latency-crash-durable.svg",
        "latency-w1-alone.svg", "latency-w1-durable.svg",
    ]  # fmt: skip
    for name in plots:
        assert f'src="{name}"' in page
        ET.parse(folder / name)
    assert not list(folder.glob("journal-*"))


def test_bench_shows_a_table_and_says_where_the_report_is(tmp_path: Path) -> None:
    done = cli("engine", "bench", *ALONE, "--report", tmp_path)
    head, row = done.stdout.splitlines()
    assert head.split()[:3] == ["WORKLOAD", "ENGINE", "WAY"]
    assert row.startswith("w1        native  in batches of 64")
    assert f"{tmp_path}/report.html" in done.stderr
    assert "cores" in done.stderr


@pytest.mark.parametrize("engine", ["native", "both"])
def test_what_was_measured_is_kept_and_replayed(tmp_path: Path, engine: str) -> None:
    cli("engine", "bench", *ALONE, "--keep", tmp_path, "--report", tmp_path)
    done = cli("-o", "json", "engine", "replay", tmp_path / "w1-1.recording", "--engine", engine)
    rows = json.loads(done.stdout)
    assert done.exit_code == Exit.OK
    assert {row["commands"] for row in rows} == {20_003 + 500}
    assert len({row["state_hash"] for row in rows}) == 1
    assert len({row["events_hash"] for row in rows}) == 1


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journal")
    factory = engine_factory(EngineKind.NATIVE)
    work = make("w1", seed=1, commands=300, waiting=200, engine=factory.new())
    sequencer = measuring.durable(folder, factory, work)
    measuring.closed_loop(sequencer, work, 64)
    sequencer.stop()
    return folder


def test_a_journal_is_replayed_up_to_a_sequence(journal: Path) -> None:
    done = cli("-o", "json", "engine", "replay", journal, "--until", 20_100)
    [row] = json.loads(done.stdout)
    assert (row["sequence"], row["engine"]) == (20_100, "native")


def test_the_end_of_a_journal_is_not_passed(journal: Path) -> None:
    done = cli("-o", "json", "engine", "replay", journal, "--until", 10**6)
    assert done.exit_code == Exit.NOT_FOUND
    assert json.loads(done.stdout)["code"] == "not_found"


def test_a_damaged_recording_is_corrupt(tmp_path: Path) -> None:
    cli("engine", "bench", *ALONE, "--keep", tmp_path, "--report", tmp_path)
    path = tmp_path / "w1-1.recording"
    data = bytearray(path.read_bytes())
    data[70_000] ^= 1
    path.write_bytes(data)
    done = cli("-o", "json", "engine", "replay", path)
    assert done.exit_code == Exit.VERIFICATION
    assert json.loads(done.stdout)["code"] == "corrupt"


@pytest.mark.parametrize("content", [None, "hello"])
def test_what_is_no_journal_is_not_replayed(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_text(content)
    done = cli("engine", "replay", path)
    assert done.exit_code == (Exit.NOT_FOUND if content is None else Exit.REFUSED)
    assert str(path) in done.stderr


def test_shape_draws_a_workload(tmp_path: Path) -> None:
    done = cli("engine", "shape", "--workload", "w1", "--commands", 100)
    assert done.exit_code == Exit.OK, done.output
    for wanted in ("1 market, ", "the spread", "orders per level", "client ids", "█"):
        assert wanted in done.stdout


def test_shape_of_a_journal_is_an_object_for_programs(journal: Path) -> None:
    done = cli("-o", "json", "engine", "shape", journal)
    found = json.loads(done.stdout)
    [replayed] = json.loads(cli("-o", "json", "engine", "replay", journal).stdout)
    assert (found["sequence"], found["state_hash"]) == (
        replayed["sequence"],
        replayed["state_hash"],
    )
    assert found["markets"][0]["orders"] == found["orders"] > 100
    assert {part["part"] for part in found["parts"]} > {"open orders", "balances"}


def test_shape_of_an_unknown_market_is_not_found(journal: Path) -> None:
    assert cli("engine", "shape", journal, "--market", 9).exit_code == Exit.NOT_FOUND


def test_shape_takes_a_path_or_a_workload(journal: Path) -> None:
    assert cli("engine", "shape", journal, "--workload", "w1").exit_code == Exit.USAGE


def test_shape_without_settings_says_which_are_missing() -> None:
    done = cli("engine", "shape")
    assert done.exit_code == Exit.USAGE
    assert "data.folder: missing" in done.stderr


def test_shape_of_the_configured_platform(tmp_path: Path, journal: Path) -> None:
    config = tmp_path / "strongroom.toml"
    config.write_text(toml_text(TABLES), "utf-8")
    nothing = cli("--config", config, "engine", "shape")
    assert nothing.exit_code == Exit.NOT_FOUND
    assert "there is no " in nothing.stderr
    folder = read_settings(config, {}).data.folder / JOURNAL_NAME
    shutil.copytree(journal, folder, dirs_exist_ok=True)
    done = cli("--config", config, "-o", "json", "engine", "shape")
    assert json.loads(done.stdout)["sequence"] == 20_503


def test_fuzz_finds_no_difference_and_says_how_much_it_looked_at(tmp_path: Path) -> None:
    done = cli(
        "-o", "json", "engine", "fuzz", 3, "--seeds", 2, "--commands", 300, "--keep", tmp_path
    )  # fmt: skip
    assert done.exit_code == Exit.OK, done.output
    rows = json.loads(done.stdout)
    assert {row["seed"] for row in rows} == {3, 4}
    assert len(rows) == 2 * len(WEATHER)
    assert all(row["events"] > 300 for row in rows)
    assert not list(tmp_path.iterdir())


def test_fuzz_of_one_weather(tmp_path: Path) -> None:
    words = ("engine", "fuzz", 3, "--commands", 100, "--keep", tmp_path, "--weather")
    assert "DeepQueues" in cli(*words, "DeepQueues").stdout
    done = cli(*words, "Sunshine")
    assert done.exit_code == Exit.USAGE
    assert "DeepQueues" in done.stderr


class _Silent(ReferenceEngine):
    """Does not say that an order was cancelled."""

    def apply(self, command: Command, *, sequence: int, time_ns: int) -> list[Event]:
        events = super().apply(command, sequence=sequence, time_ns=time_ns)
        return [event for event in events if not isinstance(event, OrderCancelled)]


def test_a_difference_ends_with_a_small_recording_that_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def pair(limits: Limits) -> tuple[ReferenceEngine, ReferenceEngine]:
        return ReferenceEngine(limits), _Silent(limits)

    with pytest.raises(typer.Exit) as left:
        fuzz(range(5, 6), [Fine], 2_000, tmp_path, pair)
    assert left.value.exit_code == Exit.FAILED
    out, err = capsys.readouterr()
    assert "PlaceOrder" in out
    assert "Fine, seed 5" in err
    [path] = tmp_path.glob("*.recording")
    assert str(path) in err
    recording = read_recording(path.read_bytes(), path.name)
    assert recording.count <= 7
    # The product's own engines agree about it.
    assert cli("engine", "replay", path, "--engine", "both").exit_code == Exit.OK
