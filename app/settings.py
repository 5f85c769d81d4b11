"""Settings: one frozen object, read once, passed down as plain values.

    strongroom.toml              named by --config or STRONGROOM_CONFIG
    STRONGROOM_HTTP__PORT=8701   overrides http.port; `__` goes one table deeper

Every name that is not a setting stops the start, and all of them are listed. A secret is never a
setting: the setting names the file that holds it. Relative paths start at the folder of the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast, get_type_hints
from urllib.parse import urlsplit

from app.settings_chains import ChainSettings, problems_of_chain
from app.settings_customers import BOOK, AddressBookSettings, problems_of_book
from app.settings_passkeys import PasskeySettings, problems_of_passkeys
from app.settings_screening import SCREENING, ScreeningSettings, problems_of_screening
from app.settings_signer import SignerSettings, problems_of_signer
from app.settings_values import SettingsError, absolute_url, hidden, read_value
from core.clock import SECOND_NS
from core.ids import ChainId

PREFIX = "STRONGROOM_"
CONFIG_VARIABLE = "STRONGROOM_CONFIG"
CLIENT_VARIABLES = frozenset({CONFIG_VARIABLE, "STRONGROOM_URL", "STRONGROOM_API_KEY_FILE"})
"""Variables of the command line's own; none is a setting."""
OBSOLETE: Mapping[str, str] = MappingProxyType(
    {
        "keystore.passphrase": "signer.local.passphrase_file, that only the signer reads",
        "keystore.file": "signer.local.file: the signer alone opens it",
        "keystore.passphrase_file": "signer.local.passphrase_file",
        "signer.local.passphrase": "signer.local.passphrase_file, that only its owner reads",
        "database.password": "database.password_file, a file that only its owner reads",
        "api.keys": "`strongroom key issue`: keys are rows of the database, by their hash",
    }
)
"""Names that are no setting (any more) -> what to use instead."""
CHAINS = "chains"
JOURNAL_KEEPS = ("all", "needed")
ENGINE_KINDS = ("auto", "native", "reference")
LOG_LEVELS = ("debug", "info", "warning", "error")
FILE_BYTES_MAX = 1 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where the books are. The URL holds no password."""

    url: str
    password_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """The folder of the journal and the snapshots; one engine process uses it at a time."""

    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where the API listens."""

    host: str = "127.0.0.1"
    port: int = 8700


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The engine process."""

    lease_ms: int = 10_000
    """How long the lease lives without renewal; a successor waits at most this long."""
    kind: str = "auto"
    """Which engine matches: native, reference, or auto: native where it was built."""
    reserve_orders: int = 0
    """Orders of a day for which the native engine takes memory at its start, about 200 bytes each.

    0: as they come; then a table that grows keeps everybody waiting for some milliseconds.
    """
    batch_max: int = 1_024
    """Most commands of one journal block; one block is one sync."""
    queue_max: int = 16_384
    """Most commands that wait for their block; who comes then is asked to come again."""
    linger_us: int = 0
    """How long a block waits to fill. 0: the next block is what came during the last one's sync."""
    segment_bytes: int = 64 << 20
    """Length of one file of the journal."""
    journal_keep: str = "all"
    """all, or needed: files of the journal that no snapshot, book or backup needs are removed."""
    journal_archive: Path | None = None
    """With journal_keep = needed: a folder they are moved to, instead of being deleted."""
    snapshot_commands: int = 50_000
    """A snapshot is written after this many commands."""
    snapshot_s: int = 300
    """And after this long, when anything happened."""
    lag_events_max: int = 100_000
    """With more events ahead of the books the engine accepts nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The worker process."""

    metrics_port: int = 0
    """Where the worker serves its own /metrics on http.host; 0: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged: debug, info, warning or error."""

    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueSettings:
    """What is listed: the desired state, in data files."""

    assets_file: Path
    markets_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficersSettings:
    """Whose signatures count."""

    roster_folder: Path
    """Holds the files of every roster so far."""
    roster_sha256: str
    """64 hex digits: hash of the body of the roster that counts; another one stops the start."""
    policy_folder: Path
    """Holds the publication of the first policy, policy-0001.toml, and of later ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is set; `origins` says where each value came from."""

    database: DatabaseSettings
    data: DataSettings
    catalogue: CatalogueSettings
    officers: OfficersSettings
    signer: SignerSettings
    http: HttpSettings = HttpSettings()
    engine: EngineSettings = EngineSettings()
    worker: WorkerSettings = WorkerSettings()
    logs: LogSettings = LogSettings()
    address_book: AddressBookSettings = BOOK
    screening: ScreeningSettings = SCREENING
    passkeys: PasskeySettings = field(default_factory=PasskeySettings)
    chains: Mapping[ChainId, ChainSettings] = field(default_factory=dict)
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting for people: secrets and access keys are hidden."""

    name: str
    value: str
    origin: str


def read_settings(file: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the file and the environment once. SettingsError lists everything that is wrong."""
    variables = os.environ if environment is None else environment
    if file is None and variables.get(CONFIG_VARIABLE):
        file = Path(variables[CONFIG_VARIABLE])
    reading = _Reading(folder=Path.cwd() if file is None else file.resolve().parent)
    if file is not None:
        reading.add_tables("", _load(file), f"file {file.name}")
    reading.add_environment(variables)
    settings = reading.build(file)
    if reading.problems:
        raise SettingsError(reading.problems)
    _check(settings)
    url = absolute_url(settings.database.url, reading.folder)
    return replace(settings, database=replace(settings.database, url=url))


def show(settings: Settings) -> list[Shown]:
    """Return every setting with its value and where that came from."""
    lines = []
    for name, value in _flat("", settings):
        origin = settings.origins.get(name, "default")
        lines.append(Shown(name, hidden(value), origin))
    return lines


