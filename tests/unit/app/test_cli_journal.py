"""`strongroom journal` on real journals: what is shown is what was written, and damage is named."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.cli.options import Chosen
from app.cli.output import Exit, Output, Talk
from core.clock import ManualClock
from engine.blocks import HEADER_BYTES, JOURNAL_START, parse_segment
from engine.commands import Command
from engine.events import Event
from engine.files import DiskStorage
from engine.laboratory.drawn import Commands
from engine.recovery import recover
from engine.snapshot import Snapshot, read_snapshot, snapshot_names, write_snapshot
from tests.unit.engine.books import book_of

SEGMENT_BYTES = 6_000


class Written:
    """A journal of three leaders with two snapshots, and what was asked and answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: dict[int, Command] = {}
        self.events: dict[int, list[Event]] = {}
        self.depths: dict[int, Any] = {}
        storage, drawn = DiskStorage(folder), Commands(5)
        clock, opening = ManualClock(drawn.time_ns), list(drawn.opening())
        for epoch in (1, 2, 3):
            sequencer = recover(
                storage, epoch=epoch, clock=clock, lease=lambda: None, lag_events_max=1 << 30,
                segment_bytes_max=SEGMENT_BYTES,
            )  # fmt: skip
            for _ in range(30):
                first = sequencer.position.sequence + 1
                batch = [opening.pop(0) if opening else drawn.next() for _ in range(4)]
                clock.advance(max(0, drawn.time_ns - clock.now_ns()))
                for sequence, events in enumerate(sequencer.execute(batch), first):
                    self.commands[sequence] = batch[sequence - first]
                    self.events[sequence] = events
                    drawn.observe(events)
                with sequencer.reading() as engine:
                    self.depths[engine.sequence] = book_of(engine, 1)
                    self.state_hash = engine.state_hash().hex()
            if epoch < 3:
                sequencer.snapshot(storage)
            sequencer.stop()
        self.end = max(self.commands)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("journal"))


