"""Settings are read once, strictly, and name no secret."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from app.settings import Settings, read_settings, show
from app.settings_values import SettingsError
from app.toml_text import toml_text
from core.ids import ChainId
from tests.support.configs import TABLES


def _file(folder: Path, tables: dict[str, dict[str, object]] | None = None) -> Path:
    file = folder / "strongroom.toml"
    file.write_text(toml_text(tables or TABLES), "utf-8")
    return file


def _read(folder: Path, **environment: str) -> Settings:
    return read_settings(_file(folder), environment)


def _problems(folder: Path, **environment: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        _read(folder, **environment)
    return caught.value.problems


def test_a_file_is_read_with_defaults_and_paths_from_its_folder(tmp_path: Path) -> None:
    settings = _read(tmp_path)
    chain = settings.chains[ChainId("devnet")]
    assert settings.data.folder == tmp_path / "data"
    assert settings.database.url == f"sqlite:///{tmp_path / 'books.db'}"
    assert settings.catalogue.markets_file == Path("/etc/markets.toml")
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8700)
    assert (chain.quorum, chain.node_urls) == (1, ("http://127.0.0.1:8545",))
    assert (chain.sweeps.cost_multiple, chain.sweeps.top_up_percent) == (7, 120)


def test_an_amount_above_64_bits_is_written_as_text_and_read_exactly(tmp_path: Path) -> None:
    assert _read(tmp_path).chains[ChainId("devnet")].network_fee_max == 1 << 80


def test_the_environment_overrides_the_file_one_table_deep_and_deeper(tmp_path: Path) -> None:
    settings = _read(
        tmp_path,
        STRONGROOM_HTTP__PORT="9000",
        STRONGROOM_CHAINS__DEVNET__NODE_URLS="http://a:1, http://b:2",
        STRONGROOM_CHAINS__DEVNET__SWEEPS__COST_MULTIPLE="9",
        OTHER_NAME="x",
    )
    chain = settings.chains[ChainId("devnet")]
    assert settings.http.port == 9000
    assert chain.node_urls == ("http://a:1", "http://b:2")
    assert chain.sweeps.cost_multiple == 9


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    settings = read_settings(None, {"STRONGROOM_CONFIG": str(_file(tmp_path))})
    assert settings.file == tmp_path / "strongroom.toml"


def test_every_unknown_missing_and_wrong_name_is_listed_at_once(tmp_path: Path) -> None:
    tables: dict[str, dict[str, object]] = {
        **TABLES,
        "http": {"port": "many", "colour": "red"},
        "database": {},
    }
    with pytest.raises(SettingsError) as caught:
        read_settings(_file(tmp_path, tables), {"STRONGROOM_NOPE": "1"})
    assert sorted(caught.value.problems) == [
        "database.url: missing",
        "http.colour (file strongroom.toml): there is no such setting",
        "http.port (file strongroom.toml): a whole number",
        "nope (environment STRONGROOM_NOPE): there is no such setting",
    ]


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("STRONGROOM_KEYSTORE__PASSPHRASE", "signer.local.passphrase_file"),
        ("STRONGROOM_SIGNER__LOCAL__PASSPHRASE", "signer.local.passphrase_file"),
        ("STRONGROOM_DATABASE__PASSWORD", "database.password_file"),
        ("STRONGROOM_API__KEYS", "strongroom key issue"),
    ],
)
def test_a_secret_in_the_environment_stops_the_start_without_being_shown(
    tmp_path: Path, variable: str, advice: str
) -> None:
    (problem,) = _problems(tmp_path, **{variable: "hunter2-hunter2"})
    assert advice in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STRONGROOM_DATABASE__URL", "postgresql://me:hunter2@db/x", "password_file"),
        ("STRONGROOM_CHAINS__DEVNET__NODE_URLS", "http://me:hunter2@node", "node_urls_file"),
        ("STRONGROOM_CHAINS__DEVNET__NODE_URLS_FILE", "urls", "either node_urls or"),
        ("STRONGROOM_HTTP__PORT", "65536", "0..65535"),
        ("STRONGROOM_ENGINE__LEASE_MS", "999", "1000 ms"),
        ("STRONGROOM_LOGS__LEVEL", "loud", "one of debug"),
        ("STRONGROOM_ENGINE__KIND", "quick", "one of auto, native, reference"),
        ("STRONGROOM_ENGINE__JOURNAL_KEEP", "some", "one of all, needed"),
        ("STRONGROOM_ENGINE__JOURNAL_ARCHIVE", "old", "goes with"),
        ("STRONGROOM_ENGINE__BATCH_MAX", "0", "1..65536"),
        ("STRONGROOM_ENGINE__LINGER_US", "-1", "0..1000000"),
        ("STRONGROOM_ENGINE__SEGMENT_BYTES", "1", "65536.."),
    ],
)
def test_values_that_cannot_work_stop_the_start(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    (problem,) = _problems(tmp_path, **{variable: value})
    assert said in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize("text", ["1_000", "0x10", "1.0", "", " 1", "１"])
def test_a_number_in_the_environment_is_plain_digits(tmp_path: Path, text: str) -> None:
    (problem,) = _problems(tmp_path, STRONGROOM_HTTP__PORT=text)
    assert "a whole number" in problem


def test_no_chain_at_all_stops_the_start(tmp_path: Path) -> None:
    tables = {name: table for name, table in TABLES.items() if name != "chains"}
    with pytest.raises(SettingsError, match="at least one table"):
        read_settings(_file(tmp_path, tables), {})


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        _read(tmp_path).http.port = 1  # type: ignore[misc]


def test_what_is_shown_names_the_origin_and_hides_access_keys(tmp_path: Path) -> None:
    settings = _read(
        tmp_path,
        STRONGROOM_CHAINS__DEVNET__NODE_URLS="https://node.example/v3/hunter2?key=hunter2",
        STRONGROOM_DATABASE__URL="postgresql://me@db:5432/books",
    )
    lines = {one.name: one for one in show(settings)}
    assert lines["http.port"].origin == "default"
    assert lines["data.folder"].origin == "file strongroom.toml"
    urls = lines["chains.devnet.node_urls"]
    assert urls.value == "https://node.example/<hidden>"
    assert urls.origin == "environment STRONGROOM_CHAINS__DEVNET__NODE_URLS"
    assert lines["database.url"].value == "postgresql://db:5432/books"
    assert not any("hunter2" in line.value for line in lines.values())


@pytest.mark.parametrize("content", [b"\xff", b"a = ", b"x" * ((1 << 20) + 1)])
def test_a_file_that_is_no_settings_file_is_one_clear_problem(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "strongroom.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_settings(file, {})
    assert len(caught.value.problems) == 1