@dataclass(slots=True)
class _Reading:
    folder: Path
    values: dict[str, Any] = field(default_factory=dict)
    """Dotted name -> value as found."""
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add_tables(self, prefix: str, table: Mapping[str, Any], origin: str) -> None:
        for key, value in table.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                self.add_tables(f"{name}.", value, origin)
            else:
                self._add(name, value, origin)

    def add_environment(self, variables: Mapping[str, str]) -> None:
        for variable in sorted(variables):
            if variable.startswith(PREFIX) and variable not in CLIENT_VARIABLES:
                name = variable.removeprefix(PREFIX).lower().replace("__", ".")
                self._add(name, variables[variable], f"environment {variable}")

    def _add(self, name: str, value: Any, origin: str) -> None:
        if name in OBSOLETE:
            self.problems.append(f"{name} ({origin}): use {OBSOLETE[name]}")
            return
        self.values[name] = value
        self.origins[name] = origin

    def build(self, file: Path | None) -> Settings:
        """Return the settings; with problems noted the object is not to be used."""
        chains = {}
        names = [name for name in self.values if name.startswith(f"{CHAINS}.")]
        for chain in dict.fromkeys(name.split(".")[1] for name in names):
            chains[ChainId(chain)] = self._section(ChainSettings, f"{CHAINS}.{chain}.")
        sections = {
            name: hint for name, hint in get_type_hints(Settings).items() if is_dataclass(hint)
        }
        parts = {
            name: self._section(cast("type[Any]", hint), f"{name}.")
            for name, hint in sections.items()
        }
        for name in self.values:
            self.problems.append(f"{name} ({self.origins[name]}): there is no such setting")
        return Settings(
            **parts,
            chains=MappingProxyType(chains),
            file=file,
            origins=MappingProxyType(self.origins),
        )

    def _section(self, kind: type[T], prefix: str) -> T:
        hints, found = get_type_hints(kind), {}
        for part in fields(cast("Any", kind)):
            name, hint = f"{prefix}{part.name}", hints[part.name]
            if is_dataclass(hint):
                found[part.name] = self._section(cast("type[Any]", hint), f"{name}.")
            elif name in self.values:
                origin = self.origins[name]
                try:
                    found[part.name] = read_value(hint, self.values.pop(name), self.folder)
                except ValueError as error:
                    self.problems.append(f"{name} ({origin}): {error}")
                    found[part.name] = None
            elif part.default is not MISSING:
                found[part.name] = part.default
            else:
                self.problems.append(f"{name}: missing")
                found[part.name] = None
        return kind(**found)


def _load(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
        if len(data) > FILE_BYTES_MAX:
            raise SettingsError([f"{file}: larger than {FILE_BYTES_MAX} bytes"])
        return tomllib.loads(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{file}: {error}"]) from error


def _flat(prefix: str, value: object) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = []
    for part in fields(cast("Any", value)):
        name, found = f"{prefix}{part.name}", getattr(value, part.name)
        if name in ("file", "origins"):
            continue
        if name == CHAINS:
            for chain, one in found.items():
                lines += _flat(f"{CHAINS}.{chain}.", one)
        elif is_dataclass(found):
            lines += _flat(f"{name}.", found)
        else:
            lines.append((name, found))
    return lines


def _problems_of_engine(engine: EngineSettings) -> list[str]:
    problems = []
    if engine.kind not in ENGINE_KINDS:
        problems.append(f"engine.kind: one of {', '.join(ENGINE_KINDS)}")
    if engine.journal_keep not in JOURNAL_KEEPS:
        problems.append(f"engine.journal_keep: one of {', '.join(JOURNAL_KEEPS)}")
    if engine.journal_archive is not None and engine.journal_keep == "all":
        problems.append('engine.journal_archive: goes with engine.journal_keep = "needed"')
    for name, value, least, most in (
        ("reserve_orders", engine.reserve_orders, 0, 1 << 24),
        ("batch_max", engine.batch_max, 1, 1 << 16),
        ("queue_max", engine.queue_max, 1, 1 << 24),
        ("linger_us", engine.linger_us, 0, 1_000_000),
        ("segment_bytes", engine.segment_bytes, 1 << 16, 1 << 32),
        ("snapshot_commands", engine.snapshot_commands, 1, 1 << 40),
        ("snapshot_s", engine.snapshot_s, 1, 1 << 40),
        ("lag_events_max", engine.lag_events_max, 1, 1 << 40),
    ):
        if not least <= value <= most:
            problems.append(f"engine.{name}: lies in {least}..{most}")
    return problems


def _check(settings: Settings) -> None:
    problems = []
    if urlsplit(settings.database.url).password is not None:
        problems.append("database.url: a password stands in database.password_file, not in a URL")
    if not 0 <= settings.http.port < 1 << 16:
        problems.append("http.port: a port lies in 0..65535")
    if settings.logs.level not in LOG_LEVELS:
        problems.append(f"logs.level: one of {', '.join(LOG_LEVELS)}")
    problems += _problems_of_engine(settings.engine)
    problems += problems_of_signer(settings.signer)
    problems += problems_of_book(settings.address_book)
    problems += problems_of_screening(settings.screening)
    problems += problems_of_passkeys(settings.passkeys)
    if settings.engine.lease_ms * 1_000_000 < SECOND_NS:
        problems.append("engine.lease_ms: a lease lives for 1000 ms or more")
    if not settings.chains:
        problems.append("chains: at least one table [chains.<name>]")
    for name, chain in settings.chains.items():
        problems += problems_of_chain(name, chain)
    if problems:
        raise SettingsError(problems)