@pytest.fixture
def copied(written: Written, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(written.folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    Chosen.config_file, Talk.output, Talk.quiet = None, Output.TABLE, False


def cli(*words: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def name_of(value: object) -> str:
    """Return the class in the words of the dump."""
    name = type(value).__name__
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


def vars_of(value: object) -> dict[str, Any]:
    """Return the fields of a command."""
    assert dataclasses.is_dataclass(value)
    assert not isinstance(value, type)
    return dataclasses.asdict(value)


def objects(done: Result) -> list[dict[str, Any]]:
    """Return the JSON objects of a dump."""
    assert done.exit_code == Exit.OK, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dump_has_every_command_and_what_it_caused(written: Written) -> None:
    done = cli("journal", "dump", "--folder", written.folder, "--json", "--events")
    rows = objects(done)
    assert [row["sequence"] for row in rows] == sorted(written.commands)
    assert {row["epoch"] for row in rows} == {1, 2, 3}
    for row in rows:
        command, events = written.commands[row["sequence"]], written.events[row["sequence"]]
        assert row["command"]["name"] == name_of(command)
        assert [event["name"] for event in row["events"]] == [name_of(event) for event in events]
    placed = [row for row in rows if row["command"]["name"] == "place_order"]
    for row in placed:
        command = written.commands[row["sequence"]]
        for name in ("customer_no", "market_no", "price_ticks", "quantity_lots"):
            assert row["command"][name] == vars_of(command)[name]
        assert row["command"]["client_order_id"] == f"{vars_of(command)['client_order_id']:032x}"
    assert placed
    assert f"{written.end} commands" in done.stderr


@pytest.mark.parametrize("extra", [(), ("--events",)])
def test_a_part_of_a_dump_is_that_part_of_the_whole(written: Written, extra: tuple[str]) -> None:
    whole = objects(cli("journal", "dump", "--folder", written.folder, "--json", *extra))
    for first, last in ((1, 1), (7, 150), (123, 123), (200, written.end), (written.end, 10**6)):
        part = objects(
            cli("journal", "dump", "--folder", written.folder, "--from", first, "--to", last,
                "--json", *extra)
        )  # fmt: skip
        assert part == whole[first - 1 : last]
    assert cli("journal", "dump", "--folder", written.folder, "--from", 5, "--to", 4).exit_code == 2


def test_people_read_a_line_per_command_and_one_per_event(written: Written) -> None:
    done = cli("journal", "dump", "--folder", written.folder, "--to", 40, "--events")
    lines = done.stdout.splitlines()
    assert len(lines) == 40 + sum(len(written.events[n]) for n in range(1, 41))
    assert lines[0].split()[0] == "1"
    assert "add_asset" in lines[0]
    assert lines[1].strip().startswith("-> asset_added")
    assert "credited" in done.stdout
    assert "amount=" in done.stdout


@pytest.mark.parametrize("engine", ["native", "reference", "both"])
def test_a_replay_ends_where_the_live_engine_stood(written: Written, engine: str) -> None:
    done = cli("-o", "json", "journal", "replay", "--folder", written.folder, "--engine", engine)
    found = json.loads(done.stdout)
    assert done.exit_code == Exit.OK, done.output
    assert (found["sequence"], found["state_hash"]) == (written.end, written.state_hash)
    assert [check["state"] for check in found["snapshots"]] == ["equal", "equal"]
    assert found["events"] == sum(map(len, written.events.values()))
    assert found["commands_per_second"] > 0


def test_a_replay_stops_where_it_is_told_to(written: Written) -> None:
    done = cli("-o", "json", "journal", "replay", "--folder", written.folder, "--until", 130)
    found = json.loads(done.stdout)
    assert found["sequence"] == 130
    assert len(found["snapshots"]) == 1
    beyond = cli("journal", "replay", "--folder", written.folder, "--until", written.end + 1)
    assert beyond.exit_code == Exit.NOT_FOUND


def test_a_snapshot_of_another_state_is_exit_8(written: Written, copied: Path) -> None:
    storage = DiskStorage(copied)
    newest, older = snapshot_names(storage)
    right, other = read_snapshot(storage, newest), read_snapshot(storage, older)
    write_snapshot(storage, Snapshot(position=right.position, dump=other.dump))
    done = cli("-o", "json", "journal", "replay", "--folder", copied)
    assert done.exit_code == Exit.VERIFICATION
    states = {each["snapshot"]: each["state"] for each in json.loads(done.stdout)["snapshots"]}
    assert states == {newest: "different", older: "equal"}


def test_a_damaged_snapshot_is_named_and_passed_over(written: Written, copied: Path) -> None:
    (copied / snapshot_names(DiskStorage(copied))[0]).write_bytes(b"nothing")
    done = cli("journal", "replay", "--folder", copied)
    assert done.exit_code == Exit.OK
    assert "damaged" in done.stdout
    assert "equal" in done.stdout


@pytest.mark.parametrize("verb", ["dump", "replay", "verify"])
def test_damage_in_the_middle_is_exit_8_and_names_the_place(copied: Path, verb: str) -> None:
    segment = sorted(copied.glob("*.seg"))[1]
    data = bytearray(segment.read_bytes())
    data[400] ^= 1
    segment.write_bytes(data)
    done = cli("journal", verb, "--folder", copied)
    assert done.exit_code == Exit.VERIFICATION
    assert segment.name in done.stderr
    assert "offset 128" in done.stderr


def test_stat_shows_every_segment_and_snapshot(written: Written) -> None:
    found = json.loads(cli("-o", "json", "journal", "stat", "--folder", written.folder).stdout)
    segments, snapshots = found["each_segment"], found["each_snapshot"]
    assert found["commands"] == written.end
    assert [segment["name"] for segment in segments] == sorted(
        path.name for path in written.folder.glob("*.seg")
    )
    filled = [segment for segment in segments if segment["first_sequence"]]
    assert filled[0]["first_sequence"] == 1
    for earlier, later in itertools.pairwise(filled):
        assert later["first_sequence"] == earlier["last_sequence"] + 1
        assert later["epoch"] >= earlier["epoch"]
    assert sum(segment["blocks"] for segment in segments) == 90
    used = sum(segment["used_bytes"] for segment in segments)
    assert used == 128 * (len(segments) + 90) + 64 * written.end
    assert all(segment["used_bytes"] <= segment["file_bytes"] for segment in segments)
    assert [each["sequence"] for each in snapshots] == [120, 240]
    table = cli("journal", "stat", "--folder", written.folder).stdout
    assert all(segment["name"] in table for segment in segments)


def test_a_pruned_journal_is_replayed_from_the_snapshot_that_stands_in_it(
    written: Written, copied: Path
) -> None:
    storage, cut, kept_from = DiskStorage(copied), None, ""
    for name in sorted(path.name for path in copied.glob("*.seg")):
        segment = parse_segment(name, storage.read(name, limit=HEADER_BYTES))
        if segment.cut.sequence > 120:
            break
        cut, kept_from = segment.cut, name
    assert cut is not None
    assert 0 < cut.sequence <= 120
    for path in copied.glob("*.seg"):
        if path.name < kept_from:
            path.unlink()
    (copied / JOURNAL_START.name).write_bytes(JOURNAL_START.pack(cut))
    done = cli("-o", "json", "journal", "replay", "--folder", copied, "--engine", "both")
    found = json.loads(done.stdout)
    assert done.exit_code == Exit.OK, done.output
    assert (found["begin"], found["sequence"]) == (120, written.end)
    assert found["state_hash"] == written.state_hash
    assert [check["state"] for check in found["snapshots"]] == ["equal", "equal"]
    early = cli("journal", "depth", 1, "--at", 60, "--folder", copied)
    assert early.exit_code == Exit.NOT_FOUND
    rows = objects(cli("journal", "dump", "--folder", copied, "--json"))
    assert rows[0]["sequence"] == cut.sequence + 1


def test_depth_shows_a_book_as_it_stood(written: Written) -> None:
    for sequence in list(written.depths)[15::10]:
        bids, asks = written.depths[sequence]
        rows = json.loads(
            cli("-o", "json", "journal", "depth", 1, "--at", sequence, "--folder", written.folder,
                "--levels", 1000).stdout
        )  # fmt: skip
        levels = [(row["side"], row["ticks"], row["lots"]) for row in rows]
        assert levels == [("ask", *level) for level in reversed(asks)] + [
            ("bid", *level) for level in bids
        ]
    done = cli("journal", "depth", 99, "--at", written.end, "--folder", written.folder)
    assert done.exit_code == Exit.NOT_FOUND


def test_a_folder_without_a_journal_is_not_found(tmp_path: Path) -> None:
    for verb in ("dump", "replay", "stat"):
        assert cli("journal", verb, "--folder", tmp_path).exit_code == Exit.NOT_FOUND
